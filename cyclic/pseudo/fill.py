"""Pale centres of nuclei -> as dark as their rims: a vesicular nucleus stains at its membrane alone."""

import cv2
import numpy as np

from cyclic.pseudo.split import fill_small_holes
from cyclic.pseudo.threshold import check_map

# A hole is filled at each of so many thresholds, so a filled centre is at most 1 / LEVELS paler than its rim.
LEVELS = 32


def fill_centres(image_map: np.ndarray, max_hole: int, closing: int = 0) -> np.ndarray:
    """Return `image_map` with its small holes raised to the lowest point of the rim around them.

    This is the area closing of the map (Vincent 1992) in steps of 1 / `LEVELS`: at every threshold, the holes of the
    mask that are small enough are filled.

    Args:
        image_map: `[H, W]` float in [0, 1].
        max_hole: area of the largest hole that is filled, in pixels; 0 returns the map as it is.
        closing: radius in pixels of a grey-value closing that comes first and bridges gaps of a rim; 0 for none.

    Returns:
        `[H, W]` float32 in [0, 1], nowhere below `image_map`.

    Raises:
        InputError: no H x W map in [0, 1].
    """
    check_map(image_map, "image_map")
    filled = image_map.astype(np.float32)
    if max_hole == 0:
        return filled
    if closing > 0:
        disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * closing + 1, 2 * closing + 1))
        filled = cv2.morphologyEx(filled, cv2.MORPH_CLOSE, disk)
    closed = filled.copy()
    for level in np.arange(1, LEVELS + 1, dtype=np.float32) / LEVELS:
        inside = fill_small_holes(closed >= level, max_hole)
        np.maximum(filled, level, out=filled, where=inside)
    return filled
