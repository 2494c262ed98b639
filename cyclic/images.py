"""What any image becomes before the networks see it: `[H, W, 3]` uint8 RGB, as a person sees it on a white page.

One rule for arrays (`as_rgb`), and one reader for files (`read_image`), which ends in the same rule.
"""

import warnings
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image, ImageOps

from cyclic.errors import InputError
from cyclic.files import JPEG_IN_TIFF, check_frames, check_pixels, only_picture, open_tiff, require_file

# Whole-slide crops are larger than the size Pillow warns about; `check_pixels` looks at every size.
Image.MAX_IMAGE_PIXELS = None
# The EXIF tag for how a photo is to be turned, and its values that swap height and width.
ORIENTATION, QUARTER_TURNED = 0x0112, (5, 6, 7, 8)
# Axes of a TIFF that hold colour.
COLOUR_AXES = "SC"

# What may lie in a file with the suffix of an image. Pillow knows others, and starts another program for some.
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "JPEG2000", "ICO")
# What a TIFF's numbers may mean. Others, such as CIELAB, would be read as other colours in silence.
COLOURS = (
    tifffile.PHOTOMETRIC.RGB,
    tifffile.PHOTOMETRIC.MINISBLACK,
    tifffile.PHOTOMETRIC.MINISWHITE,
    tifffile.PHOTOMETRIC.PALETTE,
)
# An image of 16 bits has white at 65,535. Where nothing is over this, it holds 12 bits or fewer and would be black.
DARK = 4095

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
    try:
        image = np.asarray(image)
    except ValueError as error:  # rows of different lengths
        raise InputError(f"{name}: no array; {RULE}") from error
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


def read_image(path: str | Path) -> np.ndarray:
    """Return the image at `path` as `[H, W, 3]` uint8 RGB, see `as_rgb`.

    Palettes are looked up, a photo is turned as its EXIF tag asks, and channels come last whatever the file's order.

    Raises:
        InputError: the file is missing, truncated, no image, one of several pages or frames, or too large
            (`files.MAX_PIXELS`), or its pixels are of another kind than `as_rgb` takes.

    An image of 16 bits in which everything is nearly black gets a warning.
    """
    path = require_file(path)
    try:
        pixels = _read_tiff(path) if path.suffix.lower() in (".tif", ".tiff") else _read_picture(path)
    except InputError:
        raise
    except Exception as error:  # each decoder raises its own types for a broken file
        raise InputError(f"{path}: not a readable image ({error}); replace or remove the file") from error
    warn_if_dark(pixels, str(path))
    return as_rgb(pixels, str(path))


def warn_if_dark(image: np.ndarray, name: str) -> None:
    """Warn of an image of 16 bits in which everything is nearly black; `name` is what the message calls it."""
    if image.dtype == np.uint16 and image.size and _colour(image).max() <= DARK:
        warnings.warn(
            f"{name}: 16 bits, but no value over {DARK}, so it is nearly black; if it holds fewer bits, export it with "
            "8, or stretched to 65535",
            stacklevel=3,
        )


def read_shape(path: str | Path) -> tuple[int, int]:
    """Return (H, W) of what `read_image` returns, from the file's header where Pillow can read that.

    Raises:
        InputError: the file is missing or no image.
    """
    path = require_file(path)
    try:
        with Image.open(path, formats=FORMATS) as opened:
            height, width = opened.height, opened.width
            return (width, height) if opened.getexif().get(ORIENTATION) in QUARTER_TURNED else (height, width)
    except Exception:  # each decoder raises its own types, and the other reader may know the file or says what is wrong
        height, width = read_image(path).shape[:2]
        return height, width


def read_map(path: str | Path) -> np.ndarray:
    """Return an activation map that was written as an 8-bit picture, `[H, W]` float32 in [0, 1].

    Raises:
        InputError: as `read_image`.
    """
    return read_image(path)[..., 0].astype(np.float32) / 255


def as_stored_map(activation: np.ndarray) -> np.ndarray:
    """Return an activation map (`[H, W]` float in [0, 1]) as `read_map` returns it once it is an 8-bit picture."""
    return np.round(activation * 255).astype(np.float32) / 255


def _read_picture(path: Path) -> np.ndarray:
    """Return the pixels of a file that Pillow reads."""
    with Image.open(path, formats=FORMATS) as opened:
        check_frames(path, opened)
        check_pixels(path, opened.height, opened.width)
        picture = ImageOps.exif_transpose(opened)
        if picture.mode in ("I", "F") or picture.mode.startswith("I;"):  # grey of more than 8 bits
            return _narrow(np.asarray(picture), str(path))
        transparent = "A" in picture.getbands() or "transparency" in picture.info
        return np.asarray(picture.convert("RGBA" if transparent else "RGB"))


def _narrow(grey: np.ndarray, name: str) -> np.ndarray:
    """Return grey of 32-bit integers, as Pillow holds that of 16 bits, as uint16; float stays."""
    if not np.issubdtype(grey.dtype, np.integer):
        return grey
    if grey.size and not 0 <= int(grey.min()) <= int(grey.max()) <= np.iinfo(np.uint16).max:
        raise InputError(f"{name}: values from {grey.min()} to {grey.max()}; export it with 8 or 16 bits a channel")
    return grey.astype(np.uint16)


def _read_tiff(path: Path) -> np.ndarray:
    """Return the pixels of a TIFF's first series, rows, columns and colours in this order."""
    with open_tiff(path) as tiff:
        series = only_picture(tiff, path)
        page, axes = series.keyframe, zip(series.axes, series.shape, strict=True)
        check_pixels(path, *(side for axis, side in axes if axis not in COLOUR_AXES))
        pixels = order_axes(series.asarray(), series.axes, path)
        check_channels(page, pixels.shape[-1] if pixels.ndim == 3 else 1, path)
        if page.photometric == tifffile.PHOTOMETRIC.PALETTE and page.colormap is not None:
            return np.moveaxis(page.colormap[:, pixels[..., 0] if pixels.ndim == 3 else pixels], 0, -1)
        if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
            return ~stretch(pixels, page)
        pixels = stretch(pixels, page)
        return _resolve_alpha(pixels, tuple(int(kind) for kind in page.extrasamples))


def _colour(pixels: np.ndarray) -> np.ndarray:
    """Return pixels, `[H, W]` or `[H, W, C]`, without alpha."""
    return pixels if pixels.ndim == 2 else pixels[..., : 1 if pixels.shape[-1] < 3 else 3]


def check_channels(page: tifffile.TiffPage, channels: int, path: Path) -> None:
    """Raise `InputError` where the channels of a TIFF are no RGB or grey, with or without alpha.

    What a microscope took one by one are no colours, and the last one of four is no alpha.
    """
    # tifffile turns YCbCr into RGB where it is compressed as JPEG, and nowhere else.
    jpeg = page.photometric == tifffile.PHOTOMETRIC.YCBCR and page.compression in JPEG_IN_TIFF
    if page.photometric not in COLOURS and not jpeg:
        is_cmyk = page.photometric == tifffile.PHOTOMETRIC.SEPARATED
        name = "CMYK" if is_cmyk else getattr(page.photometric, "name", page.photometric)
        raise InputError(f"{path}: {name} colours; export it as RGB")
    if channels > 4 or (channels in (2, 4) and not page.extrasamples):
        raise InputError(f"{path}: {channels} channels, and none is said to be alpha; export it as RGB")


def stretch(pixels: np.ndarray, page: tifffile.TiffPage) -> np.ndarray:
    """Return whole numbers of 2 to 15 bits as those of 8 or 16; others as they are."""
    bits, room = page.bitspersample, pixels.dtype.itemsize * 8
    if pixels.dtype.kind != "u" or bits >= room:
        return pixels
    return np.round(pixels * ((2**room - 1) / (2**bits - 1))).astype(pixels.dtype)


def order_axes(pixels: np.ndarray, axes: str, path: Path) -> np.ndarray:
    """Return pixels with the axes Y, X and, last, colour; other axes of length 1 are dropped."""
    kept = [index for index, axis in enumerate(axes) if axis in "YX" or pixels.shape[index] > 1]
    pixels = pixels.reshape([pixels.shape[index] for index in kept])
    axes = "".join(axes[index] for index in kept)
    colour = axes.replace("Y", "").replace("X", "")
    if len(colour) > 1 or (colour and colour not in COLOUR_AXES) or sorted(axes.replace(colour, "")) != ["X", "Y"]:
        raise InputError(f"{path}: axes {axes} of lengths {pixels.shape}; export one page of the image")
    return np.transpose(pixels, [axes.index(axis) for axis in f"YX{colour}"])


def _resolve_alpha(pixels: np.ndarray, extra: tuple[int, ...]) -> np.ndarray:
    """Return pixels whose last channel is alpha, if there is one, not yet multiplied into the colours.

    TIFF says what its channels beyond the colours are: 0 unspecified, 1 alpha that colours are multiplied by, 2 alpha.
    """
    if pixels.ndim == 2 or not extra or pixels.shape[-1] not in (2, 4):
        return pixels
    if extra[0] == 0:
        return pixels[..., :-1]
    if extra[0] == 1:
        top = 1.0 if np.issubdtype(pixels.dtype, np.floating) else float(np.iinfo(pixels.dtype).max)
        alpha = pixels[..., -1:].astype(np.float64)
        colour = np.clip(pixels[..., :-1] * top / np.maximum(alpha, 1e-9), 0, top)
        colour = np.where(alpha > 0, colour, 0)
        return np.concatenate([np.round(colour) if top > 1 else colour, alpha], axis=-1).astype(pixels.dtype)
    return pixels
