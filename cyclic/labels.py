"""Arithmetic of label maps: `[H, W]` integer, 0 = background, labels 1..N."""

import cv2
import numpy as np
import skimage.measure


def relabel(labels: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """Return `labels` with only the labels where `keep` (`[largest label + 1]` bool) is True, renumbered 1..n.

    >>> relabel(np.array([0, 1, 2, 3]), np.array([True, False, True, True])).tolist()
    [0, 0, 1, 2]
    """
    keep = keep.copy()
    keep[0] = False
    return (np.cumsum(keep) * keep).astype(np.int32)[labels]


def areas(labels: np.ndarray, count: int | None = None) -> np.ndarray:
    """Return the pixels of each of the labels 1..N, `[N]` int64.

    Args:
        labels: `[H, W]` integer.
        count: N, if labels without pixels may come last; None for the largest label.
    """
    return np.bincount(labels.ravel(), minlength=(count or 0) + 1)[1:]


def mean_within(values: np.ndarray, labels: np.ndarray, count: int = 0) -> np.ndarray:
    """Return the mean of `values` (`[H, W]` float or bool) in each of the labels 1..N, `[N]` float64.

    It is 0 for a label without pixels. N is the highest label, or `count` if that is more.
    """
    inside = labels > 0
    of = labels[inside]
    sums, pixels = np.bincount(of, values[inside], count + 1), np.bincount(of, minlength=count + 1)
    return sums[1:] / np.maximum(pixels[1:], 1)


def widen(mask: np.ndarray, radius: int) -> np.ndarray:
    """Return `mask` (`[H, W]` bool) dilated by a disk of `radius` pixels."""
    return cv2.dilate(mask.astype(np.uint8), disk(radius)) > 0


def disk(radius: int) -> np.ndarray:
    """Return a disk as OpenCV's morphology takes it, `[2 * radius + 1, 2 * radius + 1]` uint8."""
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))


def hull_mask(component: np.ndarray) -> np.ndarray:
    """Return the convex hull of the True pixels of `component` (`[h, w]` bool, at least one True) as `[h, w]` bool."""
    # The outlines hold every corner of the hull, and are far fewer points than the pixels.
    outlines = cv2.findContours(component.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]
    hull = np.zeros(component.shape, np.uint8)
    cv2.fillConvexPoly(hull, cv2.convexHull(np.concatenate(outlines)), 1)
    return hull.view(bool) | component


def ellipse_fit(component: np.ndarray) -> float:
    """Return how well an ellipse describes `component` (`[h, w]` bool); 0 without pixels, see `ellipse_fits`."""
    # A fifth of the time that `ellipse_fits` takes for one: a crowded image has hundreds.
    of = cv2.moments(component.view(np.uint8), binaryImage=True)
    count = max(of["m00"], 1.0)
    return float(_ellipse_fit(of["m00"], of["mu02"] / count, of["mu20"] / count, of["mu11"] / count))


def ellipse_fits(labels: np.ndarray) -> np.ndarray:
    """Return how well an ellipse describes each of the labels 1..N, `[N]` float64 in (0, 1]; 1 for an ellipse.

    It is a label's area over the area of the ellipse with the same second moments; 0 for a label without pixels.

    Args:
        labels: `[H, W]` integer.
    """
    pixels = np.nonzero(labels > 0)
    of = labels[pixels]
    area = np.bincount(of)
    count = np.maximum(area, 1)
    # From each label's own centre, or rounding would grow with the image.
    y, x = (axis - (np.bincount(of, axis) / count)[of] for axis in pixels)
    return _ellipse_fit(area, *(np.bincount(of, product) / count for product in (y * y, x * x, x * y)))[1:]


def _ellipse_fit(area, yy, xx, xy):
    """Return the fit from area and central second moments, numbers or arrays alike."""
    # A pixel is a unit square: its own second moment is 1/12.
    spread = (yy + 1 / 12) * (xx + 1 / 12) - xy**2
    return np.minimum(area / (4.0 * np.pi * np.sqrt(np.maximum(spread, 1e-9))), 1.0)


def paint_largest_part(labels: np.ndarray, mask: np.ndarray, label: int, min_area: int) -> bool:
    """Write `label` where `mask` is True and nothing lies yet, and return whether it was done.

    Of what is free, only the largest part that is connected by its pixels' sides is painted, if it has enough pixels.

    Args:
        labels: `[h, w]` int32, changed in place.
        mask: `[h, w]` bool.
        label: the label to write.
        min_area: pixels that must be free and connected; at least one is needed always.
    """
    free = mask & (labels == 0)
    _, parts, stats, _ = cv2.connectedComponentsWithStats(free.astype(np.uint8), connectivity=4)
    sizes = stats[1:, cv2.CC_STAT_AREA]
    if sizes.max(initial=0) < max(min_area, 1):
        return False
    labels[parts == 1 + sizes.argmax()] = label
    return True


def keep_largest_parts(labels: np.ndarray) -> np.ndarray:
    """Return `labels` (`[H, W]` integer) with the largest part of each label, connected by its pixels' sides, alone.

    Of equal parts the one that begins first stays.

    >>> keep_largest_parts(np.array([[1, 0, 1, 1], [0, 2, 2, 0]])).tolist()
    [[0, 0, 1, 1], [0, 2, 2, 0]]
    """
    parts = skimage.measure.label(labels, background=0, connectivity=1)
    sizes = np.bincount(parts.ravel())
    if len(sizes) - 1 == len(np.unique(labels[labels != 0])):
        return labels
    label_of = np.zeros(len(sizes), labels.dtype)
    label_of[parts.ravel()] = labels.ravel()
    largest_first = 1 + np.argsort(-sizes[1:], kind="stable")
    kept = np.zeros(len(sizes), bool)
    kept[largest_first[np.unique(label_of[largest_first], return_index=True)[1]]] = True
    return np.where(kept[parts], labels, 0)
