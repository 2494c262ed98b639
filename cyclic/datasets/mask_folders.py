"""Folders with one mask for each nucleus of an image, as Matterport's and the paper's programs read them."""

from pathlib import Path

import numpy as np

from cyclic.datasets.dataset import check_shape
from cyclic.errors import InputError
from cyclic.files import IMAGE_SUFFIXES, is_litter
from cyclic.label_maps import read_mask

# The paper's name for the folder of such folders, `Instance_mask/<id>/*.png`.
INSTANCE_MASKS = "Instance_mask"


def mask_folders(folder: Path) -> dict[str, Path]:
    """Return `{image id: folder of its masks}` of a folder of such folders; empty where there is none."""
    inner = sorted(folder.iterdir()) if folder.is_dir() else []
    return {path.name: path for path in inner if path.is_dir() and not is_litter(path)}


def _mask_files(folder: Path) -> list[Path]:
    """Return the masks of one image, in the order of their names; files that systems leave behind are passed over.

    Raises:
        InputError: a file that is no picture, so that no mask is left out in silence.
    """
    paths = [path for path in sorted(folder.iterdir()) if not is_litter(path)]
    for path in paths:
        if path.suffix.lower() not in IMAGE_SUFFIXES:
            raise InputError(f"{path}: no mask ({', '.join(IMAGE_SUFFIXES)}); convert it or move it elsewhere")
    return paths


def merge_masks(folder: Path, shape: tuple[int, int]) -> np.ndarray:
    """Return a label map that numbers the masks in the order of their files; of two that overlap the later one wins."""
    labels = np.zeros(shape, np.int32)
    for number, path in enumerate(_mask_files(folder), start=1):
        mask = read_mask(path)
        check_shape(path, mask.shape, shape)
        labels[mask] = number
    return labels
