"""LayerCAM (Jiang et al., IEEE TIP 2021)."""

import numpy as np


def layercam(features: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    """Return the LayerCAM maps `[B, h, w]` >= 0: positions weighted by their own positive gradient (equations 6-8).

    Args:
        features: `[B, h, w, C]` float32 feature maps.
        gradients: `[B, h, w, C]` gradients of the score with respect to `features`.
    """
    return np.maximum(np.einsum("bhwc,bhwc->bhw", features, np.maximum(gradients, 0)), 0)
