"""Open a data set by its folder alone, whatever its layout."""

from pathlib import Path

from cyclic.datasets.aperio import AperioDataset
from cyclic.datasets.ccrcc import CcrccDataset
from cyclic.datasets.consep import ConsepDataset
from cyclic.datasets.dataset import NucleiDataset
from cyclic.datasets.monusac import MonusacDataset
from cyclic.datasets.split_folders import FOLDERS, SplitFoldersDataset
from cyclic.errors import InputError


def open_dataset(root: str | Path, split: str | None = None) -> NucleiDataset:
    """Return the data set in the folder `root`.

    Args:
        root: `images/` or `stage1_train/` in it: `MonusacDataset`; `Train/Images/` or the like: `CcrccDataset` or
            `ConsepDataset`, as the variables of the label files say; `Tissue Images/` or
            `MoNuSAC_images_and_annotations/`: `AperioDataset`.
        split: "train", "val", "test", or None for every image.

    Raises:
        InputError: no layout fits; see also `NucleiDataset`.
    """
    root = Path(root)
    if any((root / folder / "Images").is_dir() for folder in FOLDERS.values()):
        kinds: tuple[type[SplitFoldersDataset], ...] = (CcrccDataset, ConsepDataset)
        # Without labels the two are alike.
        return next((kind for kind in kinds if kind.holds(root)), SplitFoldersDataset)(root, split)
    return AperioDataset(root, split) if AperioDataset.holds(root) else MonusacDataset(root, split)


def open_splits(root: str | Path) -> tuple[NucleiDataset, NucleiDataset | None]:
    """Return the images to train on and the "val" images, None where there are none.

    A data set without splits is trained on as a whole. The images of "test" are in neither.

    Raises:
        InputError: see `open_dataset`.
    """
    whole = open_dataset(root)
    if not whole.splits:
        return whole, None
    if not whole.splits.get("train", [""]):
        raise InputError(f"{Path(root) / 'split.json'}: no image in 'train'; name the images to train on")
    return open_dataset(root, "train"), open_dataset(root, "val") if whole.splits.get("val") else None
