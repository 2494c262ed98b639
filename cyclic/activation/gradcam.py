"""Grad-CAM (Selvaraju et al., ICCV 2017)."""

import numpy as np


def gradcam(features: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    """Return the Grad-CAM maps `[B, h, w]` >= 0: channels weighted by their mean gradient (equations 1 and 2).

    Args:
        features: `[B, h, w, C]` float32 feature maps.
        gradients: `[B, h, w, C]` gradients of the score with respect to `features`.
    """
    weights = gradients.mean((1, 2))
    return np.maximum(np.einsum("bhwc,bc->bhw", features, weights), 0)
