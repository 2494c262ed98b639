"""Resizing of images and masks to the network's input.

`scale`, `padding` and `crop` say what `resize_image` did, so that `resize_mask` can do the same to the masks.
"""

import cv2
import numpy as np
import skimage.transform


def resize(
    image: np.ndarray,
    output_shape,
    order: int = 1,
    mode: str = "constant",
    cval: float = 0,
    clip: bool = True,
    preserve_range: bool = False,
    anti_aliasing: bool = False,
    anti_aliasing_sigma=None,
) -> np.ndarray:
    """Resize with `skimage.transform.resize`, without anti-aliasing unless asked for; the result is floating point."""
    return skimage.transform.resize(
        image,
        output_shape,
        order=order,
        mode=mode,
        cval=cval,
        clip=clip,
        preserve_range=preserve_range,
        anti_aliasing=anti_aliasing,
        anti_aliasing_sigma=anti_aliasing_sigma,
    )


def resize_linear(image: np.ndarray, shape) -> np.ndarray:
    """Resize bilinearly; the values are those of `resize(image, shape, preserve_range=True)`, many times faster.

    Args:
        image: `[H, W]` or `[H, W, C]`, any real dtype.
        shape: (height, width) wanted.

    Returns:
        `[height, width]` or `[height, width, C]` float64, within the range of the input.
    """
    height, width = shape
    image = image.astype(np.float64)
    resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    resized = resized.reshape(height, width, *image.shape[2:])
    # OpenCV repeats the outermost pixels, skimage blends them with zeros beyond the border.
    rows = _share_inside(height, image.shape[0]).reshape(-1, 1, *(1,) * (image.ndim - 2))
    columns = _share_inside(width, image.shape[1]).reshape(1, -1, *(1,) * (image.ndim - 2))
    return np.clip(resized * rows * columns, image.min(), image.max())


def _share_inside(size: int, source_size: int) -> np.ndarray:
    """Return for each of `size` samples the weight that falls on source pixels and not beyond the border."""
    position = (np.arange(size) + 0.5) * source_size / size - 0.5
    return np.clip(1 + np.minimum(position, source_size - 1 - position), 0, 1)


def nearest_index(size: int, source_size: int, start: int = 0, stop: int | None = None) -> np.ndarray:
    """Return the source index of each of `size` samples along one axis, pixel centres aligned, int64.

    With `start` and `stop`, of those samples alone.
    """
    return ((np.arange(start, size if stop is None else stop) + 0.5) * source_size / size).astype(np.int64)


def resize_nearest(array: np.ndarray, shape) -> np.ndarray:
    """Resize `[H, W, ...]` to `[height, width, ...]` without mixing values; for labels and masks."""
    rows, columns = nearest_index(shape[0], array.shape[0]), nearest_index(shape[1], array.shape[1])
    return array.take(rows, axis=0).take(columns, axis=1)


def image_scale(height: int, width: int, min_dim=None, max_dim=None, min_scale=None, mode: str = "square") -> float:
    """Return the factor by which `resize_image` scales an image of `height` x `width`."""
    scale = max(1, min_dim / min(height, width)) if min_dim else 1
    scale = max(scale, min_scale or 0)
    if max_dim and mode == "square" and round(max(height, width) * scale) > max_dim:
        scale = max_dim / max(height, width)
    return scale


def resize_image(image: np.ndarray, min_dim=None, max_dim=None, min_scale=None, mode: str = "square", rng=None):
    """Scale, pad or crop an image to the shape the network takes.

    Args:
        image: `[H, W, C]` uint8.
        min_dim: the smaller side becomes at least this long.
        max_dim: mode "square": the larger side becomes at most this long, and the result is `max_dim` square.
        min_scale: the image is enlarged by at least this factor, even where `min_dim` needs less.
        mode: "none" changes nothing; "square" pads with zeros to `max_dim` x `max_dim`; "pad64" pads with zeros to
            multiples of 64; "crop" cuts a random `min_dim` x `min_dim` square out of the scaled image.
        rng: `numpy.random.Generator` that draws the position of the crop.

    Returns:
        image: `[H', W', C]`, dtype of the input.
        window: (y1, x1, y2, x2) of the part that is image, not padding.
        scale: the factor.
        padding: `[(top, bottom), (left, right), (0, 0)]`.
        crop: (y, x, height, width) in the scaled image, or None.

    Raises:
        ValueError: the mode is unknown, or "pad64" with a `min_dim` that is no multiple of 64.
    """
    height, width = image.shape[:2]
    window, padding, crop = (0, 0, height, width), [(0, 0), (0, 0), (0, 0)], None
    if mode == "none":
        return image, window, 1, padding, crop
    scale = image_scale(height, width, min_dim, max_dim, min_scale, mode)
    scaled = image
    if scale != 1:
        # A grey level of 57 may be computed as 56.99999. The cast cuts the fraction off, so a little is added first.
        size = max(1, round(height * scale)), max(1, round(width * scale))
        scaled = (resize_linear(image, size) + 1e-4).astype(image.dtype)
    height, width = scaled.shape[:2]
    if mode == "crop":
        rng = rng or np.random.default_rng()
        y, x = int(rng.integers(height - min_dim + 1)), int(rng.integers(width - min_dim + 1))
        crop = (y, x, min_dim, min_dim)
        return scaled[y : y + min_dim, x : x + min_dim], (0, 0, min_dim, min_dim), scale, padding, crop
    if mode == "square":
        padding = [_split_padding(max_dim - height), _split_padding(max_dim - width), (0, 0)]
    elif mode == "pad64":
        if min_dim and min_dim % 64:
            raise ValueError(f"IMAGE_MIN_DIM = {min_dim}: mode pad64 needs a multiple of 64")
        padding = [_split_padding(-height % 64), _split_padding(-width % 64), (0, 0)]
    else:
        raise ValueError(f"IMAGE_RESIZE_MODE = {mode!r}: use none, square, pad64 or crop")
    top, left = padding[0][0], padding[1][0]
    return np.pad(scaled, padding), (top, left, top + height, left + width), scale, padding, crop


def _split_padding(total: int) -> tuple[int, int]:
    """Return how many of `total` pixels go before and how many behind the image."""
    return total // 2, total - total // 2


def resize_mask(mask: np.ndarray, scale: float, padding, crop=None) -> np.ndarray:
    """Do to masks or labels what `resize_image` did to their image.

    Args:
        mask: `[H, W, ...]`: a stack of masks, or a label map.
        scale, padding, crop: what `resize_image` returned.

    Returns:
        `[H', W', ...]`, dtype of the input; values are never mixed.
    """
    height, width = mask.shape[:2]
    rows, columns = nearest_index(round(height * scale), height), nearest_index(round(width * scale), width)
    if crop is not None:
        y, x, crop_height, crop_width = crop
        rows, columns = rows[y : y + crop_height], columns[x : x + crop_width]
    mask = mask.take(rows, axis=0).take(columns, axis=1)
    return mask if crop is not None else np.pad(mask, list(padding)[: mask.ndim])
