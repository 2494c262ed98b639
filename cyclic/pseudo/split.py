"""Foreground mask -> label map with one component a nucleus."""

import cv2
import numpy as np
from scipy import ndimage
from skimage.morphology import reconstruction
from skimage.segmentation import watershed

from cyclic.labels import disk, relabel

# Smoothing of the distance transform: a ragged outline has many small maxima.
DISTANCE_SIGMA = 1.0
# Rise in pixels of a marker of the distance above its saddle: lower ones are bumps of one nucleus.
MARKER_HEIGHT = 1.0
# Radius in pixels of the opening that cuts thin bridges.
OPENING = 2
# Smoothing of outlines in pixels, and the level at which the smoothed component is cut. Above 0.5 it shrinks, which
# undoes the widening by the map's own blur (about a pixel).
OUTLINE_SIGMA, OUTLINE_LEVEL = 2.0, 0.6
# Outlines are smoothed in crops with this margin in units of the smoothing's sigma.
CROP_SIGMAS = 3


def split_components(
    mask: np.ndarray, min_area: int, max_area: int | None = None, *, split: bool, max_hole: int
) -> np.ndarray:
    """Return the nuclei in `mask`, touching ones split.

    Holes are filled and thin bridges opened. Each maximum of the distance to the background becomes the marker of one
    nucleus, and a watershed within the mask draws the lines between them. Each outline is then smoothed.

    Args:
        mask: `[H, W]` bool.
        min_area: components of fewer pixels are removed.
        max_area: components of more pixels are removed; None keeps them.
        split: False takes the connected components as they are, as the paper does.
        max_hole: holes of at most this many pixels are filled.

    Returns:
        `[H, W]` int32, 0 = background, components numbered from 1 without gaps.
    """
    mask = fill_small_holes(mask.astype(bool), max_hole)
    if split:
        mask = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, disk(OPENING)) > 0
        labels = _smooth_outlines(_watershed_of_distance(mask))
    else:
        labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)[1]
    size = np.bincount(labels.ravel())
    keep = size >= max(min_area, 1)
    if max_area is not None:
        keep &= size <= max_area
    return relabel(labels, keep)


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


def _watershed_of_distance(mask: np.ndarray) -> np.ndarray:
    # One pixel of background all around: the distance must also fall towards the image border, or a cut nucleus and
    # its neighbour share one maximum there.
    padded = np.pad(mask, 1).astype(np.uint8)
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1]
    distance = cv2.GaussianBlur(distance, (0, 0), DISTANCE_SIGMA)
    domes = distance - reconstruction(distance - MARKER_HEIGHT, distance)
    # Rounding keeps the top of a dome a little below its height.
    markers = ndimage.label((domes >= MARKER_HEIGHT - 1e-3) & mask)[0]
    return watershed(-distance, markers, mask=mask).astype(np.int32)


def _smooth_outlines(labels: np.ndarray) -> np.ndarray:
    smoothed = np.zeros_like(labels)
    margin = int(np.ceil(CROP_SIGMAS * OUTLINE_SIGMA))
    for label, box in enumerate(ndimage.find_objects(labels), 1):
        if box is None:
            continue
        crop = tuple(slice(max(side.start - margin, 0), side.stop + margin) for side in box)
        component = labels[crop] == label
        # Replicating at the image border keeps a cut nucleus cut there instead of rounding it off.
        blurred = cv2.GaussianBlur(component.astype(np.float32), (0, 0), OUTLINE_SIGMA, borderType=cv2.BORDER_REPLICATE)
        pieces, piece_map, stats, _ = cv2.connectedComponentsWithStats(
            ((blurred > OUTLINE_LEVEL) & component).astype(np.uint8), connectivity=4
        )
        if pieces > 1:
            smoothed[crop][piece_map == 1 + stats[1:, cv2.CC_STAT_AREA].argmax()] = label
    return smoothed
