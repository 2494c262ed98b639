"""Molding: what turns an image into the network's input, and the vector that describes one image to the network."""

import numpy as np

from cyclic.errors import InputError
from cyclic.mrcnn.geometry.resizing import resize_image

# Where each part of an image description stands in the vector of `compose_image_meta`.
_META_PARTS = {
    "image_id": slice(0, 1),
    "original_image_shape": slice(1, 4),
    "image_shape": slice(4, 7),
    "window": slice(7, 11),
    "scale": slice(11, 12),
    "active_class_ids": slice(12, None),
}


def check_channels(image: np.ndarray, config, name: str) -> None:
    """Raise InputError unless an image is `[H, W, IMAGE_CHANNEL_COUNT]`; `name` is what the message calls it."""
    if image.ndim != 3 or image.shape[-1] != config.IMAGE_CHANNEL_COUNT:
        raise InputError(
            f"{name}: shape {image.shape}, and IMAGE_CHANNEL_COUNT = {config.IMAGE_CHANNEL_COUNT} needs "
            f"(height, width, {config.IMAGE_CHANNEL_COUNT}); return that from load_image, or set the count"
        )


def mold_image(images: np.ndarray, config) -> np.ndarray:
    """Return `images` (`[..., IMAGE_CHANNEL_COUNT]`, 0 to 255) less the mean pixel, float32."""
    return (images.astype(np.float32) - config.MEAN_PIXEL).astype(np.float32)


def unmold_image(normalized_images: np.ndarray, config) -> np.ndarray:
    """Undo `mold_image`: return `[..., IMAGE_CHANNEL_COUNT]` uint8."""
    return np.clip(np.rint(normalized_images + config.MEAN_PIXEL), 0, 255).astype(np.uint8)


def mold_images(images, config) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Resize and pad a list of images and subtract the mean pixel.

    Args:
        images: list of `[H, W, IMAGE_CHANNEL_COUNT]` uint8 images.
        config: `Config`.

    Returns:
        molded: `[B, H', W', 3]` float32.
        metas: `[B, 12 + NUM_CLASSES]` float64, see `compose_image_meta`.
        windows: `[B, 4]` int (y1, x1, y2, x2), the part of the molded image that is not padding.

    Raises:
        InputError: no image, an image that is not in a list, an image of another number of channels, or images of
            different molded shapes.
    """
    if isinstance(images, np.ndarray) and images.ndim < 4:  # its rows would be taken for images
        raise InputError(f"an array of shape {images.shape}: pass a list of images, such as [image]")
    if not len(images):
        raise InputError("no image to detect in; pass a list of one image or more")
    molded, metas, windows = [], [], []
    for index, image in enumerate(images):
        check_channels(image, config, f"image {index}")
        resized, window, scale, _, _ = resize_image(
            image,
            min_dim=config.IMAGE_MIN_DIM,
            min_scale=config.IMAGE_MIN_SCALE,
            max_dim=config.IMAGE_MAX_DIM,
            mode=config.IMAGE_RESIZE_MODE,
        )
        active = np.zeros(config.NUM_CLASSES, np.int32)
        metas.append(compose_image_meta(0, image.shape, resized.shape, window, scale, active))
        molded.append(mold_image(resized, config))
        windows.append(window)
    if len({image.shape for image in molded}) > 1:
        raise InputError("images of different sizes in one batch: pass them to detect() one by one")
    return np.stack(molded).astype("float32"), np.stack(metas), np.stack(windows)


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
        "image_id": read_meta(meta, "image_id")[:, 0].astype(np.int32),
        "original_image_shape": read_meta(meta, "original_image_shape").astype(np.int32),
        "image_shape": read_meta(meta, "image_shape").astype(np.int32),
        "window": read_meta(meta, "window").astype(np.int32),
        "scale": read_meta(meta, "scale")[:, 0].astype(np.float32),
        "active_class_ids": read_meta(meta, "active_class_ids").astype(np.int32),
    }


def read_meta(metas, part: str):
    """Return one part of image descriptions, with the type that it has there.

    Args:
        metas: `[B, 12 + NUM_CLASSES]`, an array or a tensor.
        part: name of an argument of `compose_image_meta`.

    Returns:
        `[B, length of the part]`.
    """
    return metas[:, _META_PARTS[part]]
