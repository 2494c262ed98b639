"""Which answers a run doubts: they train no classifier, and a doubted no marks no background."""

import keras
import numpy as np

from cyclic.classifier.doubt import FOLDS, doubtful, fold_answers
from cyclic.cycle.context import Context
from cyclic.cycle.tile_training import learn
from cyclic.datasets.doubted_answers import write_doubted
from cyclic.datasets.tile_folder import TileFolder, load_tiles
from cyclic.runs.training_progress import TrainingProgress


def doubt(context: Context) -> None:
    """Write the answers that look wrong; the weights of the run's classifier are in the end what they were.

    A few answers are all kept: too few for others to judge them.
    """
    tiles = load_tiles(context.tiles, context.held_ids)
    folds = fold_answers(tiles.labels, np.random.default_rng(context.seed(1, 4)))
    found = np.zeros(len(tiles.paths), bool) if folds is None else doubtful(tiles.labels, _judge(context, tiles, folds))
    write_doubted(context.paths.doubted, tiles.take(np.flatnonzero(found)), len(tiles.paths))
    context.run.log("doubted_answers", answers=len(tiles.paths), doubted=int(found.sum()))


def _judge(context: Context, tiles: TileFolder, folds: np.ndarray) -> np.ndarray:
    """Return the log-odds of a nucleus in each tile, `[N]`, by a classifier that has learnt from the other folds."""
    config, classifier, training = context.config, context.models.classifier, context.schedule.judge
    start, judged = classifier.get_weights(), np.zeros(len(tiles.paths), np.float32)
    for fold in range(FOLDS):
        own = np.flatnonzero(folds == fold)
        seed, parts = context.seed(1, 4, fold), (tiles.take(np.flatnonzero(folds != fold)), tiles.take(own))
        keras.utils.set_random_seed(seed)
        shown = TrainingProgress(context.progress, f"cycle_1/answers_{fold + 1}", training.steps)
        judged[own] = learn(classifier, config, training, *parts, seed, [shown]).log_odds
        classifier.set_weights(start)
    return judged
