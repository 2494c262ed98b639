"""MoNuSeg / MoNuSAC images, in this project's layout or in Matterport's nucleus layout.

root/images/<id>.png  root/labels/<id>.tif  root/split.json          labels/ and split.json are optional
root/images/<id>.png  root/Instance_mask/<id>/*.png                  the paper's: one mask for each nucleus
root/stage1_train/<id>/images/<id>.png  .../<id>/masks/*.png         one mask for each nucleus
"""

from pathlib import Path

import numpy as np

from cyclic.datasets.class_maps import LABELS
from cyclic.datasets.dataset import NucleiDataset
from cyclic.datasets.mask_folders import INSTANCE_MASKS, mask_folders, merge_masks
from cyclic.errors import InputError
from cyclic.files import image_files, is_litter, label_files


class MonusacDataset(NucleiDataset):
    """Images of one split; see `NucleiDataset`.

    Args:
        root: the folder that holds `images/`, or `stage1_train/`, or is the `stage1_train` folder itself.
        split: "train", "val", "test", or None for every image.
    """

    @staticmethod
    def holds(root: Path) -> bool:
        """Whether one of the two layouts is there."""
        return (root / "images").is_dir() or bool(_image_folders(root))

    def find_files(self) -> tuple[dict[str, Path], dict[str, Path]]:
        if (self.root / "images").is_dir():
            labels = self.root / LABELS
            masks = mask_folders(self.root / INSTANCE_MASKS)
            return image_files(self.root / "images"), label_files(labels) if labels.is_dir() else masks
        folders = _image_folders(self.root)
        if not folders:
            layouts = "no image in it, no images/ and no stage1_train/<id>/images/, nor Train/Images/"
            raise InputError(f"{self.root}: {layouts}; give the data set's folder")
        masks = {folder.name: folder / "masks" for folder in folders if (folder / "masks").is_dir()}
        return {folder.name: _find_only_image(folder / "images") for folder in folders}, masks

    def read_labels(self, source: Path, shape: tuple[int, int]) -> np.ndarray:
        return merge_masks(source, shape) if source.is_dir() else super().read_labels(source, shape)


def _image_folders(root: Path) -> list[Path]:
    """Return the folders, one for each image, of Matterport's layout; none where it is not there."""
    stage = root / "stage1_train" if (root / "stage1_train").is_dir() else root
    if not stage.is_dir():
        return []
    return [path for path in sorted(stage.iterdir()) if not is_litter(path) and (path / "images").is_dir()]


def _find_only_image(folder: Path) -> Path:
    paths = list(image_files(folder).values())
    if len(paths) != 1:
        raise InputError(f"{folder}: {len(paths)} images; keep one image in this folder")
    return paths[0]
