"""What every data set offers: images by id, instance labels where there are any, and splits."""

from pathlib import Path

import numpy as np

from cyclic.datasets.class_maps import read_class_map
from cyclic.errors import InputError
from cyclic.files import read_json
from cyclic.images import read_image, read_shape
from cyclic.label_maps import read_label_map

SPLITS = ("train", "val", "test")
SPLIT_EXAMPLE = '{"train": ["image_01", "image_02"], "val": ["image_03"]}'


class NucleiDataset:
    """Images of one split, with instance labels where the data set has them.

    A derived class finds the files of its layout (`find_files`) and may know splits of its own (`folder_splits`). In
    every layout `root/split.json` decides where it exists: `{"train": [ids], "val": [ids], "test": [ids]}`; keys that
    hold no list (an organ table) are left alone.

    Args:
        root: the data set's folder.
        split: "train", "val", "test", or None for every image.

    Attributes:
        ids: image ids, sorted for `split=None`, otherwise in the order of the split.
        splits: `{split: ids}` of all splits; empty where the data set has none.

    Raises:
        InputError: the layout is not there, there is no such split, `split.json` puts one image in two splits or names
            an image that does not exist.
    """

    def __init__(self, root: str | Path, split: str | None = None):
        self.root = Path(root)
        if not self.root.is_dir():
            raise InputError(f"{self.root}: no such folder; give the data set's folder")
        self._images, self._labels = self.find_files()
        self._split_file = self.root / "split.json"
        self.splits = self._read_splits() if self._split_file.exists() else self.folder_splits()
        self.ids = sorted(self._images) if split is None else self._split_ids(split)

    @property
    def set_names(self) -> list[str]:
        """What the sets are called that this one joins; empty for one by itself."""
        return []

    @property
    def even_ids(self) -> list[str]:
        """The ids as training draws them: of several data sets, one as often as any other."""
        return self.ids

    def find_files(self) -> tuple[dict[str, Path], dict[str, Path]]:
        """Return `{id: image file}` and `{id: label file, or folder of masks}`."""
        raise NotImplementedError

    def folder_splits(self) -> dict[str, list[str]]:
        """Return the splits that the layout itself names, where there is no `split.json`."""
        return {}

    def _read_splits(self) -> dict[str, list[str]]:
        path, content = self._split_file, read_json(self._split_file, keys_once=True)
        if not isinstance(content, dict):
            raise InputError(f"{path}: a JSON object is needed, like {SPLIT_EXAMPLE}")
        for name in SPLITS:
            if not isinstance(content.get(name, []), list):
                raise InputError(f"{path}: {name!r} is no list of image ids; write it like {SPLIT_EXAMPLE}")
        splits = {name: [str(image_id) for image_id in ids] for name, ids in content.items() if isinstance(ids, list)}
        for name in splits:
            if name not in SPLITS:
                raise InputError(f"{path}: a list {name!r}; the splits are called {', '.join(SPLITS)}")
        split_of: dict[str, str] = {}
        for name, ids in splits.items():
            for image_id in ids:
                other = split_of.get(image_id)
                if other == name:
                    raise InputError(f"{path}: {image_id} stands twice in {name!r}; keep it once")
                if other is not None:
                    raise InputError(f"{path}: {image_id} is in {other!r} and in {name!r}; keep it in one split")
                split_of[image_id] = name
        return splits

    def _split_ids(self, split: str) -> list[str]:
        path = self._split_file
        if split not in self.splits and path.is_file():
            raise InputError(f"{path}: no list {split!r} among {sorted(self.splits)}; add it like {SPLIT_EXAMPLE}")
        if split not in self.splits:
            raise InputError(f"{path}: no such file, so there is no split {split!r}; write one like {SPLIT_EXAMPLE}")
        for image_id in self.splits[split]:
            self.image_path(image_id)
        return list(self.splits[split])

    def image_path(self, image_id: str) -> Path:
        """Return the image's file. Raises InputError for an id without image."""
        if image_id not in self._images:
            raise InputError(f"{self.root}: no image for id {image_id!r}; add it or take the id out of split.json")
        return self._images[image_id]

    def image(self, image_id: str) -> np.ndarray:
        """Return the image, `[H, W, 3]` uint8 RGB. Raises InputError for a missing or truncated file."""
        return read_image(self.image_path(image_id))

    def shape(self, image_id: str) -> tuple[int, int]:
        """Return height and width of an image in pixels. Raises InputError as `image`."""
        return read_shape(self.image_path(image_id))

    def has_labels(self, image_id: str) -> bool:
        """Return whether instance labels of this image exist; does not read them."""
        return image_id in self._labels

    def label_path(self, image_id: str) -> Path:
        """Return the file or folder of the image's labels. Raises InputError where there is none."""
        path = self.image_path(image_id)
        if image_id not in self._labels:
            raise InputError(f"{path}: no instance labels; add labels/{image_id}.tif (or .png, .npy, .mat)")
        return self._labels[image_id]

    def label_map(self, image_id: str) -> np.ndarray:
        """Return the GROUND-TRUTH INSTANCES, `[H, W]` int32, 0 background.

        THE ONLY METHOD THAT READS INSTANCE LABELS. Only `cyclic tiles` (which lets only yes/no out), `cyclic prepare`
        (which copies them) and evaluation may call it: a training or selection step that does has left the image-level
        setting. `supervision: instance`, the upper bound, leaves it on purpose.

        Raises:
            InputError: no labels for this image, an unreadable file, or a size other than the image's.
        """
        return self.read_labels(self.label_path(image_id), self.shape(image_id))

    def read_labels(self, source: Path, shape: tuple[int, int]) -> np.ndarray:
        """Return the label map that `source` holds, `[H, W]` int32; `shape` is (H, W) of its image."""
        labels = read_label_map(source)
        check_shape(source, labels.shape, shape)
        return labels

    @property
    def class_names(self) -> dict[int, str]:
        """`{class: name}` of the classes of nuclei; empty where the data set names none."""
        return {}

    def type_map(self, image_id: str) -> np.ndarray | None:
        """Return the class of each pixel's nucleus, `[H, W]` int32, 0 no class; None where the labels hold no classes.

        It tells as much as `label_map`, and the same holds for who may call it.

        Raises:
            InputError: as `label_map`, or what is there is no class map of the image.
        """
        return self.read_types(self.label_path(image_id), self.shape(image_id))

    def read_types(self, source: Path, shape: tuple[int, int]) -> np.ndarray | None:
        """Return the class map that belongs to the label file `source`, or None; `shape` is (H, W) of its image."""
        return read_class_map(source, shape)


def check_shape(path: Path, shape: tuple[int, ...], expected: tuple[int, int]) -> None:
    """Raise InputError if `shape`, of the content of `path`, does not begin with its image's height and width."""
    if tuple(shape[:2]) != expected:
        raise InputError(f"{path}: shape {tuple(shape[:2])}, its image has {expected}; use files that belong together")
