"""Show what setting doubted answers aside does for the first map, and how many of them are wrong.

The classifier of a run's first cycle is trained twice for each seed: on all answers, and without those that the run
doubts. Scores are the area under the ROC curve of the maps' pixels, the mean of the images.

Reads instance labels, so it is for looking back at a run; nothing is selected by it.

Example:
    python studies/doubted_answers.py RUN --data DATA --right TILES --seeds 3 --json FILE
"""

import argparse
import sys
from pathlib import Path

import keras
import numpy as np

from cyclic.config import RunConfig
from cyclic.cycle.schedule import Schedule
from cyclic.cycle.stages.classifier import HELD_OUT
from cyclic.cycle.stages.maps import image_map
from cyclic.cycle.tile_training import learn
from cyclic.datasets.dataset import NucleiDataset
from cyclic.datasets.doubted_answers import read_doubted, without_doubted
from cyclic.datasets.layouts import open_splits
from cyclic.datasets.tile_folder import TileFolder, load_tiles, split_tiles
from cyclic.errors import InputError
from cyclic.evaluation.auc import mean_auc
from cyclic.files import write_json
from cyclic.networks import Models
from cyclic.runs.directory import read_run_config
from cyclic.runs.paths import RunPaths


def count_wrong(tiles: TileFolder, kept: np.ndarray, right: Path) -> dict[str, int]:
    """Return how many answers are wrong, how many are doubted, and how many of those are wrong.

    Args:
        tiles: as they were answered.
        kept: `[N]` bool, False where doubted.
        right: folder with the same tiles in their right classes.
    """
    true = load_tiles(right)
    label_of = {path.name: label for path, label in zip(true.paths, true.labels, strict=True)}
    wrong = np.array([label_of[path.name] for path in tiles.paths]) != tiles.labels
    return {"wrong": int(wrong.sum()), "doubted": int((~kept).sum()), "doubted_and_wrong": int((wrong & ~kept).sum())}


def map_areas(config: RunConfig, tiles: TileFolder, seed: int, sets: dict[str, NucleiDataset]) -> dict[str, float]:
    """Train the first classifier on tiles, and return the AUC of its maps for each set of images."""
    models = Models(config.model_copy(update={"seed": seed}))
    parts = split_tiles(tiles, HELD_OUT, config.seed)
    keras.utils.set_random_seed(seed)
    learn(models.classifier, config, Schedule(config).classifier(1), *parts, seed, [])
    return {
        name: mean_auc((image_map(models, images.image(each)), images.label_map(each)) for each in images.ids)
        for name, images in sets.items()
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="run directory")
    parser.add_argument("--data", type=Path, required=True, help="the labelled data set of the run")
    parser.add_argument("--right", type=Path, help="the tiles in their right classes; default: the run's are right")
    parser.add_argument("--seeds", type=int, default=3, help="classifiers of each kind (3)")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    try:
        paths, config = RunPaths(options.run), read_run_config(options.run)
        train, val = open_splits(options.data)
        folder = Path(config.tiles.folder or paths.tiles)
        tiles = load_tiles(folder)
        kept = without_doubted(tiles, read_doubted(paths.doubted))
        found = {"answers": len(kept), **count_wrong(tiles, kept, options.right or folder), "rows": []}
        sets = {"train": train, **({"val": val} if val else {})}
        for seed in range(options.seeds):
            for name, part in (("all", tiles), ("without doubted", tiles.take(np.flatnonzero(kept)))):
                row = {"answers": name, "seed": seed, **map_areas(config, part, seed, sets)}
                found["rows"].append(row)
                print(*(f"{key} {value:.3f}" if isinstance(value, float) else value for key, value in row.items()))
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    print({key: value for key, value in found.items() if key != "rows"})
    if options.json:
        write_json(options.json, found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
