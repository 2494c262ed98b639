"""Foreground mask -> label map with one component a nucleus."""

import cv2
import numpy as np
from scipy import ndimage
from skimage.morphology import reconstruction
from skimage.segmentation import watershed

# Smoothing of the distance transform: a ragged outline has many small maxima.
DISTANCE_SIGMA = 1.0
# Smoothing of the guide before it weighs the distance: chromatin texture is no reason to split.
GUIDE_SIGMA = 2.0
# Outlines are smoothed in crops with this margin in units of the smoothing's sigma.
CROP_SIGMAS = 3


def split_components(
    mask: np.ndarray,
    guide: np.ndarray | None = None,
    min_area: int = 40,
    max_area: int | None = None,
    *,
    split: bool = True,
    height: float = 1.0,
    max_hole: int = 200,
    opening: int = 2,
    outline_sigma: float = 2.0,
    outline_level: float = 0.6,
) -> np.ndarray:
    """Return the nuclei in `mask`, touching ones split.

    Holes are filled and thin bridges opened; each maximum of the distance to the background that rises `height` above
    its saddle becomes the marker of one nucleus, and a watershed within the mask draws the lines between them. Each
    outline is then smoothed. The paper takes connected components as they are: `split=False, opening=0, max_hole=0,
    outline_sigma=0, min_area=100, max_area=1000`.

    Args:
        mask: `[H, W]` bool.
        guide: `[H, W]` float in [0, 1], dark where two nuclei meet; weighs the distance. None: distance alone.
        min_area: components of fewer pixels are removed.
        max_area: components of more pixels are removed; None keeps them.
        split: False takes the connected components as they are.
        height: rise of a marker above the saddle to a higher one, in pixels of distance.
        max_hole: holes of at most this many pixels are filled.
        opening: radius of the opening in pixels; 0 for none.
        outline_sigma: standard deviation of the outline's smoothing in pixels; 0 for none.
        outline_level: the smoothed component is cut here. Above 0.5 it shrinks, which undoes the widening by the map's
            own blur (about a pixel at 0.6 and sigma 2).

    Returns:
        `[H, W]` int32, 0 = background, components numbered from 1 without gaps.
    """
    mask = fill_small_holes(mask.astype(bool), max_hole)
    if opening > 0:
        disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * opening + 1, 2 * opening + 1))
        mask = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, disk) > 0
    if split:
        labels = _watershed_of_distance(mask, guide, height)
    else:
        labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)[1]
    if outline_sigma > 0:
        labels = _smooth_outlines(labels, outline_sigma, outline_level)
    areas = np.bincount(labels.ravel())
    keep = areas >= max(min_area, 1)
    if max_area is not None:
        keep &= areas <= max_area
    return relabel(labels, keep)


def relabel(labels: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """Return `labels` with the components where `keep` (`[largest label + 1]` bool) is False removed, the rest 1..n."""
    keep = keep.copy()
    keep[0] = False
    return (np.cumsum(keep) * keep).astype(np.int32)[labels]


def fill_small_holes(mask: np.ndarray, max_hole: int) -> np.ndarray:
    """Return `mask` (`[H, W]` bool) with the holes of at most `max_hole` pixels filled.

    A hole is a region of background that does not reach the image border.
    """
    height, width = mask.shape
    _, regions, stats, _ = cv2.connectedComponentsWithStats((~mask).astype(np.uint8), connectivity=4)
    left, top, wide, high, area = stats.T
    inside = (left > 0) & (top > 0) & (left + wide < width) & (top + high < height)
    hole = inside & (area <= max_hole)
    hole[0] = False  # region 0 is the mask itself
    return mask | hole[regions]


def _watershed_of_distance(mask: np.ndarray, guide: np.ndarray | None, height: float) -> np.ndarray:
    # One pixel of background all around: the distance must also fall towards the image border, or a cut nucleus and
    # its neighbour share one maximum there.
    padded = np.pad(mask, 1).astype(np.uint8)
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1]
    distance = cv2.GaussianBlur(distance, (0, 0), DISTANCE_SIGMA)
    if guide is not None:
        distance = distance * (0.5 + cv2.GaussianBlur(guide.astype(np.float32), (0, 0), GUIDE_SIGMA))
    domes = distance - reconstruction(distance - height, distance)
    # Rounding keeps the top of a dome a little below `height`.
    markers = ndimage.label((domes >= height - 1e-3) & mask)[0]
    return watershed(-distance, markers, mask=mask).astype(np.int32)


def _smooth_outlines(labels: np.ndarray, sigma: float, level: float) -> np.ndarray:
    smoothed = np.zeros_like(labels)
    margin = int(np.ceil(CROP_SIGMAS * sigma))
    for label, box in enumerate(ndimage.find_objects(labels), 1):
        if box is None:
            continue
        crop = tuple(slice(max(side.start - margin, 0), side.stop + margin) for side in box)
        component = labels[crop] == label
        # Replicating at the image border keeps a cut nucleus cut there instead of rounding it off.
        blurred = cv2.GaussianBlur(component.astype(np.float32), (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
        pieces, piece_map, stats, _ = cv2.connectedComponentsWithStats(
            ((blurred > level) & component).astype(np.uint8), connectivity=4
        )
        if pieces > 1:
            smoothed[crop][piece_map == 1 + stats[1:, cv2.CC_STAT_AREA].argmax()] = label
    return smoothed
