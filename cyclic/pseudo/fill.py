"""Pale centres of nuclei -> as dark as their rims: a vesicular nucleus stains at its membrane alone."""

import cv2
import numpy as np

from cyclic.labels import disk
from cyclic.pseudo.threshold import check_map

# Holes are filled at this many thresholds, so a filled centre is at most 1 / LEVELS paler than its rim.
LEVELS = 32
# Radius in pixels of the grey-value closing that bridges gaps of a rim first.
CLOSING = 1


def fill_centres(source: np.ndarray, max_hole: int) -> np.ndarray:
    """Return `source` with its small holes raised to the lowest point of the rim around them.

    This is the area closing of the map (Vincent 1992) in steps of 1 / `LEVELS`: at every threshold, the holes of the
    mask that are small enough are filled.

    Args:
        source: `[H, W]` float in [0, 1].
        max_hole: area of the largest hole that is filled, in pixels; 0 returns the map as it is.

    Returns:
        `[H, W]` float32 in [0, 1], nowhere below `source`.

    Raises:
        InputError: no H x W map in [0, 1].
    """
    check_map(source, "fill_centres")
    filled = source.astype(np.float32)
    if max_hole == 0:
        return filled
    filled = cv2.morphologyEx(filled, cv2.MORPH_CLOSE, disk(CLOSING)).astype(np.float32)
    closed, flat = filled.copy(), filled.ravel()
    # What lies in a region that is no hole lies in one at every higher level. So each level looks at the rest alone.
    no_hole = np.zeros(closed.shape, np.uint8)
    for level in np.arange(1, LEVELS + 1, dtype=np.float32) / LEVELS:
        low = ((closed < level) & (no_hole == 0)).view(np.uint8)
        pixels = np.flatnonzero(low.view(bool))
        regions = cv2.connectedComponents(low, connectivity=4)[1].ravel()
        region = regions[pixels]
        hole = np.bincount(region, minlength=1) <= max_hole
        hole[regions[np.flatnonzero((low & _beside(no_hole)).view(bool))]] = False
        flat[pixels[hole[region]]] = level
        no_hole.ravel()[pixels] = ~hole[region]
    return filled


def _beside(mask: np.ndarray) -> np.ndarray:
    """Return the pixels that share a side with `mask` or the border, or lie in `mask`; both `[H, W]` uint8, 0 or 1."""
    return cv2.dilate(mask, disk(1), borderType=cv2.BORDER_CONSTANT, borderValue=1)
