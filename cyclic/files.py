"""Finding files, JSON, and writing files that appear whole or not at all; images and label maps are read elsewhere."""

import contextlib
import errno
import fcntl
import hashlib
import json
import math
import os
import shutil
import tempfile
import warnings
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
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
# Lists what was written into a folder, in the format of sha256sum, so that an edit by hand can be told.
SUMS = ".cyclic.sums"
# How a line of that list begins that names a file about to be written.
PENDING = "# writing"
LITTER = ("Thumbs.db", "ehthumbs.db", "desktop.ini", "__MACOSX")

# What a file that is being written is called until it is whole.
UNFINISHED = ".tmp-"
# A full disk, a used up quota, and a file larger than the system lets it become.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

# Pixels of a picture at most, a side of 32,768: a file of a few bytes can claim any number of them.
MAX_PIXELS = 2**30

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
TIFF_SUFFIXES = (".tif", ".tiff")
JPEG_IN_TIFF = (tifffile.COMPRESSION.OJPEG, tifffile.COMPRESSION.JPEG, tifffile.COMPRESSION.ALT_JPEG)
LABEL_SUFFIXES = (".tif", ".tiff", ".png", ".npy", ".mat")


def is_litter(path: Path) -> bool:
    """Whether an operating system leaves such a file or folder behind: hidden ones, thumbnails, archives' extras."""
    return path.name.startswith(".") or path.name in LITTER


def files_by_id(
    folder: str | Path, suffixes: tuple[str, ...], what: str, wanted: Callable[[Path], bool] = lambda _: True
) -> dict[str, Path]:
    """Return `{image id: path}` of the `wanted` files in `folder` with one of `suffixes`, sorted by id.

    The image id is the file name without its suffix. `what` names the content in messages ("images", "label maps").

    Raises:
        InputError: the folder does not exist, holds no such file, or holds two files with the same id.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give the folder that holds the {what}")
    found = by_id(sorted(filter(wanted, folder.iterdir())), suffixes)
    if not found:
        raise InputError(f"{folder}: no {what} ({', '.join(suffixes)}) in this folder")
    return found


def by_id(paths: Iterable[Path], suffixes: tuple[str, ...]) -> dict[str, Path]:
    """Return `{image id: path}` of those of `paths` with one of `suffixes` that are no litter, in their order.

    Raises:
        InputError: two of them have the same id, or a name is no text.
    """
    found: dict[str, Path] = {}
    for path in paths:
        if path.suffix.lower() not in suffixes or is_litter(path):
            continue
        if not _is_text(path.name):
            raise InputError(f"{path}: a name that is no text in UTF-8; rename the file")
        if path.stem in found:
            raise InputError(f"{path}: same id as {found[path.stem]}; keep one file for each image id")
        found[path.stem] = path
    return found


def _is_text(name: str) -> bool:
    """Whether a file name can be written into results; one of another encoding than UTF-8 cannot."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def image_files(folder: str | Path) -> dict[str, Path]:
    """Return `{image id: path}` of the images in `folder`, without label maps of this program; see `files_by_id`."""
    return files_by_id(folder, IMAGE_SUFFIXES, "images", lambda path: not is_our_label_map(path))


def label_files(folder: str | Path) -> dict[str, Path]:
    """Return `{image id: path}` of the label maps in `folder`; see `files_by_id`."""
    return files_by_id(folder, LABEL_SUFFIXES, "label maps")


def require_file(path: str | Path) -> Path:
    """Return `path`, which is a file.

    Raises:
        InputError: there is no such file.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path}: a folder where a file is needed; give the file, or take the folder away")
    if path.exists() and not path.is_file():
        raise InputError(f"{path}: a pipe or device, not a file on disk; write its content to a file first")
    if not path.is_file():
        broken = path.is_symlink()
        raise InputError(
            f"{path}: a link to a file that is not there; restore it or remove the link"
            if broken
            else f"{path}: no such file; check the path"
        )
    return path


def same_place(path: str | Path) -> Path:
    """Return the path without links, by which two names of one file are alike; links in a circle stay as they are."""
    return Path(os.path.realpath(path))


def check_pixels(path: Path, *sides: int) -> None:
    """Refuse a picture of more than `MAX_PIXELS`, before memory is taken for it.

    Args:
        path: its file, for the message.
        sides: what its header says, without channels.

    Raises:
        InputError: it is larger.
    """
    if math.prod(sides) > MAX_PIXELS:
        raise InputError(f"{path}: {' x '.join(map(str, sides))} pixels, and {MAX_PIXELS} are the most; cut it up")


def check_frames(path: Path, opened: Image.Image) -> None:
    """Refuse a picture that Pillow opened and that is animated: nobody knows which of its frames is meant.

    Raises:
        InputError: there are several frames.
    """
    frames = getattr(opened, "n_frames", 1)
    if frames > 1:
        raise InputError(f"{path}: {frames} frames; export one of them as an image of its own")


def digest(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def carries_mark(path: Path) -> bool:
    """Whether this program wrote the file, which somebody may have edited since."""
    if path.suffix.lower() in TIFF_SUFFIXES:
        return is_our_label_map(path)
    with path.open("rb") as file:
        head = file.read(HEAD)
    return any(sign in head for sign in SIGNS)


def is_our_label_map(path: Path) -> bool:
    """Whether a file is a label map that this program wrote, which is no image to predict or to train on."""
    if path.suffix.lower() not in TIFF_SUFFIXES or not path.is_file():
        return False
    try:
        with tifffile.TiffFile(path) as tiff:
            software = tiff.pages.first.tags.get("Software")
    except Exception:  # each kind of broken file raises another; whoever reads its pixels says what is wrong
        return False
    return software is not None and software.value == MARK


def announce(path: Path) -> None:
    """Note beside a file that this program is about to write it: after a kill before `claim`, its mark decides."""
    _note(path, PENDING)


@contextlib.contextmanager
def open_tiff(path: Path) -> Iterator[tifffile.TiffFile]:
    """Open a TIFF and count its pages before anything is read of it: a damaged chain of them is refused there."""
    with tifffile.TiffFile(path) as tiff:
        len(tiff.pages)
        yield tiff


def only_picture(tiff: tifffile.TiffFile, path: Path) -> tifffile.TiffPageSeries:
    """Return the first picture of a TIFF; beside it there may be smaller ones, such as thumbnails, and masks of it.

    Raises:
        InputError: another one is as large or larger, so that nobody knows which is meant.
    """
    first, *others = tiff.series
    sides = [_pixels(series) for series in others if not series.keyframe.is_mask]
    if max(sides, default=0) >= _pixels(first):
        raise InputError(f"{path}: {len(tiff.series)} pictures in one file; export the one that is meant by itself")
    return first


def _pixels(series: tifffile.TiffPageSeries) -> int:
    return math.prod(side for axis, side in zip(series.axes, series.shape, strict=True) if axis in "YX")


def claim(path: Path) -> None:
    """Note beside a file that this program wrote it just now; see `check_outputs`."""
    _note(path, digest(path))


def _note(path: Path, what: str) -> None:
    sums = path.parent / SUMS
    try:
        with sums.open("ab+") as file:
            torn = file.tell() > 0 and os.pread(file.fileno(), 1, file.tell() - 1) != b"\n"  # by a kill
            file.write(os.fsencode(torn * "\n" + f"{what}  {path.name}\n"))  # a name may be no text
    except OSError as error:
        raise InputError(f"{sums}: cannot be written ({error.strerror}); {cure(error)}") from error


class _Claims:
    """What the list in a folder says: `{file name: digests}`, and the names that were announced and not claimed."""

    def __init__(self, folder: Path):
        self.digests: dict[str, set[str]] = defaultdict(set)
        self.pending: set[str] = set()
        path = folder / SUMS
        for line in os.fsdecode(path.read_bytes()).splitlines() if path.is_file() else ():
            written, _, name = line.partition("  ")
            if written == PENDING:
                self.pending.add(name)
            else:
                self.digests[name].add(written)
                self.pending.discard(name)

    def knows(self, path: Path) -> bool:
        """Whether what lies at `path` was written by this program and not edited since."""
        if path.name in self.digests and digest(path) in self.digests[path.name]:
            return True
        return (path.name not in self.digests or path.name in self.pending) and carries_mark(path)


def check_outputs(outputs: Iterable[Path], inputs: Iterable[Path] = (), overwrite: bool = False) -> list[Path]:
    """Refuse to write over files that a user may need, and return the files that will be replaced.

    A file counts as this program's while it is as `claim` found it. Where none was claimed, the mark in it decides.

    Args:
        outputs: files that will be written.
        inputs: files that are read; no output may be one of them, whatever `overwrite` says.
        overwrite: whether files that this program did not write may be replaced.

    Raises:
        InputError: an output is an input, or is there already and was written or edited by something else or is no
            file, or has a name that is too long, or its folder can't be made or written to.
    """
    outputs, read = list(outputs), {same_place(path) for path in inputs}
    for folder in {path.parent for path in outputs}:
        _check_folder(folder, [path.name for path in outputs if path.parent == folder])
        if folder.is_dir():
            _sweep(folder)
    there = [path for path in outputs if path.exists()]
    claims = {folder: _Claims(folder) for folder in {path.parent for path in there}}
    for path in there:
        if same_place(path) in read:
            raise InputError(f"{path}: would be replaced by its own result; choose another folder or file")
        if path.is_dir():
            raise InputError(f"{path}: a folder lies where a file is to be written; remove it or choose another place")
        if not path.is_file():  # a file would take its place, that of /dev/null too
            raise InputError(f"{path}: a pipe or device, which no file may replace; give a file")
        known = claims[path.parent]
        if overwrite or known.knows(path):
            continue
        reason = "was edited since cyclic wrote it" if path.name in known.digests else "cyclic did not write it"
        raise InputError(f"{path}: exists, and {reason}; choose another folder or file, or add --overwrite")
    return there


def cure(error: OSError) -> str:
    """Return what a user can do where a file cannot be written."""
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        return "a file lies where a folder is needed; choose another folder"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "choose a folder that you may write to"
    if error.errno in FULL:
        return "free space or choose another folder"
    return "choose another folder"


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
def lock_folder(folder: Path) -> Iterator[None]:
    """Keep other processes of this program from writing to a folder, which is made; the lock leaves no file.

    What a killed process left unfinished there is removed. A folder made here that is empty at an error goes again.

    Raises:
        InputError: another process writes there.
    """
    made = not folder.exists()
    make_folder(folder)
    with _handle(folder) as handle:
        take_lock(handle, folder, "another process writes to this folder; wait for its end or choose another folder")
        remove_unfinished(folder)
        try:
            yield
        except BaseException:
            if made:
                with contextlib.suppress(OSError):  # it holds something
                    folder.rmdir()
            raise


def take_lock(handle: int, path: Path, message: str) -> None:
    """Lock an open file, or warn where the file system has no locks.

    Raises:
        InputError: another process holds the lock; `message` says so.
    """
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise InputError(f"{path}: {message}") from error
    except OSError as error:
        warnings.warn(f"{path}: cannot be locked ({error.strerror}); let one process alone write to it", stacklevel=2)


def remove_unfinished(folder: Path) -> None:
    """Remove the temporary files of killed processes in a folder that is locked, and in those within it."""
    for path in folder.rglob(f"{UNFINISHED}*"):
        # An unfinished folder is that of `atomic_folder`, with a lock of its own.
        within = path.relative_to(folder).parts[:-1]
        if not path.is_dir() and not any(part.startswith(UNFINISHED) for part in within):
            path.unlink(missing_ok=True)


def _sweep(folder: Path) -> None:
    """Remove the temporary files of killed processes in a folder, unless somebody writes there now."""
    with _handle(folder) as handle, contextlib.suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for path in folder.glob(f"{UNFINISHED}*"):
            if not path.is_dir():
                path.unlink(missing_ok=True)


@contextlib.contextmanager
def _handle(folder: Path) -> Iterator[int]:
    handle = os.open(folder, os.O_RDONLY)
    try:
        yield handle
    finally:
        os.close(handle)


def _check_folder(folder: Path, names: Iterable[str]) -> None:
    """Raise `InputError` where no files of these names can be written in a folder, or it can't be made.

    Nothing is made yet.
    """
    there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    if not there.is_dir():
        raise InputError(f"{folder}: no folder can be made here; {cure(NotADirectoryError(errno.ENOTDIR, ''))}")
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f"{folder}: cannot be written; {cure(PermissionError(errno.EACCES, ''))}")
    most = os.pathconf(there, "PC_NAME_MAX")
    for name in names:
        if len(os.fsencode(name)) > most:
            raise InputError(f"{folder / name}: a name of more than {most} bytes; rename what it is named after")


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that is renamed to `path` when the block ends without an error.

    The temporary name keeps the suffix, since many writers choose the format by it.
    """
    path = Path(path)
    make_folder(path.parent)
    temporary = None
    try:
        with _handle(path.parent) as shared:
            with contextlib.suppress(OSError):  # no locks here, or this process has the folder to itself
                fcntl.flock(shared, fcntl.LOCK_SH | fcntl.LOCK_NB)  # so that nobody takes the file for a leftover
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=UNFINISHED, suffix="".join(path.suffixes[-2:]))
            os.close(handle)
            os.chmod(name, 0o644)
            temporary = Path(name)
            yield temporary
            temporary.replace(path)
    except OSError as error:
        if isinstance(error, FileNotFoundError) and str(error.filename) not in (str(path), str(temporary)):
            raise InputError(f"{error.filename}: no such file; check the path") from error
        raise InputError(f"{path}: cannot be written ({error.strerror or error}); {cure(error)}") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path` that is renamed to `path` when the block ends without an error.

    What killed processes left of the same folder is removed.

    Raises:
        InputError: `path` is a file or a folder with something in it, or cannot be written, or another process writes
            it.
    """
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise InputError(f"{path}: a file lies where a folder is to be written; choose another folder")
    if path.is_dir() and any(path.iterdir()):
        raise InputError(f"{path}: not empty; choose a new folder or remove what is in it")
    make_folder(path.parent)
    # A name without chance: whoever takes the lock is alone, and what lies in the folder then is of a killed process.
    temporary = path.parent / f"{UNFINISHED}{path.name}"
    try:
        temporary.mkdir(exist_ok=True)
        with _handle(temporary) as handle:
            take_lock(handle, path, "another process writes this folder; wait for its end or choose another folder")
            _empty(temporary)
            try:
                yield temporary
                temporary.replace(path)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
    except InputError as error:  # of a file within, whose name nobody knows
        raise InputError(str(error).replace(str(temporary), str(path))) from error
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error}); {cure(error)}") from error


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def write_image(path: str | Path, image: np.ndarray, dpi: int | None = None) -> None:
    """Write `image` (`[H, W, 3]` or `[H, W]` uint8) in the format of the suffix; `dpi` says how large it prints."""
    options: dict[str, Any] = {"dpi": (dpi, dpi)} if dpi else {}
    if Path(path).suffix.lower() == ".png":
        # Runs alone are sought: of a picture of tissue that takes a fifth of the time, and 2 % more bytes.
        options["compress_type"] = zlib.Z_RLE
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_text("Software", MARK)
    with atomic_path(path) as temporary:
        Image.fromarray(image).save(temporary, **options)


def write_json(path: str | Path, content: object, compact: bool = False) -> None:
    """Write `content` as JSON, indented or without white space."""
    layout: dict[str, Any] = {"separators": (",", ":")} if compact else {"indent": 1}
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, **layout) + "\n")


def read_json(path: str | Path, keys_once: bool = False) -> dict:
    """Return the JSON object at `path`.

    Args:
        path: the file.
        keys_once: refuse an object with a key that stands twice; by itself JSON takes the last one.

    Raises:
        InputError: the file is missing or no valid JSON.
    """
    path = require_file(path)
    try:
        # Editors of Windows begin a file with a mark of its encoding.
        return json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_unique if keys_once else None)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not valid JSON ({error}); repair or remove the file") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"key {next(name for name in names if names.count(name) > 1)!r} stands twice")
    return content
