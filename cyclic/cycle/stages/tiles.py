"""Tiles with yes/no answers: the user's own, or cut from labelled images."""

import numpy as np

from cyclic.cycle.context import Context
from cyclic.datasets.tile_cutting import cut_tiles
from cyclic.datasets.tile_folder import load_tiles
from cyclic.errors import InputError


def cut_run_tiles(context: Context) -> None:
    """Cut the tiles of the run; reads instance labels, of which only yes or no remains.

    Raises:
        InputError: not every training image has labels, and no folder of tiles is given.
    """
    tiles = context.config.tiles
    if tiles.folder:
        negative, positive = np.bincount(load_tiles(tiles.folder).labels, minlength=2)
        context.run.log("tiles", folder=tiles.folder, positive=positive, negative=negative)
        return
    if not all(context.train.has_labels(name) for name in context.train.ids):
        raise InputError(
            f"{context.data}: no labels to cut tiles from; set tiles.folder to a folder with positive/ and negative/"
        )
    counts = cut_tiles(
        context.train, context.paths.tiles, size=tiles.size, stride=tiles.stride, seed=context.config.seed
    )
    context.run.log("tiles", positive=counts.positive, negative=counts.negative)
