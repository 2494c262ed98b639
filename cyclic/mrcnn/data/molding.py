"""Molding: what turns an image into the network's input, and the vector that describes one image to the network."""

import numpy as np


def mold_image(images: np.ndarray, config) -> np.ndarray:
    """Return RGB `images` (`[..., 3]`, 0 to 255) less the mean pixel, float32."""
    return (images.astype(np.float32) - config.MEAN_PIXEL).astype(np.float32)


def unmold_image(normalized_images: np.ndarray, config) -> np.ndarray:
    """Undo `mold_image`: return `[..., 3]` uint8."""
    return np.clip(np.rint(normalized_images + config.MEAN_PIXEL), 0, 255).astype(np.uint8)


def compose_image_meta(image_id, original_image_shape, image_shape, window, scale, active_class_ids) -> np.ndarray:
    """Return the description of one image as a vector, `[12 + NUM_CLASSES]` float64.

    Args:
        image_id: integer id, for debugging.
        original_image_shape: (H, W, C) before resizing and padding.
        image_shape: (H, W, C) after them.
        window: (y1, x1, y2, x2) in pixels, the part that is not padding.
        scale: the factor of the resizing.
        active_class_ids: `[NUM_CLASSES]` 1 for each class the image's data set labels, 0 for the others.
    """
    parts = [[image_id], original_image_shape, image_shape, window, [scale], active_class_ids]
    return np.concatenate([np.asarray(part, dtype=np.float64) for part in parts])


def parse_image_meta(meta: np.ndarray) -> dict[str, np.ndarray]:
    """Split image descriptions (`[B, 12 + NUM_CLASSES]`) into the arguments of `compose_image_meta`, by name."""
    return {
        "image_id": meta[:, 0].astype(np.int32),
        "original_image_shape": meta[:, 1:4].astype(np.int32),
        "image_shape": meta[:, 4:7].astype(np.int32),
        "window": meta[:, 7:11].astype(np.int32),
        "scale": meta[:, 11].astype(np.float32),
        "active_class_ids": meta[:, 12:].astype(np.int32),
    }
