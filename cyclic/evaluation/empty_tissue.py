"""What is found in tissue without nuclei, per mm².

AJI, PQ and F1 say little of an image with three nuclei: a hundred false ones and ten give nearly the same score. This
figure counts them, and rests on the parts of an image that lie away from every true nucleus.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import cv2
import numpy as np

from cyclic.evaluation.distances import centroids
from cyclic.evaluation.matching import check_label_maps
from cyclic.resolution import check_mpp

# Tissue is empty where the nearest true nucleus is farther than this, in micrometres: about the width of a nucleus.
MARGIN_UM = 10.0
# What 40x is; taken where nobody states the micrometres per pixel.
USUAL_MPP = 0.25
FALSE_PER_MM2, EMPTY_MM2 = "false_per_mm2", "empty_mm2"


def false_per_mm2(true: np.ndarray, pred: np.ndarray, mpp: float = USUAL_MPP) -> dict[str, float | None]:
    """Return how many nuclei are predicted in empty tissue, per mm² of it, and how large it is.

    Empty tissue is every pixel whose centre is farther than 10 µm from the centre of the nearest pixel of a true
    nucleus; without a true nucleus, the whole image. A predicted nucleus lies there if the pixel nearest to its
    centroid does.

    An image of 100 x 100 µm without nuclei, and two predicted ones:

    >>> true, pred = np.zeros((2, 100, 100), int)
    >>> pred[10:14, 10:14], pred[50:54, 50:54] = 1, 2
    >>> false_per_mm2(true, pred, mpp=1.0)
    {'false_per_mm2': 200.0, 'empty_mm2': 0.01}

    Args:
        true: `[H, W]` integer label map, 0 = background, gaps allowed.
        pred: `[H, W]` integer label map of the same image.
        mpp: micrometres per pixel, over 0.

    Returns:
        `false_per_mm2`, 0 or more, None where there is no empty tissue; and `empty_mm2`, its area.

    Raises:
        ValueError: the shapes differ, a map holds negative labels or no integers, or `mpp` is not over 0.
    """
    check_label_maps(true, pred)
    check_mpp(mpp, "mpp")
    empty = find_empty_tissue(true, mpp)
    pixels = np.count_nonzero(empty)
    area = float(pixels * mpp**2 / 1e6)
    nearest = np.rint(centroids(pred)).astype(np.int64)
    count = np.count_nonzero(empty[tuple(nearest.T)]) if pixels else 0
    return {FALSE_PER_MM2: float(count / area) if pixels else None, EMPTY_MM2: area}


def find_empty_tissue(true: np.ndarray, mpp: float) -> np.ndarray:
    """Return where no true nucleus is within `MARGIN_UM`, `[H, W]` bool; see `false_per_mm2`."""
    if not true.any():
        return np.ones(true.shape, bool)
    distance = cv2.distanceTransform((true == 0).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return distance * mpp > MARGIN_UM


def pooled_false_per_mm2(images: Iterable[Mapping[str, Any]]) -> float | None:
    """Return all false nuclei of several images over all their empty tissue; None where there is none.

    A mean of the images' own figures would let an image with a corner of empty tissue count as much as a bare one.

    >>> pooled_false_per_mm2([{"false_per_mm2": 1000.0, "empty_mm2": 0.01}, {"false_per_mm2": 0.0, "empty_mm2": 0.03}])
    250.0

    Args:
        images: what `false_per_mm2` returns for each.
    """
    known = [row for row in images if row[FALSE_PER_MM2] is not None]
    if not known:
        return None
    return float(np.average([row[FALSE_PER_MM2] for row in known], weights=[row[EMPTY_MM2] for row in known]))
