"""Is an activation map higher on nuclei than beside them? The area under the ROC curve of its pixels."""

from collections.abc import Iterable

import numpy as np

# Maps are 8-bit pictures.
LEVELS = 256


def auc(activation: np.ndarray, nuclei: np.ndarray) -> float:
    """Return the area under the ROC curve of a map's pixels, nucleus against background.

    It is the share of pairs, one pixel of each kind, in which the map is higher on the nucleus; ties count half. So 1
    is a map that parts them, 0.5 one that knows nothing, and less one that is higher beside the nuclei.

    >>> nuclei = np.array([[True, True, False, False]])
    >>> auc(np.array([[1.0, 0.6, 0.6, 0.0]]), nuclei)
    0.875

    Args:
        activation: `[H, W]` float in [0, 1], in steps of 1 / 255.
        nuclei: `[H, W]` bool.

    Returns:
        The area in [0, 1]; NaN if all or none of the pixels are of nuclei.
    """
    level = np.round(activation * (LEVELS - 1)).astype(int)
    inside, outside = (np.bincount(level[part], minlength=LEVELS) for part in (nuclei, ~nuclei))
    if not (inside.any() and outside.any()):
        return float("nan")
    below = np.cumsum(outside) - outside
    return float(inside @ (below + outside / 2) / (inside.sum() * outside.sum()))


def mean_auc(pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> float:
    """Return the mean area under the ROC curve of images; see `auc`.

    Args:
        pairs: of each image the map, `[H, W]` float in [0, 1], and the true label map, `[H, W]` integer, 0 =
            background.

    Returns:
        The mean of the images that have both nuclei and background, in [0, 1]; NaN if there is none.
    """
    areas = [auc(activation, labels > 0) for activation, labels in pairs]
    defined = [area for area in areas if not np.isnan(area)]
    return float(np.mean(defined)) if defined else float("nan")
