"""Reading and writing label maps: `[H, W]` integer, 0 = background, one number a nucleus."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import scipy.io
import scipy.sparse
import tifffile
from PIL import Image

from cyclic.errors import InputError
from cyclic.files import MARK, atomic_path, require_file

MAT_LABEL_KEYS = ("inst_map", "instance_map")


def read_label_map(path: str | Path) -> np.ndarray:
    """Return the label map at `path` as `[H, W]` int32, 0 = background.

    Reads .tif, .png, .npy, and .mat (also sparse, and of version 7.3) with `inst_map` (CoNSeP) or `instance_map`
    (ccRCC). Axes of length 1 are dropped.

    Raises:
        InputError: the file is missing, unreadable, not two-dimensional, not integer or has negative labels.
    """
    path = require_file(path)
    readers: dict[str, Callable[[Path], np.ndarray]] = {
        ".tif": tifffile.imread,
        ".tiff": tifffile.imread,
        ".npy": lambda file: np.load(file, allow_pickle=False),
        ".mat": _read_mat,
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
    if labels.ndim > 2:
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
    if labels.size and not 0 <= labels.min() <= labels.max() <= np.iinfo(np.int32).max:
        raise InputError(f"{name}: labels from {labels.min()} to {labels.max()}; 0 is background, nuclei are positive")
    return labels.astype(np.int32)


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
            tifffile.imwrite(temporary, labels.astype(dtype), compression="zlib", software=MARK)


def _read_picture(path: Path) -> np.ndarray:
    with Image.open(path) as opened:
        return np.asarray(opened)  # a palette's indices are its labels


def _read_mat(path: Path) -> np.ndarray:
    if h5py.is_hdf5(path):  # MATLAB 7.3: HDF5, whose axes are the other way round
        with h5py.File(path) as file:
            return _find_labels({key: file[key][()] for key in MAT_LABEL_KEYS if key in file}, path).T
    labels = _find_labels(scipy.io.loadmat(path), path)
    return labels.toarray() if scipy.sparse.issparse(labels) else labels


def _find_labels(content: dict, path: Path) -> np.ndarray:
    key = next((key for key in MAT_LABEL_KEYS if key in content), None)
    if key is None:
        raise InputError(f"{path}: no {' or '.join(MAT_LABEL_KEYS)} in this .mat file")
    return content[key]
