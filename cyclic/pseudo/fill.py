"""Pale centres of nuclei -> as dark as their rims: a vesicular nucleus stains at its membrane alone."""

import cv2
import numpy as np

from cyclic.labels import disk
from cyclic.pseudo.split import fill_small_holes
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
    closed = filled.copy()
    for level in np.arange(1, LEVELS + 1, dtype=np.float32) / LEVELS:
        inside = fill_small_holes(closed >= level, max_hole)
        np.maximum(filled, level, out=filled, where=inside)
    return filled
