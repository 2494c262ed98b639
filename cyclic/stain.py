"""Stain vectors, optical density, and the hematoxylin map: how much of the nuclear dye each pixel carries."""

import cv2
import numpy as np

# Optical densities (columns red, green, blue) of hematoxylin, eosin and the residual (DAB), one stain a row;
# Ruifrok & Johnston 2001.
STAIN_VECTORS = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])
# Percentiles of the image's own hematoxylin that become 0 and 1.
SCALE_PERCENTILES = (1.0, 99.5)
# The local map, in pixels: its smoothing, how far the surroundings reach, and how much of their mean is taken away.
LOCAL_SIGMA, AROUND_SIGMA, AROUND_SHARE = 0.6, 15.0, 0.7
# Optical density of each 8-bit value: 0 for white (255), 5.5 for black (0). One is added so that black stays finite.
DENSITY = (-np.log((np.arange(256) + 1.0) / 256.0)).astype(np.float32)


def hematoxylin_map(image: np.ndarray, sigma: float = 1.0) -> np.ndarray:
    """Return how much hematoxylin each pixel of an H&E image carries.

    Colour deconvolution (Ruifrok & Johnston 2001) unmixes the optical density, so that eosin and red blood cells, which
    absorb green and blue but little red, count against hematoxylin. The result is smoothed and scaled by the image's
    own percentiles: maps of pale and dark slides are comparable.

    Args:
        image: `[H, W, 3]` uint8 RGB.
        sigma: standard deviation of the Gaussian smoothing in pixels; 0 leaves the map as it is.

    Returns:
        `[H, W]` float32 in [0, 1]; all 0 where the image has one colour only.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3:
        raise ValueError(f"an H x W x 3 uint8 image is needed, not {image.shape} {image.dtype}")
    unit_vectors = STAIN_VECTORS / np.linalg.norm(STAIN_VECTORS, axis=1, keepdims=True)
    unmix_hematoxylin = np.linalg.inv(unit_vectors)[:, 0].astype(np.float32)
    hematoxylin = DENSITY[image] @ unmix_hematoxylin
    if sigma > 0:
        hematoxylin = cv2.GaussianBlur(hematoxylin, (0, 0), sigma)
    return _scaled(hematoxylin)


def local_hematoxylin_map(image: np.ndarray) -> np.ndarray:
    """Return how much more hematoxylin each pixel carries than its surroundings.

    Packed tissue is one dark band to a threshold of the whole image. Less the mean around, the gaps between its nuclei
    are low again.

    Args:
        image: `[H, W, 3]` uint8 RGB.

    Returns:
        `[H, W]` float32 in [0, 1]; all 0 where the image has one colour only.
    """
    hematoxylin = hematoxylin_map(image, LOCAL_SIGMA)
    around = cv2.GaussianBlur(hematoxylin, (0, 0), AROUND_SIGMA)
    return _scaled(hematoxylin - AROUND_SHARE * around)


def _scaled(values: np.ndarray) -> np.ndarray:
    """Return `values` (`[H, W]` float) between their own percentiles as 0 and 1, float32; 0 where all are equal."""
    # Every third pixel gives the same percentiles at a ninth of the cost.
    step = 3 if min(values.shape) >= 64 else 1
    low, high = np.percentile(values[::step, ::step], SCALE_PERCENTILES)
    # The spread of a one-colour image is rounding error only.
    if high - low < 1e-4:
        return np.zeros(values.shape, np.float32)
    return np.clip((values - low) / (high - low), 0.0, 1.0).astype(np.float32)
