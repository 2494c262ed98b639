"""Finding files, JSON, and writing files that appear whole or not at all; images and label maps are read elsewhere."""

import contextlib
import errno
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

from cyclic.errors import InputError

# What files of this program carry, so that they can be told from a user's own.
MARK = "made by cyclic"
# The same for formats without room for a mark: how scores, measurements and tables begin.
SIGNS = (
    MARK.encode(),
    b'{\n "images": {',
    b'[{"image_id":',
    b"label,score,x_",
    b",aji,",
    b"comparison,metric,",
    b"| AJI |",
)
HEAD = 4096  # bytes
LITTER = ("Thumbs.db", "ehthumbs.db", "desktop.ini", "__MACOSX")

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
LABEL_SUFFIXES = (".tif", ".tiff", ".png", ".npy", ".mat")


def is_litter(path: Path) -> bool:
    """Whether an operating system leaves such a file or folder behind: hidden ones, thumbnails, archives' extras."""
    return path.name.startswith(".") or path.name in LITTER


def files_by_id(folder: str | Path, suffixes: tuple[str, ...], what: str) -> dict[str, Path]:
    """Return `{image id: path}` of the files in `folder` with one of `suffixes`, sorted by id.

    The image id is the file name without its suffix. `what` names the content in messages ("images", "label maps").

    Raises:
        InputError: the folder does not exist, holds no such file, or holds two files with the same id.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give the folder that holds the {what}")
    found = by_id(sorted(folder.iterdir()), suffixes)
    if not found:
        raise InputError(f"{folder}: no {what} ({', '.join(suffixes)}) in this folder")
    return found


def by_id(paths: Iterable[Path], suffixes: tuple[str, ...]) -> dict[str, Path]:
    """Return `{image id: path}` of those of `paths` with one of `suffixes` that are no litter, in their order.

    Raises:
        InputError: two of them have the same id.
    """
    found: dict[str, Path] = {}
    for path in paths:
        if path.suffix.lower() not in suffixes or is_litter(path):
            continue
        if path.stem in found:
            raise InputError(f"{path}: same id as {found[path.stem]}; keep one file for each image id")
        found[path.stem] = path
    return found


def image_files(folder: str | Path) -> dict[str, Path]:
    """Return `{image id: path}` of the images in `folder`; see `files_by_id`."""
    return files_by_id(folder, IMAGE_SUFFIXES, "images")


def label_files(folder: str | Path) -> dict[str, Path]:
    """Return `{image id: path}` of the label maps in `folder`; see `files_by_id`."""
    return files_by_id(folder, LABEL_SUFFIXES, "label maps")


def require_file(path: str | Path) -> Path:
    """Return `path`, which is a file.

    Raises:
        InputError: there is no such file.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; check the path")
    return path


def is_ours(path: Path) -> bool:
    """Whether this program wrote the file: its mark is in the file's first bytes."""
    with path.open("rb") as file:
        head = file.read(HEAD)
    return any(sign in head for sign in SIGNS)


def check_outputs(outputs: Iterable[Path], inputs: Iterable[Path] = (), overwrite: bool = False) -> list[Path]:
    """Refuse to write over files that a user may need, and return the files that will be replaced.

    Args:
        outputs: files that will be written.
        inputs: files that are read; no output may be one of them, whatever `overwrite` says.
        overwrite: whether files that this program did not write may be replaced.

    Raises:
        InputError: an output is an input, or is there already and was written by something else.
    """
    read = {path.resolve() for path in inputs}
    there = [path for path in outputs if path.exists()]
    for path in there:
        if path.resolve() in read:
            raise InputError(f"{path}: would be replaced by its own result; choose another folder or file")
        if path.is_dir():
            raise InputError(f"{path}: a folder lies where a file is to be written; remove it or choose another place")
        if not overwrite and not is_ours(path):
            raise InputError(
                f"{path}: exists, and cyclic did not write it; choose another folder or file, or add --overwrite"
            )
    return there


def cure(error: OSError) -> str:
    """Return what a user can do where a file cannot be written."""
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        return "a file lies where a folder is needed; choose another folder"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "choose a folder that you may write to"
    return "free space or choose another folder"


def make_folder(path: Path) -> None:
    """Make a folder, with those above it, where there is none.

    Raises:
        InputError: it cannot be made, such as where a file of this name lies.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path}: no folder can be made here; {cure(error)}") from error


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that is renamed to `path` when the block ends without an error.

    The temporary name keeps the suffix, since many writers choose the format by it.
    """
    path = Path(path)
    make_folder(path.parent)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".tmp-", suffix="".join(path.suffixes[-2:]))
    os.close(handle)
    os.chmod(name, 0o644)
    temporary = Path(name)
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error}); {cure(error)}") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_image(path: str | Path, image: np.ndarray, dpi: int | None = None) -> None:
    """Write `image` (`[H, W, 3]` or `[H, W]` uint8) in the format of the suffix; `dpi` says how large it prints."""
    options: dict[str, Any] = {"dpi": (dpi, dpi)} if dpi else {}
    if Path(path).suffix.lower() == ".png":
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_text("Software", MARK)
    with atomic_path(path) as temporary:
        Image.fromarray(image).save(temporary, **options)


def write_json(path: str | Path, content: object, compact: bool = False) -> None:
    """Write `content` as JSON, indented or without white space."""
    layout: dict[str, Any] = {"separators": (",", ":")} if compact else {"indent": 1}
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, **layout) + "\n")


def read_json(path: str | Path) -> dict:
    """Return the JSON object at `path`.

    Raises:
        InputError: the file is missing or no valid JSON.
    """
    path = require_file(path)
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise InputError(f"{path}: not valid JSON ({error}); repair or remove the file") from error
