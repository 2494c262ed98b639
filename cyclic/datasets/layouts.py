"""Open a data set by its folder alone, whatever its layout."""

from collections.abc import Sequence
from pathlib import Path

from cyclic.datasets.aperio import AperioDataset
from cyclic.datasets.ccrcc import CcrccDataset
from cyclic.datasets.consep import ConsepDataset
from cyclic.datasets.dataset import NucleiDataset
from cyclic.datasets.image_folder import ImageFolderDataset
from cyclic.datasets.joined import JoinedDataset, name_sets
from cyclic.datasets.monusac import MonusacDataset
from cyclic.datasets.split_folders import FOLDERS, SplitFoldersDataset
from cyclic.errors import InputError
from cyclic.files import same_place


def open_dataset(root: str | Path, split: str | None = None) -> NucleiDataset:
    """Return the data set in the folder `root`.

    Args:
        root: `images/` or `stage1_train/` in it: `MonusacDataset`; `Train/Images/` or the like: `CcrccDataset` or
            `ConsepDataset`, as the variables of the label files say; `Tissue Images/` or
            `MoNuSAC_images_and_annotations/`: `AperioDataset`; images in it and none of these: `ImageFolderDataset`.
        split: "train", "val", "test", or None for every image.

    Raises:
        InputError: no layout fits; see also `NucleiDataset`.
    """
    root = Path(root)
    if any((root / folder / "Images").is_dir() for folder in FOLDERS.values()):
        kinds: tuple[type[SplitFoldersDataset], ...] = (CcrccDataset, ConsepDataset)
        # Without labels the two are alike.
        return next((kind for kind in kinds if kind.holds(root)), SplitFoldersDataset)(root, split)
    if AperioDataset.holds(root):
        return AperioDataset(root, split)
    is_plain = ImageFolderDataset.holds(root) and not MonusacDataset.holds(root)
    return ImageFolderDataset(root, split) if is_plain else MonusacDataset(root, split)


def open_splits(data: str | Path | Sequence[str | Path]) -> tuple[NucleiDataset, NucleiDataset | None]:
    """Return the images to train on and the "val" images, None where there are none.

    A data set without splits is trained on as a whole. The images of "test" are in neither.

    Args:
        data: folder of the data set; or those of several, which become one (`JoinedDataset`).

    Raises:
        InputError: see `open_dataset`; or one folder twice.
    """
    roots = folders(data)
    if len(roots) == 1:
        return _open_splits_of_one(roots[0])
    resolved = [same_place(root) for root in roots]
    for root in roots:
        if resolved.count(same_place(root)) > 1:
            raise InputError(f"{root}: given twice; give each data set once")
    for root in roots:
        _open_splits_of_one(root)  # where one alone would be refused, so are all
    sets = dict(zip(name_sets(roots), map(open_dataset, roots), strict=True))
    val = JoinedDataset(sets, "val")
    return JoinedDataset(sets, "train"), val if val.ids else None


def folders(data: str | Path | Sequence[str | Path]) -> list[Path]:
    """Return the folder of a data set, or those of several, as a list."""
    return [Path(root) for root in ([data] if isinstance(data, str | Path) else data)]


def _open_splits_of_one(root: Path) -> tuple[NucleiDataset, NucleiDataset | None]:
    whole = open_dataset(root)
    if not whole.splits:
        return whole, None
    if not whole.splits.get("train", [""]):
        raise InputError(f"{Path(root) / 'split.json'}: no image in 'train'; name the images to train on")
    return open_dataset(root, "train"), open_dataset(root, "val") if whole.splits.get("val") else None
