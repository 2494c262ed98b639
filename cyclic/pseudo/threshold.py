"""Activation map -> foreground mask."""

import cv2
import numpy as np
from skimage.filters import threshold_otsu

from cyclic.errors import InputError

# The value of each method that takes one; see `threshold_map`.
DEFAULT_VALUES = {"range": 0.1, "local": 0.5, "background": 0.1}
METHODS = ("otsu", *DEFAULT_VALUES)
# Side of the box whose mean is the local threshold: a few nuclei wide at 40x.
LOCAL_WINDOW = 101
# Spreads above its mode up to which the background model still calls a pixel background.
BACKGROUND_SPREADS = 3.0
HISTOGRAM_BINS = 256


def threshold_map(
    image_map: np.ndarray, method: str = "otsu", value: float | None = None, factor: float = 1.0
) -> np.ndarray:
    """Return the pixels of `image_map` that belong to nuclei.

    Args:
        image_map: `[H, W]` float in [0, 1].
        method: "otsu": one global threshold (Otsu 1979).
            "range": the minimum plus `value` (default 0.1) of the map's range; the paper's choice.
            "local": `(1 - value)` Otsu + `value` (default 0.5) local mean, which follows uneven staining.
            "background": mode + 3 spreads of the map's low side, plus `value` (default 0.1) of what is left to the
            maximum; does not assume that nuclei fill a good part of the map, as Otsu does.
        value: see `method`, in [0, 1]; "otsu" takes none.
        factor: multiplies the threshold, so that a few factors give nested masks; see `components_over_levels`.

    Returns:
        `[H, W]` bool, all False for a constant map.

    Raises:
        InputError: unknown method, or a value or a map outside [0, 1].
    """
    if method not in METHODS:
        raise InputError(f"threshold: unknown method {method!r}; use one of {', '.join(METHODS)}")
    if method == "otsu" and value is not None:
        raise InputError(f"threshold: method 'otsu' takes no value, got {value}; leave it out or use another method")
    value = DEFAULT_VALUES.get(method) if value is None else value
    if value is not None and not 0.0 <= value <= 1.0:
        raise InputError(f"threshold: {value} is outside [0, 1]; give a share of the map's range")
    low, high = check_map(image_map, "threshold")
    if high == low:
        return np.zeros(image_map.shape, bool)
    return image_map > factor * _threshold(image_map, method, value, low, high)


def _threshold(image_map: np.ndarray, method: str, value: float | None, low: float, high: float) -> float | np.ndarray:
    if method == "range":
        return low + value * (high - low)
    if method == "background":
        bound = background_bound(image_map)
        return bound + value * max(high - bound, 0.0)
    otsu = threshold_otsu(image_map)
    if method == "otsu":
        return otsu
    local_mean = cv2.blur(image_map.astype(np.float32), (LOCAL_WINDOW, LOCAL_WINDOW))
    return (1.0 - value) * otsu + value * local_mean


def check_map(image_map: np.ndarray, key: str) -> tuple[float, float]:
    """Return the smallest and largest value of a map after checking that it is an H x W map in [0, 1].

    Raises:
        InputError: wrong number of dimensions, NaN, or values outside [0, 1]; the message starts with `key`.
    """
    if image_map.ndim != 2 or image_map.size == 0:
        raise InputError(f"{key}: an H x W map is needed, not shape {image_map.shape}")
    low, high = float(image_map.min()), float(image_map.max())
    if not (low >= 0.0 and high <= 1.0):  # also true for NaN
        raise InputError(f"{key}: the map has values from {low:.3g} to {high:.3g}; scale it to [0, 1]")
    return low, high


def background_bound(image_map: np.ndarray) -> float:
    """Return the value up to which `image_map` (`[H, W]` float in [0, 1]) is background.

    The background is the highest peak of the smoothed histogram below Otsu's threshold; its spread is measured on the
    side below the peak only, which nuclei do not reach.
    """
    counts, edges = np.histogram(image_map, HISTOGRAM_BINS, (0.0, 1.0))
    smooth = cv2.GaussianBlur(counts.astype(np.float32)[None], (0, 0), 3.0)[0]
    background_bins = max(int(np.searchsorted(edges, threshold_otsu(image_map))), 1)
    mode = edges[int(smooth[:background_bins].argmax())]
    below = image_map[image_map <= mode]
    spread = np.sqrt(np.mean((below - mode) ** 2)) if below.size else 0.0
    return float(mode + BACKGROUND_SPREADS * spread)
