"""What the stages of a run share."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from cyclic.config import RunConfig
from cyclic.cycle.schedule import Schedule
from cyclic.datasets.answers import NO
from cyclic.datasets.dataset import NucleiDataset
from cyclic.datasets.doubted_answers import read_doubted, without_doubted
from cyclic.datasets.tile_folder import TileFolder, load_tiles, negative_areas
from cyclic.networks import Models
from cyclic.runs.board import Board
from cyclic.runs.directory import RunDirectory
from cyclic.runs.paths import CyclePaths, RoundPaths, RunPaths
from cyclic.runs.progress import Progress


@dataclass
class Inputs:
    """What a run is given, and what follows from it without a file being written.

    Attributes:
        config: settings of the run.
        data: folder of the data set, or of several, for messages.
        train, val: images of the two splits. Of the training images, instance labels are read by `stages.tiles`, which
            keeps yes or no of them, and by `stages.pseudo_masks.take_instance_labels`, the upper bound. Those of val
            are read for scores and pictures, and decide nothing.
    """

    config: RunConfig
    data: str
    train: NucleiDataset
    val: NucleiDataset | None

    @cached_property
    def schedule(self) -> Schedule:
        """Steps and rates of every training."""
        return Schedule(self.config)

    @cached_property
    def models(self) -> Models:
        """The networks, built once a process."""
        return Models(self.config)

    @cached_property
    def images(self) -> dict[str, np.ndarray]:
        """`{image id: [H, W, 3] uint8}` of the training and the val images."""
        sets = [self.train, *([self.val] if self.val else [])]
        return {name: dataset.image(name) for dataset in sets for name in dataset.ids}

    def follows_another(self, cycle: int) -> bool:
        """Whether there is a cycle before this one to learn from."""
        return cycle > self.config.first_cycle

    def size(self, name: str) -> tuple[int, int]:
        """Height and width of an image in pixels."""
        height, width = self.images[name].shape[:2]
        return height, width

    @property
    def val_ids(self) -> list[str]:
        """Ids of the val images."""
        return self.val.ids if self.val else []

    @property
    def shown_ids(self) -> list[str]:
        """Ids of the images that the last model is shown on: the val images, or without any the training images."""
        return self.val_ids or self.train.ids

    @property
    def held_ids(self) -> set[str]:
        """Ids of the val and test images: no tile of theirs may train."""
        return {name for split, names in self.train.splits.items() if split != "train" for name in names}

    @property
    def scored_ids(self) -> list[str]:
        """Ids of the val images that have instance labels to compare with."""
        return [name for name in self.val_ids if self.val is not None and self.val.has_labels(name)]


@dataclass
class Context(Inputs):
    """What every stage works with.

    Attributes:
        run: the run directory.
        progress: where to show how far a stage is.
        board: TensorBoard's view of the run.
    """

    run: RunDirectory
    progress: Progress
    board: Board

    @property
    def paths(self) -> RunPaths:
        """Paths of the run directory."""
        return self.run.paths

    @cached_property
    def background(self) -> dict[str, np.ndarray]:
        """`{training image id: [H, W] bool}`, True in its trusted negative tiles; empty if there are none."""
        if not (self.config.trusts_negative_tiles and self.config.has_answers):
            return {}
        doubted = read_doubted(self.paths.doubted)[NO]
        return negative_areas(self.tiles, {name: self.size(name) for name in self.train.ids}, doubted)

    @property
    def trusted_tiles(self) -> TileFolder:
        """The answered tiles of training images without those that the run doubts."""
        tiles = load_tiles(self.tiles, self.held_ids)
        return tiles.take(np.flatnonzero(without_doubted(tiles, read_doubted(self.paths.doubted))))

    @property
    def tiles(self) -> Path:
        """Folder of the tiles: the user's, or the run's own."""
        return Path(self.config.tiles.folder) if self.config.tiles.folder else self.paths.tiles

    def cycle(self, number: int) -> CyclePaths:
        """Paths of a cycle."""
        return self.paths.cycle(number)

    def round(self, cycle: int, number: int) -> RoundPaths:
        """Paths of a round."""
        return self.cycle(cycle).round(number)

    def last_round(self, cycle: int) -> RoundPaths:
        """Paths of a cycle's last round."""
        return self.round(cycle, self.config.rounds.students)

    def seed(self, *parts: int) -> int:
        """Return a seed of its own for each stage, the same on every start."""
        return int(np.random.SeedSequence([self.config.seed, *parts]).generate_state(1)[0] % 2**31)
