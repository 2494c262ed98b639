"""A run to look into: its folder, its settings and its images."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cyclic.config import RunConfig, load_config
from cyclic.cycle.stages import CUT
from cyclic.datasets.dataset import NucleiDataset
from cyclic.datasets.layouts import open_splits
from cyclic.errors import InputError
from cyclic.files import read_json
from cyclic.report.layers import numbered
from cyclic.runs.directory import CONFIG, RunDirectory, data_folder


@dataclass
class Run:
    """A run directory and its data set.

    Attributes:
        path: the run directory.
        config: its settings.
        train, val: its images; `val` is None where the data set has none.
    """

    path: Path
    config: RunConfig
    train: NucleiDataset
    val: NucleiDataset | None

    @property
    def images(self) -> NucleiDataset:
        """The images to look at: val, or the training images where there is no val."""
        return self.val or self.train

    @property
    def has_classifier(self) -> bool:
        """Whether the run learnt from image-level labels; only then there are activation maps."""
        return self.config.supervision == "image"

    @property
    def cycles(self) -> list[int]:
        """Cycles that have begun."""
        return numbered(self.path, "cycle")

    def selecting(self, cycle: int) -> RunConfig:
        """Return the settings by which a cycle chose its pseudo masks: a pooled share as the confidence it came to."""
        cut = self.path / f"cycle_{cycle}" / "pseudo" / CUT
        if not self.config.pseudo.pool or not cut.is_file():
            return self.config
        return self.config.with_pseudo(share=None, min_confidence=read_json(cut)["min_confidence"])

    def truth(self, name: str) -> np.ndarray | None:
        """Return the ground truth of a val image, `[H, W]` int32; None where there is none.

        Of training images it is never read, so that nobody sets the method's knobs by it.
        """
        if self.val is None or name not in self.val.ids or not self.val.has_labels(name):
            return None
        return self.val.label_map(name)


def open_run(path: str | Path, data: str | Path | None = None) -> Run:
    """Return the run in the folder `path`; `data` is its data set, None for where the run read it.

    Raises:
        InputError: no run, or no data set.
    """
    path = Path(path)
    if not RunDirectory.holds_run(path):
        raise InputError(f"{path}: no run here; give the folder that cyclic train wrote to (--out)")
    train, val = open_splits(data_folder(path) if data is None else data)
    return Run(path, load_config(path / CONFIG), train, val)
