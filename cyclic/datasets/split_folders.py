"""The layout that CoNSeP and the ccRCC grading set share: a folder for each split, a .mat file for each image.

root/{Train,Valid,Test}/Images/<id>.png  .../Labels/<id>.mat         Valid/, Test/ and Labels/ are optional
                        .../Instance_mask/<id>/*.png                 in the place of Labels/: a mask for each nucleus
"""

from pathlib import Path

import numpy as np

from cyclic.datasets.dataset import NucleiDataset
from cyclic.datasets.mask_folders import INSTANCE_MASKS, mask_folders, merge_masks
from cyclic.errors import InputError
from cyclic.files import image_files, label_files
from cyclic.mat import names_of

FOLDERS = {"train": "Train", "val": "Valid", "test": "Test"}


class SplitFoldersDataset(NucleiDataset):
    """Images of one split; see `NucleiDataset`. The folders are the splits where there is no `split.json`.

    A data set published without `Valid/` has no "val"; a `split.json` beside `Train/` can take val images out of it.
    """

    label_key = ""  # the variable of a .mat file that holds the label map

    def find_files(self) -> tuple[dict[str, Path], dict[str, Path]]:
        images: dict[str, Path] = {}
        labels: dict[str, Path] = {}
        for folder in self._folders().values():
            paths = image_files(folder / "Images")
            for image_id in paths.keys() & images.keys():
                raise InputError(f"{paths[image_id]}: same id as {images[image_id]}; keep one file for each image id")
            images |= paths
            masks = mask_folders(folder / INSTANCE_MASKS)
            labels |= label_files(folder / "Labels") if (folder / "Labels").is_dir() else masks
        if not images:
            raise InputError(f"{self.root}: no Train/Images/ (nor Valid/, Test/); give the data set's folder")
        return images, labels

    def folder_splits(self) -> dict[str, list[str]]:
        return {split: list(image_files(folder / "Images")) for split, folder in self._folders().items()}

    def read_labels(self, source: Path, shape: tuple[int, int]) -> np.ndarray:
        return merge_masks(source, shape) if source.is_dir() else super().read_labels(source, shape)

    def _folders(self) -> dict[str, Path]:
        folders = {split: self.root / name for split, name in FOLDERS.items()}
        return {split: folder for split, folder in folders.items() if (folder / "Images").is_dir()}

    @classmethod
    def holds(cls, root: Path) -> bool:
        """Return whether the label files in `root` are of this data set; only the names of their variables are read."""
        first = next(iter(sorted(root.glob("*/Labels/*.mat"))), None)
        try:
            return first is not None and cls.label_key in names_of(first)
        except Exception as error:  # the decoder raises its own types for a broken file
            raise InputError(f"{first}: not a readable .mat file ({error}); replace or remove the file") from error
