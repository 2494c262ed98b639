"""Grad-CAM++ (Chattopadhay et al., WACV 2018)."""

import numpy as np


def gradcampp(features: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    """Return the Grad-CAM++ maps `[B, h, w]` >= 0: only positive gradients count, weighted by equation 19.

    Args:
        features: `[B, h, w, C]` float32 feature maps, >= 0.
        gradients: `[B, h, w, C]` gradients of the score with respect to `features`; the higher derivatives are those of
            exp(score), whose powers the paper takes.
    """
    total = features.sum((1, 2), keepdims=True)
    positive = np.maximum(gradients, 0)
    # alpha = g^2 / (2 g^2 + total g^3), shortened by g^2.
    weights = (positive / (2 + total * positive)).sum((1, 2))
    return np.maximum(np.einsum("bhwc,bc->bhw", features, weights), 0)
