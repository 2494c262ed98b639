"""Foreground mask -> label map with one component a nucleus."""

import cv2
import numpy as np
from scipy import ndimage
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
# Steps of a flood between two looks at whether it still moves.
FLOOD_STEPS = 8


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
        labels = _smooth_outlines(_watershed_of_distance(mask), min_area)
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
    regions = cv2.connectedComponents((~mask).view(np.uint8), connectivity=4)[1]
    hole = np.bincount(regions.ravel()) <= max_hole
    hole[0] = False  # region 0 is the mask itself
    for border in (regions[0], regions[-1], regions[:, 0], regions[:, -1]):
        hole[border] = False
    return mask | hole[regions]


def _watershed_of_distance(mask: np.ndarray) -> np.ndarray:
    # One pixel of background all around: the distance must also fall towards the image border, or a cut nucleus and
    # its neighbour share one maximum there.
    padded = np.pad(mask, 1).astype(np.uint8)
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1]
    distance = cv2.GaussianBlur(distance, (0, 0), DISTANCE_SIGMA)
    markers = ndimage.label(_rises(distance, MARKER_HEIGHT) & mask)[0]
    return _basins(-distance, markers, mask)


def _rises(surface: np.ndarray, height: float) -> np.ndarray:
    """Return the tops of the hills of `surface` that rise at least `height` above 0 and above their saddles.

    The surface less `height` is flooded from its hills, under the surface itself: a geodesic reconstruction. What it
    leaves is an h-dome of the surface (Vincent 1993).

    Args:
        surface: `[H, W]` float32, 0 or more.
        height: above 0.

    Returns:
        `[H, W]` bool.
    """
    flood = np.maximum(surface - np.float32(height), 0)
    square, wider, before = np.ones((3, 3), np.uint8), np.empty_like(flood), None
    while before is None or not np.array_equal(flood, before):
        before = flood.copy()
        for _ in range(FLOOD_STEPS):
            cv2.dilate(flood, square, dst=wider)
            cv2.min(wider, surface, dst=flood)
    # Rounding keeps the top of a dome a little below its height.
    return surface - flood >= height - 1e-3


def _basins(surface: np.ndarray, markers: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the part of `mask` that belongs to each marker: by a watershed where markers share a component.

    Args:
        surface: `[H, W]` float32.
        markers: `[H, W]` int32, 1..n and 0 for none.
        mask: `[H, W]` bool; the markers lie in it.

    Returns:
        `[H, W]` int32.
    """
    count, components = cv2.connectedComponents(mask.view(np.uint8), connectivity=4)
    where = np.nonzero(markers)
    component_of = np.zeros(markers.max() + 1, np.int32)
    component_of[markers[where]] = components[where]
    held = np.bincount(component_of[1:], minlength=count)
    marker_of = np.zeros(count, np.int32)
    marker_of[component_of] = np.arange(len(component_of))
    shared = (held > 1)[components]
    alone = np.where(held == 1, marker_of, 0)[components]
    return alone + watershed(surface, np.where(shared, markers, 0), mask=shared)


def _smooth_outlines(labels: np.ndarray, min_area: int) -> np.ndarray:
    """Return `labels` with smooth outlines; those of fewer pixels than `min_area` are left out, as they only shrink."""
    area = np.bincount(labels.ravel())
    smoothed = np.zeros_like(labels)
    margin = int(np.ceil(CROP_SIGMAS * OUTLINE_SIGMA))
    for label, box in enumerate(ndimage.find_objects(labels), 1):
        if box is None or area[label] < min_area:
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
