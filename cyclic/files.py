"""Reading images and label maps, and writing files that appear whole or not at all."""

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import scipy.io
import tifffile
from PIL import Image

from cyclic.errors import InputError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
LABEL_SUFFIXES = (".tif", ".tiff", ".png", ".npy", ".mat")
MAT_LABEL_KEYS = ("inst_map", "instance_map")

# Whole-slide crops are larger than the size Pillow warns about.
Image.MAX_IMAGE_PIXELS = None


def files_by_id(folder: str | Path, suffixes: tuple[str, ...], what: str) -> dict[str, Path]:
    """Return `{image id: path}` of the files in `folder` with one of `suffixes`, sorted by id.

    The image id is the file name without its suffix. `what` names the content in messages ("images", "label maps").

    Raises:
        InputError: the folder does not exist, holds no such file, or holds two files with the same id.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give the folder that holds the {what}")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in suffixes or path.name.startswith("."):
            continue
        if path.stem in found:
            raise InputError(f"{path}: same id as {found[path.stem].name}; keep one file for each image id")
        found[path.stem] = path
    if not found:
        raise InputError(f"{folder}: no {what} ({', '.join(suffixes)}) in this folder")
    return found


def image_files(folder: str | Path) -> dict[str, Path]:
    """Return `{image id: path}` of the images in `folder`; see `files_by_id`."""
    return files_by_id(folder, IMAGE_SUFFIXES, "images")


def label_files(folder: str | Path) -> dict[str, Path]:
    """Return `{image id: path}` of the label maps in `folder`; see `files_by_id`."""
    return files_by_id(folder, LABEL_SUFFIXES, "label maps")


def _existing(path: str | Path) -> Path:
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; check the path")
    return path


def read_image(path: str | Path) -> np.ndarray:
    """Return the image at `path` as `[H, W, 3]` uint8 RGB; grey is repeated, alpha dropped.

    Raises:
        InputError: the file is missing, truncated, no image, or has more than 8 bits a channel.
    """
    path = _existing(path)
    try:
        if path.suffix.lower() in (".tif", ".tiff"):
            image = tifffile.imread(path)
        else:
            with Image.open(path) as opened:
                image = np.asarray(opened.convert("RGB"))
    except Exception as error:  # each decoder raises its own types for a broken file
        raise InputError(f"{path}: not a readable image ({error}); replace or remove the file") from error
    if image.dtype != np.uint8:
        raise InputError(f"{path}: {image.dtype} pixels; convert the image to 8 bits a channel")
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, axis=-1)
    if image.ndim != 3 or image.shape[-1] not in (3, 4):
        raise InputError(f"{path}: shape {image.shape}; an H x W RGB image is needed")
    return np.ascontiguousarray(image[..., :3])


def read_map(path: str | Path) -> np.ndarray:
    """Return an activation map that was written as an 8-bit picture, `[H, W]` float32 in [0, 1].

    Raises:
        InputError: as `read_image`.
    """
    return read_image(path)[..., 0].astype(np.float32) / 255


def read_label_map(path: str | Path) -> np.ndarray:
    """Return the label map at `path` as `[H, W]` int32, 0 = background.

    Reads .tif, .png, .npy, and .mat with `inst_map` (CoNSeP) or `instance_map` (CCRCC).

    Raises:
        InputError: the file is missing, unreadable, not two-dimensional, not integer or has negative labels.
    """
    path = _existing(path)
    suffix = path.suffix.lower()
    labels: np.ndarray | None
    try:
        if suffix in (".tif", ".tiff"):
            labels = tifffile.imread(path)
        elif suffix == ".npy":
            labels = np.load(path, allow_pickle=False)
        elif suffix == ".mat":
            content = scipy.io.loadmat(path)
            key = next((key for key in MAT_LABEL_KEYS if key in content), None)
            labels = None if key is None else content[key]
        else:
            with Image.open(path) as opened:
                labels = np.asarray(opened)
    except Exception as error:  # each decoder raises its own types for a broken file
        raise InputError(f"{path}: not a readable label map ({error}); replace or remove the file") from error
    if labels is None:
        raise InputError(f"{path}: no {' or '.join(MAT_LABEL_KEYS)} in this .mat file")
    if labels.ndim != 2:
        raise InputError(f"{path}: shape {labels.shape}; a label map is H x W, one integer a pixel")
    if not np.issubdtype(labels.dtype, np.integer) and labels.dtype != bool and (labels % 1).any():
        raise InputError(f"{path}: {labels.dtype} with fractions; a label map holds integers")
    labels = labels.astype(np.int64)
    if labels.size and (labels.min() < 0 or labels.max() > np.iinfo(np.int32).max):
        raise InputError(f"{path}: labels from {labels.min()} to {labels.max()}; 0 is background, nuclei are positive")
    return labels.astype(np.int32)


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that is renamed to `path` when the block ends without an error.

    The temporary name keeps the suffix, since many writers choose the format by it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".tmp-", suffix="".join(path.suffixes[-2:]))
    os.close(handle)
    os.chmod(name, 0o644)
    temporary = Path(name)
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"{path}: cannot be written ({reason}); free space or choose another folder") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_label_map(path: str | Path, labels: np.ndarray) -> None:
    """Write `labels` (`[H, W]` integer) in the format of the suffix: .tif, .npy, or .png, which holds 16 bits only.

    The file is uint16 where the ids fit, else uint32.
    """
    dtype = np.uint16 if labels.max(initial=0) <= np.iinfo(np.uint16).max else np.uint32
    with atomic_path(path) as temporary:
        if temporary.suffix == ".npy":
            np.save(temporary, labels.astype(dtype))
        elif temporary.suffix == ".png":
            Image.fromarray(labels.astype(np.uint16)).save(temporary)
        else:
            tifffile.imwrite(temporary, labels.astype(dtype), compression="zlib")


def write_image(path: str | Path, image: np.ndarray, dpi: int | None = None) -> None:
    """Write `image` (`[H, W, 3]` or `[H, W]` uint8) in the format of the suffix; `dpi` says how large it prints."""
    with atomic_path(path) as temporary:
        picture = Image.fromarray(image)
        if dpi:
            picture.save(temporary, dpi=(dpi, dpi))
        else:
            picture.save(temporary)


def write_json(path: str | Path, content: object) -> None:
    """Write `content` as indented JSON."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n")


def read_json(path: str | Path) -> dict:
    """Return the JSON object at `path`.

    Raises:
        InputError: the file is missing or no valid JSON.
    """
    path = _existing(path)
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise InputError(f"{path}: not valid JSON ({error}); repair or remove the file") from error
