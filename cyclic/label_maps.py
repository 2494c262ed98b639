"""Reading and writing label maps: `[H, W]` integer, 0 = background, one number a nucleus."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image, ImageOps
from scipy import ndimage

from cyclic.errors import InputError
from cyclic.files import (
    JPEG_IN_TIFF,
    MARK,
    atomic_path,
    check_frames,
    check_pixels,
    only_picture,
    open_tiff,
    require_file,
)
from cyclic.mat import read_mat

MAT_LABEL_KEYS = ("inst_map", "instance_map")
# What may lie in a file with the suffix of a label map, and what of it blurs the numbers.
PICTURES, LOSSY = ("PNG", "TIFF", "BMP", "GIF", "JPEG"), ("JPEG", "MPO")


def read_label_map(path: str | Path) -> np.ndarray:
    """Return the label map at `path` as `[H, W]` int32, 0 = background.

    Reads .tif, .png, .npy, and .mat (also sparse, and of version 7.3) with `inst_map` (CoNSeP) or `instance_map`
    (ccRCC). Axes of length 1 are dropped.

    Raises:
        InputError: the file is missing, unreadable, too large (`files.MAX_PIXELS`), not two-dimensional, not integer or
            has negative labels.
    """
    path = require_file(path)
    readers: dict[str, Callable[[Path], np.ndarray]] = {
        ".tif": _read_tiff,
        ".tiff": _read_tiff,
        ".npy": _read_npy,
        ".mat": _read_mat_labels,
    }
    try:
        labels = np.asarray(readers.get(path.suffix.lower(), _read_picture)(path))
    except InputError:
        raise
    except Exception as error:  # each decoder raises its own types for a broken file
        raise InputError(f"{path}: not a readable label map ({error}); replace or remove the file") from error
    return check_labels(labels, str(path))


def check_labels(labels: np.ndarray, name: str) -> np.ndarray:
    """Return a label map as `[H, W]` int32.

    Args:
        labels: any array; axes of length 1 beyond two are dropped.
        name: what messages call it.

    Raises:
        InputError: not two-dimensional, not whole numbers, or negative ones.
    """
    if labels.ndim > 2 and labels.size:
        labels = labels.reshape([side for side in labels.shape if side > 1] or [1, 1])
    if labels.ndim != 2:
        raise InputError(f"{name}: shape {labels.shape}; a label map is H x W, one integer a pixel")
    if not (np.issubdtype(labels.dtype, np.integer) or labels.dtype == bool):
        if not np.issubdtype(labels.dtype, np.floating):
            raise InputError(f"{name}: {labels.dtype} pixels; a label map holds integers")
        if not np.isfinite(labels).all():
            raise InputError(f"{name}: NaN or infinite pixels; a label map holds integers")
        if (labels % 1).any():
            raise InputError(f"{name}: {labels.dtype} with fractions; a label map holds integers")
    # As Python's numbers: a float32 has no 2^31 - 1, and would be compared with 2^31.
    if labels.size and not 0 <= labels.min().item() <= labels.max().item() <= np.iinfo(np.int32).max:
        raise InputError(f"{name}: labels from {labels.min()} to {labels.max()}; 0 is background, nuclei are positive")
    return labels.astype(np.int32)


def read_mask(path: str | Path) -> np.ndarray:
    """Return where a mask is drawn, `[H, W]` bool, in any colour or depth, or in the alpha channel alone.

    Raises:
        InputError: the file is missing, unreadable, or no pixel is drawn.
    """
    path = require_file(path)
    try:
        pixels = _read_tiff(path) if path.suffix.lower() in (".tif", ".tiff") else _read_drawing(path)
    except InputError:
        raise
    except Exception as error:  # each decoder raises its own types for a broken file
        raise InputError(f"{path}: not a readable mask ({error}); replace or remove the file") from error
    if pixels.ndim == 3 and pixels.shape[-1] in (2, 4):
        colour, alpha = pixels[..., :-1], pixels[..., -1] > 0
        drawn = colour.any(axis=-1)
        mask = drawn & alpha if drawn.any() else alpha & ~alpha.all()
    else:
        mask = np.not_equal(pixels, 0)
        if mask.ndim == 3:
            mask = np.logical_or.reduce(mask, axis=-1)
    if mask.ndim != 2:
        raise InputError(f"{path}: shape {pixels.shape}; a mask is one picture")
    if not mask.any():
        raise InputError(f"{path}: a mask without a pixel; draw the nucleus or remove the file")
    return mask


def _read_drawing(path: Path) -> np.ndarray:
    with Image.open(path, formats=PICTURES) as opened:
        check_pixels(path, opened.height, opened.width)
        check_frames(path, opened)
        if opened.format in LOSSY:  # dark noise around what is white
            return np.asarray(opened.convert("L")) > 127
        if opened.mode not in ("P", "PA"):
            return np.asarray(opened)
        # What the palette shows, not its indices.
        return np.asarray(opened.convert("RGBA" if "transparency" in opened.info or opened.mode == "PA" else "RGB"))


def is_foreground(labels: np.ndarray) -> bool:
    """Whether a label map has one label in several separate pieces: a mask of all nuclei, not a label map.

    >>> is_foreground(np.array([[255, 0, 255]])), is_foreground(np.array([[1, 0, 2]]))
    (True, False)
    """
    values = np.unique(labels[labels > 0])
    return len(values) == 1 and ndimage.label(labels > 0, np.ones((3, 3)))[1] > 1


def write_label_map(path: str | Path, labels: np.ndarray, mpp: float | None = None) -> None:
    """Write `labels` (`[H, W]` integer) in the format of the suffix: .tif, .npy, or .png, which holds 16 bits only.

    The file is uint16 where the ids fit, else uint32. A .tif says the micrometres per pixel where `mpp` does, in pixels
    per centimetre.

    Raises:
        InputError: a .png of larger ids, or the file cannot be written.
    """
    dtype = np.uint16 if labels.max(initial=0) <= np.iinfo(np.uint16).max else np.uint32
    if dtype == np.uint32 and Path(path).suffix == ".png":
        raise InputError(f"{path}: label {labels.max()}, and a PNG holds up to 65535; write .tif or .npy")
    with atomic_path(path) as temporary:
        if temporary.suffix == ".npy":
            np.save(temporary, labels.astype(dtype))
        elif temporary.suffix == ".png":
            Image.fromarray(labels.astype(np.uint16)).save(temporary)
        else:
            density: dict = {"resolution": (1e4 / mpp,) * 2, "resolutionunit": "CENTIMETER"} if mpp else {}
            tifffile.imwrite(temporary, labels.astype(dtype), compression="zlib", software=MARK, **density)


def _blurred(path: Path) -> InputError:
    return InputError(f"{path}: compressed as JPEG, which blurs labels into others; export it as PNG or TIFF (LZW)")


def _read_tiff(path: Path) -> np.ndarray:
    with open_tiff(path) as tiff:
        series = only_picture(tiff, path)
        if series.keyframe.compression in JPEG_IN_TIFF:
            raise _blurred(path)
        check_pixels(path, *(side for axis, side in zip(series.axes, series.shape, strict=True) if axis != "S"))
        return series.asarray()


def _read_npy(path: Path) -> np.ndarray:
    # Mapped, so that a header that claims too much costs no memory.
    mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(mapped, np.ndarray):
        raise ValueError("an archive of several arrays")
    check_pixels(path, *mapped.shape)
    return np.array(mapped)


def _read_picture(path: Path) -> np.ndarray:
    with Image.open(path, formats=PICTURES) as opened:
        check_pixels(path, opened.height, opened.width)
        if opened.format in LOSSY:
            raise _blurred(path)
        check_frames(path, opened)
        return np.asarray(ImageOps.exif_transpose(opened))  # a palette's indices are its labels


def _read_mat_labels(path: Path) -> np.ndarray:
    labels = read_mat(path, MAT_LABEL_KEYS)
    if labels is None:
        raise InputError(f"{path}: no {' or '.join(MAT_LABEL_KEYS)} in this .mat file")
    return labels
