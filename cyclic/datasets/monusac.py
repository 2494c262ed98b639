"""MoNuSeg / MoNuSAC images, in this project's layout or in Matterport's nucleus layout.

    root/images/<id>.png  root/labels/<id>.tif  root/split.json          labels/ and split.json are optional
    root/stage1_train/<id>/images/<id>.png  .../<id>/masks/*.png         one mask for each nucleus

`split.json` is `{"train": [ids], "val": [ids], "test": [ids]}`; keys that hold no list (an organ table) are left alone.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from cyclic.errors import InputError
from cyclic.files import image_files, label_files, read_image, read_json, read_label_map

SPLIT_EXAMPLE = '{"train": ["image_01", "image_02"], "val": ["image_03"]}'


class MonusacDataset:
    """Images of one split, with instance labels where the data set has them.

    Args:
        root: the folder that holds `images/`, or `stage1_train/`, or is the `stage1_train` folder itself.
        split: "train", "val", "test", or None for every image.

    Attributes:
        ids: image ids, sorted for `split=None`, otherwise in the order of `split.json`.

    Raises:
        InputError: neither layout is there, `split.json` is missing or does not name the split, puts one image in two
            splits, or names an image that does not exist.
    """

    def __init__(self, root: str | Path, split: str | None = None):
        self.root = Path(root)
        self._images, self._labels = self._find_files()
        self.ids = sorted(self._images) if split is None else self._split_ids(split)

    def _find_files(self) -> tuple[dict[str, Path], dict[str, Path]]:
        """Return `{id: image file}` and `{id: label file, or folder of masks}`."""
        if not self.root.is_dir():
            raise InputError(f"{self.root}: no such folder; give the data set's folder")
        if (self.root / "images").is_dir():
            labels = self.root / "labels"
            return image_files(self.root / "images"), label_files(labels) if labels.is_dir() else {}
        stage = self.root / "stage1_train"
        stage = stage if stage.is_dir() else self.root
        folders = [folder for folder in sorted(stage.iterdir()) if (folder / "images").is_dir()]
        if not folders:
            raise InputError(f"{self.root}: no images/ and no stage1_train/<id>/images/; give the data set's folder")
        labels = {folder.name: folder / "masks" for folder in folders if (folder / "masks").is_dir()}
        return {folder.name: _only_image(folder / "images") for folder in folders}, labels

    def _split_ids(self, split: str) -> list[str]:
        path = self.root / "split.json"
        if not path.is_file():
            raise InputError(f"{path}: no such file, so there is no split {split!r}; write one like {SPLIT_EXAMPLE}")
        content = read_json(path)
        if not isinstance(content, dict):
            raise InputError(f"{path}: a JSON object is needed, like {SPLIT_EXAMPLE}")
        splits = {name: ids for name, ids in content.items() if isinstance(ids, list)}
        if split not in splits:
            raise InputError(f"{path}: no list {split!r} among {sorted(splits)}; add it like {SPLIT_EXAMPLE}")
        split_of: dict[str, str] = {}
        for name, ids in splits.items():
            for image_id in map(str, ids):
                other = split_of.setdefault(image_id, name)
                if other != name:
                    raise InputError(f"{path}: {image_id} is in {other!r} and in {name!r}; keep it in one split")
        for image_id in splits[split]:
            self.image_path(image_id)
        return list(splits[split])

    def image_path(self, image_id: str) -> Path:
        """Return the image's file. Raises InputError for an id without image."""
        if image_id not in self._images:
            raise InputError(f"{self.root}: no image for id {image_id!r}; add it or take the id out of split.json")
        return self._images[image_id]

    def image(self, image_id: str) -> np.ndarray:
        """Return the image, `[H, W, 3]` uint8 RGB. Raises InputError for a missing or truncated file."""
        return read_image(self.image_path(image_id))

    def has_labels(self, image_id: str) -> bool:
        """Return whether instance labels of this image exist; does not read them."""
        return image_id in self._labels

    def label_map(self, image_id: str) -> np.ndarray:
        """Return the GROUND-TRUTH INSTANCES, `[H, W]` int32, 0 background.

        THE ONLY METHOD THAT READS INSTANCE LABELS. Only `cyclic tiles` (which lets only yes/no out) and evaluation
        may call it: a training or selection step that does has left the image-level setting.

        Raises:
            InputError: no labels for this image, an unreadable file, or a size other than the image's.
        """
        path = self.image_path(image_id)
        if image_id not in self._labels:
            raise InputError(f"{path}: no instance labels; add labels/{image_id}.tif (or .png, .npy, .mat)")
        source = self._labels[image_id]
        shape = _image_shape(path)
        if source.is_dir():
            return _merge_masks(source, shape)
        labels = read_label_map(source)
        _check_shape(source, labels.shape, shape)
        return labels


def _only_image(folder: Path) -> Path:
    found = list(image_files(folder).values())
    if len(found) != 1:
        raise InputError(f"{folder}: {len(found)} images; keep one image in this folder")
    return found[0]


def _image_shape(path: Path) -> tuple[int, int]:
    """Return (H, W), from the header where Pillow can read it: checking a label map need not decode the image."""
    try:
        with Image.open(path) as opened:
            return opened.height, opened.width
    except OSError:
        return read_image(path).shape[:2]


def _check_shape(path: Path, found: tuple[int, ...], wanted: tuple[int, int]) -> None:
    if tuple(found[:2]) != wanted:
        raise InputError(f"{path}: shape {tuple(found[:2])}, its image has {wanted}; use files that belong together")


def _merge_masks(folder: Path, shape: tuple[int, int]) -> np.ndarray:
    """Number the nuclei 1..N in the order of their mask files; where masks overlap the later one is on top."""
    labels = np.zeros(shape, np.int32)
    for number, path in enumerate(sorted(folder.glob("*.png")), start=1):
        mask = read_image(path)[..., 0] > 0
        _check_shape(path, mask.shape, shape)
        labels[mask] = number
    return labels
