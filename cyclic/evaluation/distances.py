"""Where nuclei lie, and how far apart the outlines of matched ones are."""

import cv2
import numpy as np

from cyclic.evaluation.matching import Overlaps


def hausdorff_distances(true: np.ndarray, pred: np.ndarray, overlaps: Overlaps, pairs: np.ndarray) -> np.ndarray:
    """Return the Hausdorff distance of each pair of nuclei in px.

    The distance is `max(max over t in T of d(t, P), max over p in P of d(p, T))` over the filled nuclei. d is the
    Euclidean distance of a pixel centre to the nearest pixel centre of the other nucleus.

    The score of an image is the mean over its matched nuclei. Unmatched nuclei have no distance; only DQ counts them.
    GlaS (Sirinukunwattana et al. 2017) weights by area and gives unmatched objects their nearest neighbour, so its
    figures differ.

    Each pair is measured in its own window, so the cost grows with the pixels of the nuclei's boxes.

    Args:
        true: `[H, W]` integer label map.
        pred: the same.
        overlaps: their contingency table.
        pairs: `[M]` integer indices into the pairs of `overlaps`.

    Returns:
        `[M]` float64.
    """
    if not len(pairs):
        return np.zeros(0)
    rows, cols = overlaps.rows[pairs], overlaps.cols[pairs]
    true_boxes, pred_boxes = boxes(true, overlaps.true_ids)[rows], boxes(pred, overlaps.pred_ids)[cols]
    starts = np.minimum(true_boxes[:, :2], pred_boxes[:, :2])
    stops = np.maximum(true_boxes[:, 2:], pred_boxes[:, 2:])
    distances = np.zeros(len(pairs))
    ids = zip(overlaps.true_ids[rows].tolist(), overlaps.pred_ids[cols].tolist(), strict=True)
    windows = zip(starts.tolist(), stops.tolist(), strict=True)
    for i, ((true_id, pred_id), ((top, left), (bottom, right))) in enumerate(zip(ids, windows, strict=True)):
        of_true = (true[top:bottom, left:right] == true_id).view(np.uint8)
        of_pred = (pred[top:bottom, left:right] == pred_id).view(np.uint8)
        distances[i] = max(_directed(of_true, of_pred), _directed(of_pred, of_true))
    # Squared distances are whole numbers; OpenCV gives them to five digits only.
    return np.sqrt(np.rint(distances**2))


def _directed(mask: np.ndarray, other: np.ndarray) -> float:
    """Return the largest distance of a pixel of `mask` to `other` (`[h, w]` uint8, 0 or 1, neither empty)."""
    return cv2.minMaxLoc(cv2.distanceTransform(1 - other, cv2.DIST_L2, cv2.DIST_MASK_PRECISE), mask)[1]


def boxes(labels: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Return the bounding boxes of some nuclei; there may be gaps between the ids.

    Args:
        labels: `[H, W]` integer label map, not empty.
        ids: `[N]` labels, ascending, each with at least one pixel.

    Returns:
        `[N, 4]` int64 (y1, x1, y2, x2), exclusive end.
    """
    height, width = labels.shape
    begins = np.ones(labels.shape, bool)
    np.not_equal(labels[:, 1:], labels[:, :-1], out=begins[:, 1:])
    starts = np.flatnonzero(begins)
    stops = np.append(starts[1:], labels.size)  # a run ends with its row, since each row begins one
    values = labels.ravel()[starts]
    index = np.minimum(np.searchsorted(ids, values), len(ids) - 1)
    of_nucleus = ids[index] == values
    index, starts, stops = index[of_nucleus], starts[of_nucleus], stops[of_nucleus]
    y, left = np.divmod(starts, width)
    corners = np.repeat([[height, width, 0, 0]], len(ids), axis=0)
    np.minimum.at(corners[:, 0], index, y)
    np.minimum.at(corners[:, 1], index, left)
    np.maximum.at(corners[:, 2], index, y + 1)
    np.maximum.at(corners[:, 3], index, left + stops - starts)
    return corners


def centroids(labels: np.ndarray) -> np.ndarray:
    """Return the mean place of each nucleus' pixels, `[N, 2]` float64 (y, x) by ascending label."""
    y, x = np.nonzero(labels)
    _, index, counts = np.unique(labels[y, x], return_inverse=True, return_counts=True)
    return np.stack([np.bincount(index, axis, len(counts)) / counts for axis in (y, x)], axis=1)
