"""Map -> foreground mask."""

import numpy as np
from skimage.filters import threshold_otsu

from cyclic.errors import InputError


def threshold_map(source: np.ndarray, threshold: str | float, factor: float = 1.0) -> np.ndarray:
    """Return the pixels of a map that belong to nuclei, `[H, W]` bool; none in a constant map.

    Args:
        source: `[H, W]` float in [0, 1].
        threshold: "otsu" for one global threshold (Otsu 1979), or the share of the map's range above its minimum that
            is background, in [0, 1]; the paper's share is 0.1.
        factor: multiplies the threshold, so that a few factors give nested masks; see `components_over_levels`.

    Raises:
        InputError: a share or a map outside [0, 1].
    """
    low, high = check_map(source, "threshold")
    if isinstance(threshold, str):
        if threshold != "otsu":
            raise InputError(f"threshold {threshold!r}: use otsu or a share of the map's range")
    elif not 0.0 <= threshold <= 1.0:
        raise InputError(f"threshold: {threshold} is outside [0, 1]; give a share of the map's range")
    if high == low:
        return np.zeros(source.shape, bool)
    level = threshold_otsu(source) if isinstance(threshold, str) else low + threshold * (high - low)
    return source > factor * level


def check_map(source: np.ndarray, key: str) -> tuple[float, float]:
    """Return the smallest and largest value of a map after checking that it is an H x W map in [0, 1].

    Raises:
        InputError: wrong number of dimensions, NaN, or values outside [0, 1]; the message starts with `key`.
    """
    if source.ndim != 2 or source.size == 0:
        raise InputError(f"{key}: an H x W map is needed, not shape {source.shape}")
    low, high = float(source.min()), float(source.max())
    if not (low >= 0.0 and high <= 1.0):  # also true for NaN
        raise InputError(f"{key}: the map has values from {low:.3g} to {high:.3g}; scale it to [0, 1]")
    return low, high
