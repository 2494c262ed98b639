"""Several data sets as one: images of many labs, for one model."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cyclic.datasets.dataset import NucleiDataset
from cyclic.files import same_place

# Between the name of a data set and the image's id in it.
BETWEEN = "__"


class JoinedDataset(NucleiDataset):
    """Images of several data sets; the id of each begins with the name of its set: `monuseg__TCGA-18-5592`.

    Args:
        sets: `{name: data set}`, each with all of its images; see `name_sets`.
        split: "train", "val" or "test"; None for every image. A set without splits is all "train".

    Attributes:
        ids, splits: as those of `NucleiDataset`.
    """

    def __init__(self, sets: dict[str, NucleiDataset], split: str | None = None):
        self._sets = sets
        self.splits: dict[str, list[str]] = {}
        for name, dataset in sets.items():
            for part, ids in (dataset.splits or {"train": dataset.ids}).items():
                self.splits.setdefault(part, []).extend(_joined(name, ids))
        every = [image_id for name, dataset in sets.items() for image_id in _joined(name, dataset.ids)]
        self.ids = every if split is None else list(self.splits.get(split, []))

    def _find(self, image_id: str) -> tuple[NucleiDataset, str]:
        name, _, rest = image_id.partition(BETWEEN)
        return self._sets[name], rest

    def image_path(self, image_id: str) -> Path:
        dataset, rest = self._find(image_id)
        return dataset.image_path(rest)

    def image(self, image_id: str) -> np.ndarray:
        dataset, rest = self._find(image_id)
        return dataset.image(rest)

    def has_labels(self, image_id: str) -> bool:
        dataset, rest = self._find(image_id)
        return dataset.has_labels(rest)

    def label_path(self, image_id: str) -> Path:
        dataset, rest = self._find(image_id)
        return dataset.label_path(rest)

    def label_map(self, image_id: str) -> np.ndarray:
        dataset, rest = self._find(image_id)
        return dataset.label_map(rest)

    def type_map(self, image_id: str) -> np.ndarray | None:
        dataset, rest = self._find(image_id)
        return dataset.type_map(rest)

    @property
    def set_names(self) -> list[str]:
        return list(self._sets)

    @property
    def even_ids(self) -> list[str]:
        groups = [
            [image_id for image_id in self.ids if self._find(image_id)[0] is each] for each in self._sets.values()
        ]
        most = max(map(len, groups), default=0)
        return [image_id for group in groups if group for image_id in group * round(most / len(group))]


def name_sets(roots: Sequence[Path]) -> list[str]:
    """Return a name for each data set: its folder's, numbered where several folders have one name."""
    names = [same_place(root).name.replace(BETWEEN, "_") for root in roots]
    return [
        f"{name}-{names[: index + 1].count(name)}" if names.count(name) > 1 else name
        for index, name in enumerate(names)
    ]


def joined_id(name: str, image_id: str) -> str:
    """Return what an image of the set `name` is called among those of other sets.

    >>> joined_id("monuseg", "TCGA-18-5592")
    'monuseg__TCGA-18-5592'
    """
    return f"{name}{BETWEEN}{image_id}"


def _joined(name: str, ids: Sequence[str]) -> list[str]:
    return [joined_id(name, image_id) for image_id in ids]
