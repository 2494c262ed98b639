"""How much does the first cycle's classifier learn from a quarter of the answers, from half, and from all?

No instance label is read. Tiles that none of the parts contains say how much of the question is learnt, and the
activation maps say whether more answers would still change what the next stages see.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from cyclic.config import RunConfig
from cyclic.cycle.checks import check_inputs
from cyclic.cycle.context import Inputs
from cyclic.cycle.stages.maps import image_map
from cyclic.cycle.tile_training import learn
from cyclic.datasets.answers import PARTS, first_part, training_answers
from cyclic.datasets.layouts import folders, open_splits
from cyclic.datasets.tile_answers import cut_answered
from cyclic.datasets.tile_folder import TileFolder, load_tiles, split_tiles
from cyclic.errors import InputError
from cyclic.evaluation.statistics import mean_correlation
from cyclic.networks import Models
from cyclic.runs.progress import Progress
from cyclic.runs.training_progress import TrainingProgress

# Share of the answers that is held out of all parts.
HELD_OUT = 0.2
# Maps of this many images are compared.
MAPPED = 4


def learning_curve(
    config: RunConfig, data: str | Path | Sequence[str | Path], progress: Progress | None = None
) -> list[dict]:
    """Train the classifier on each part, each time from the start, and return what it reaches.

    Args:
        config: settings of a run with answers; as many steps are made as in its first cycle.
        data: folder of the data set, or those of several.
        progress: display; None makes one on standard error.

    Returns:
        A row a part: `answers` it has, `tile_accuracy`, the share of held-out tiles told right, `error`, its standard
        error, and `alike`, Pearson's correlation of its maps with those of all answers, the mean of up to four images;
        None of all answers themselves.

    Raises:
        InputError: settings without answers, or bad input as for a run.
    """
    if config.supervision != "image" or not (config.tiles.answers or config.tiles.folder):
        raise InputError("no answers of a person to learn from; give --answers FILE, or set tiles.folder")
    train, _ = open_splits(data)
    inputs = Inputs(config, ", ".join(map(str, folders(data))), train, None)
    check_inputs(inputs)
    chosen = train.ids[:: -(-len(train.ids) // MAPPED)]
    images = {name: train.image(name) for name in chosen}
    rows, maps = [], []
    with tempfile.TemporaryDirectory() as scratch, progress or Progress() as display:
        learnt, held = split_tiles(_tiles(inputs, Path(scratch)), HELD_OUT, config.seed)
        training = inputs.schedule.classifier(1)
        for part in PARTS:
            taken = _part(learnt, part, config.seed)
            models = Models(config)
            keras.utils.set_random_seed(config.seed)
            callbacks = [TrainingProgress(display, f"{len(taken.paths)} answers", training.steps)]
            report = learn(models.classifier, config, training, taken, held, config.seed, callbacks)
            maps.append([image_map(models, image) for image in images.values()])
            error = float(np.sqrt(report.accuracy * (1 - report.accuracy) / len(held.paths)))
            rows.append({"answers": len(taken.paths), "tile_accuracy": report.accuracy, "error": error})
    alike = [*(mean_correlation(zip(of_part, maps[-1], strict=True)) for of_part in maps[:-1]), None]
    return [row | {"alike": value} for row, value in zip(rows, alike, strict=True)]


def _tiles(inputs: Inputs, scratch: Path) -> TileFolder:
    """Return the answered tiles; those of a file of answers are cut into `scratch`."""
    tiles = inputs.config.tiles
    if tiles.answers:
        cut_answered(inputs.train, training_answers(tiles.answers, inputs.train, tiles.size), scratch)
    return load_tiles(tiles.folder or scratch, inputs.held_ids)


def _part(tiles: TileFolder, part: float, seed: int) -> TileFolder:
    """Return a part of the tiles of each class; a larger part holds all of a smaller one."""
    rng = np.random.default_rng(seed)
    members = [rng.permutation(np.flatnonzero(tiles.labels == label)) for label in (0, 1)]
    return tiles.take(np.sort(np.concatenate([first_part(of_class, part) for of_class in members])))
