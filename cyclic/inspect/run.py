"""A run to look into: its folder, its settings and its images."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cyclic.config import RunConfig
from cyclic.cycle.checks import check_same_images
from cyclic.datasets.dataset import NucleiDataset
from cyclic.datasets.layouts import folders, open_splits
from cyclic.errors import InputError
from cyclic.files import read_json
from cyclic.pseudo.recipe import recipe_of
from cyclic.runs.directory import RunDirectory, data_folders, read_run_config
from cyclic.runs.paths import RunPaths


@dataclass
class Run:
    """A run directory and its data set.

    Attributes:
        paths: paths of the run directory.
        config: its settings.
        train, val: its images; `val` is None where the data set has none.
    """

    paths: RunPaths
    config: RunConfig
    train: NucleiDataset
    val: NucleiDataset | None

    @property
    def images(self) -> NucleiDataset:
        """The images to look at: val, or the training images where there is no val."""
        return self.val or self.train

    @property
    def has_classifier(self) -> bool:
        """Whether the run learnt from image-level labels. Only then are there activation maps."""
        return self.config.supervision == "image"

    @property
    def cycles(self) -> list[int]:
        """Cycles that have begun."""
        return self.paths.cycles()

    @property
    def last_cycle(self) -> int:
        """The last cycle that has begun.

        Raises:
            InputError: the run stopped before its first cycle.
        """
        if not self.cycles:
            raise InputError(f"{self.paths.root}: no cycle has begun; cyclic train --resume goes on with the run")
        return self.cycles[-1]

    @property
    def cut(self) -> float | None:
        """The confidence that the share of all images' candidates came to; None if each image has its own."""
        path = self.paths.cycle(1).cut
        if not recipe_of(self.config).pooled or not path.is_file():
            return None
        return float(read_json(path)["min_confidence"])

    def truth(self, name: str) -> np.ndarray | None:
        """Return the ground truth of a val image, `[H, W]` int32; None where there is none.

        That of training images is never read, so nobody can tune the method by it.
        """
        if self.val is None or name not in self.val.ids or not self.val.has_labels(name):
            return None
        return self.val.label_map(name)


def open_run(path: str | Path, data: str | Path | Sequence[str | Path] | None = None) -> Run:
    """Open a run.

    Args:
        path: the run directory.
        data: folder of its data set, or those of several; None: where the run read them.

    Raises:
        InputError: no run, or no data set, or not the images that the run was given.
    """
    if not RunDirectory.holds_run(path):
        raise InputError(f"{path}: no run here; give the folder that cyclic train wrote to (--out)")
    paths = RunPaths(Path(path))
    given = data_folders(paths.root) if data is None else data
    train, val = open_splits(given)
    if paths.data.is_file():
        check_same_images(paths.data, ", ".join(map(str, folders(given))), train, val)
    return Run(paths, read_run_config(paths.root), train, val)
