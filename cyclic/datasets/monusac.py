"""MoNuSeg / MoNuSAC images, in this project's layout or in Matterport's nucleus layout.

root/images/<id>.png  root/labels/<id>.tif  root/split.json          labels/ and split.json are optional
root/stage1_train/<id>/images/<id>.png  .../<id>/masks/*.png         one mask for each nucleus
"""

from pathlib import Path

import numpy as np

from cyclic.datasets.dataset import NucleiDataset, check_shape
from cyclic.errors import InputError
from cyclic.files import IMAGE_SUFFIXES, image_files, is_litter, label_files
from cyclic.label_maps import read_mask


class MonusacDataset(NucleiDataset):
    """Images of one split; see `NucleiDataset`.

    Args:
        root: the folder that holds `images/`, or `stage1_train/`, or is the `stage1_train` folder itself.
        split: "train", "val", "test", or None for every image.
    """

    def find_files(self) -> tuple[dict[str, Path], dict[str, Path]]:
        if (self.root / "images").is_dir():
            labels = self.root / "labels"
            return image_files(self.root / "images"), label_files(labels) if labels.is_dir() else {}
        stage = self.root / "stage1_train"
        stage = stage if stage.is_dir() else self.root
        folders = [path for path in sorted(stage.iterdir()) if not is_litter(path) and (path / "images").is_dir()]
        if not folders:
            layouts = "no images/ and no stage1_train/<id>/images/, nor Train/Images/"
            raise InputError(f"{self.root}: {layouts}; give the data set's folder")
        masks = {folder.name: folder / "masks" for folder in folders if (folder / "masks").is_dir()}
        return {folder.name: _find_only_image(folder / "images") for folder in folders}, masks

    def read_labels(self, source: Path, shape: tuple[int, int]) -> np.ndarray:
        return _merge_masks(source, shape) if source.is_dir() else super().read_labels(source, shape)


def _find_only_image(folder: Path) -> Path:
    paths = list(image_files(folder).values())
    if len(paths) != 1:
        raise InputError(f"{folder}: {len(paths)} images; keep one image in this folder")
    return paths[0]


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


def _merge_masks(folder: Path, shape: tuple[int, int]) -> np.ndarray:
    """Return a label map that numbers the masks in the order of their files; of two that overlap the later one wins."""
    labels = np.zeros(shape, np.int32)
    for number, path in enumerate(_mask_files(folder), start=1):
        mask = read_mask(path)
        check_shape(path, mask.shape, shape)
        labels[mask] = number
    return labels
