"""PanNuke (Gamper et al. 2019) as it is downloaded: three folds, each two NumPy arrays.

root/Fold 1/images/fold1/images.npy    [N, 256, 256, 3], 0 to 255
root/Fold 1/masks/fold1/masks.npy      [N, 256, 256, 6]: the nuclei of five classes, numbered, and the background

The folders may have other names that say "fold" and its number.
"""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cyclic.errors import InputError

CLASSES = ("neoplastic", "inflammatory", "connective", "dead", "epithelial")
# The first of the three published ways to use the folds.
SPLITS = {1: "train", 2: "val", 3: "test"}
_FOLD = re.compile(r"fold[ _-]*(\d+)", re.IGNORECASE)


class _Fold(NamedTuple):
    """The arrays of one fold, mapped from their files, and the files for messages."""

    images: np.ndarray
    masks: np.ndarray
    image_file: Path
    mask_file: Path


class PannukeFolds:
    """The images of all folds that are there, named `fold1_0`, ...; no array is read as a whole.

    Args:
        root: a folder with `images.npy` and `masks.npy` of one fold or several somewhere in it.

    Attributes:
        ids: image ids, by fold.
        splits: `{split: ids}`: fold 1 is "train", 2 is "val", 3 is "test".

    Raises:
        InputError: no fold, one without masks, two of one number, or arrays that are not PanNuke's.
    """

    class_names = dict(enumerate(CLASSES, start=1))

    def __init__(self, root: str | Path):
        self._folds = {number: _open_fold(path) for number, path in _find_folds(Path(root)).items()}
        names = {number: [f"fold{number}_{k}" for k in range(len(fold.images))] for number, fold in self._folds.items()}
        self._places = {name: (number, k) for number, fold in names.items() for k, name in enumerate(fold)}
        self.ids = list(self._places)
        self.splits = {SPLITS[number]: fold for number, fold in names.items()}

    def image(self, image_id: str) -> np.ndarray:
        """Return the image, `[H, W, 3]` uint8 RGB. Raises InputError for values that are no colours."""
        number, index = self._places[image_id]
        image = np.asarray(self._folds[number].images[index])
        if not (image.min() >= 0 and image.max() <= 255):  # also true for NaN
            file = self._folds[number].image_file
            raise InputError(f"{file}: image {index} holds values beyond 0 to 255; download the fold again")
        return np.round(image).astype(np.uint8)

    def label_map(self, image_id: str) -> np.ndarray:
        """Return the GROUND-TRUTH INSTANCES, `[H, W]` int32, 0 background; see `NucleiDataset.label_map`."""
        return self._maps(image_id)[0]

    def type_map(self, image_id: str) -> np.ndarray:
        """Return the class of each pixel's nucleus, `[H, W]` int32: its place in `CLASSES`, from 1; 0 background."""
        return self._maps(image_id)[1]

    def _maps(self, image_id: str) -> tuple[np.ndarray, np.ndarray]:
        number, index = self._places[image_id]
        masks = np.asarray(self._folds[number].masks[index])[..., : len(CLASSES)]
        if (masks < 0).any() or (masks % 1).any():
            file = self._folds[number].mask_file
            raise InputError(f"{file}: image {index} holds no numbered nuclei; download the fold again")
        labels, types = np.zeros((2, *masks.shape[:2]), np.int32)
        # Two classes may use one number.
        for class_, mask in enumerate(np.moveaxis(masks, -1, 0), start=1):
            nuclei = mask > 0
            _, numbers = np.unique(mask[nuclei], return_inverse=True)
            labels[nuclei], types[nuclei] = labels.max(initial=0) + 1 + numbers, class_
        return labels, types


def _find_folds(root: Path) -> dict[int, Path]:
    """Return `{number of the fold: images.npy}`."""
    folds: dict[int, Path] = {}
    for path in sorted(root.rglob("images.npy")):
        numbers = _FOLD.findall(str(path.relative_to(root))) or _FOLD.findall(root.name)
        number = int(numbers[-1]) if numbers else 0
        if number not in SPLITS:
            raise InputError(f"{path}: of which fold? Name its folder fold1, fold2 or fold3")
        if number in folds:
            raise InputError(f"{path}: fold {number} is also at {folds[number]}; keep it once")
        folds[number] = path
    if not folds:
        raise InputError(f"{root}: no images.npy of PanNuke in it; give the folder of its folds")
    return dict(sorted(folds.items()))


def _open_fold(image_file: Path) -> _Fold:
    """Map the arrays of a fold, whose masks lie beside the images or in folders `masks/` in the place of `images/`."""
    elsewhere = Path(*("masks" if part == "images" else part for part in image_file.parent.parts))
    beside, there = (folder / "masks.npy" for folder in (image_file.parent, elsewhere))
    mask_file = next((path for path in (beside, there) if path.is_file()), None)
    if mask_file is None:
        raise InputError(f"{image_file}: no masks.npy beside it or at {there}; download the fold's masks")
    images, masks = _map(image_file, 3), _map(mask_file, len(CLASSES) + 1)
    if images.shape[:3] != masks.shape[:3]:
        raise InputError(
            f"{mask_file}: shape {masks.shape}, its images have {images.shape}; use files that belong together"
        )
    return _Fold(images, masks, image_file, mask_file)


def _map(path: Path, channels: int) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # NumPy's parser of headers raises types of its own
        raise InputError(f"{path}: not a readable array ({error}); download the fold again") from error
    if array.ndim != 4 or array.shape[-1] != channels or array.dtype.kind not in "buif":
        raise InputError(f"{path}: {array.dtype} {array.shape}; PanNuke's have [N, 256, 256, {channels}] numbers")
    return array
