"""What any image becomes before the networks see it: `[H, W, 3]` uint8 RGB, as a person sees it on a white page."""

import numpy as np

from cyclic.errors import InputError

RULE = "give [H, W], [H, W, 1], [H, W, 2], [H, W, 3] or [H, W, 4]; uint8, uint16, bool, or float in [0, 1]"


def as_rgb(image: np.ndarray, name: str = "image") -> np.ndarray:
    """Return an image as `[H, W, 3]` uint8 RGB.

    uint16 is divided by 257, float in [0, 1] is multiplied by 255, and both are rounded. Grey is repeated. Where an
    alpha channel says that the image is transparent, the white page shows through.

    >>> as_rgb(np.array([[[0, 0, 0, 0], [65535, 0, 0, 65535]]], np.uint16)).tolist()
    [[[255, 255, 255], [255, 0, 0]]]

    Args:
        image: `[H, W]` or `[H, W, 1]` grey, `[H, W, 2]` grey with alpha, `[H, W, 3]` RGB, or `[H, W, 4]` RGBA; uint8,
            uint16, bool, or float in [0, 1].
        name: what messages call the image.

    Raises:
        InputError: another shape or type, an empty image, or float values that are not in [0, 1].
    """
    image = np.asarray(image)
    if image.ndim == 2:
        image = image[..., None]
    if image.ndim != 3 or image.shape[-1] not in (1, 2, 3, 4) or image.size == 0:
        raise InputError(f"{name}: shape {image.shape}; {RULE}")
    image = _as_uint8(image, name)
    channels = image.shape[-1]
    colour = image[..., : channels - 1] if channels in (2, 4) else image
    if channels in (2, 4):
        alpha = image[..., -1:].astype(np.float32) / 255
        colour = np.round(colour * alpha + 255 * (1 - alpha)).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(colour, (*image.shape[:2], 3)))


def _as_uint8(image: np.ndarray, name: str) -> np.ndarray:
    if image.dtype == np.uint8:
        return image
    if image.dtype == bool:
        return image.astype(np.uint8) * np.uint8(255)
    if image.dtype == np.uint16:
        return np.round(image / 257).astype(np.uint8)
    if not np.issubdtype(image.dtype, np.floating):
        raise InputError(f"{name}: {image.dtype} pixels; {RULE}")
    low, high = float(image.min()), float(image.max())
    if not (low >= 0 and high <= 1):  # also true for NaN
        raise InputError(f"{name}: values from {low:.3g} to {high:.3g}; {RULE}")
    return np.round(image * 255).astype(np.uint8)
