"""Tiles with yes/no answers: the user's own, or cut from labelled images."""

import numpy as np

from cyclic.cycle.context import Context
from cyclic.datasets.answers import training_answers
from cyclic.datasets.tile_answers import cut_answered
from cyclic.datasets.tile_cutting import cut_tiles
from cyclic.datasets.tile_folder import load_tiles


def cut_run_tiles(context: Context) -> None:
    """Cut the tiles of the run: those that a person answered, or else those of labelled images.

    Of instance labels only yes or no remains. A user's own tiles are counted.
    """
    tiles = context.config.tiles
    if tiles.folder:
        negative, positive = np.bincount(load_tiles(tiles.folder, context.held_ids).labels, minlength=2)
        context.run.log("tiles", folder=tiles.folder, positive=positive, negative=negative)
        return
    if tiles.answers:
        answers = training_answers(tiles.answers, context.train, tiles.size)
        counts = cut_answered(context.train, answers, context.paths.tiles)
        context.run.log("tiles", answers=tiles.answers, positive=counts.positive, negative=counts.negative)
        return
    counts = cut_tiles(
        context.train,
        context.paths.tiles,
        size=tiles.size,
        stride=tiles.stride,
        seed=context.config.seed,
        count=tiles.count,
    )
    context.run.log("tiles", positive=counts.positive, negative=counts.negative)
