"""Tiles of images that nobody has labelled: where they lie, and cutting them into one folder for a person to sort."""

from pathlib import Path

import numpy as np

from cyclic.datasets.dataset import NucleiDataset
from cyclic.datasets.tile_folder import CLASSES
from cyclic.datasets.tile_writing import Tile, TileCounts, count_files, find_cut, write_tiles
from cyclic.errors import InputError
from cyclic.images import read_shape
from cyclic.tiling import flush_starts

UNSORTED = "unsorted"


def grid_tiles(dataset: NucleiDataset, size: int, stride: int) -> list[Tile]:
    """Return the tiles of every image, row by row; the last row and column are flush with the border.

    Args:
        dataset: the images, of which only headers are read.
        size: height and width of a tile in px.
        stride: distance from tile to tile in px.

    Raises:
        InputError: an image is smaller than a tile.
    """
    tiles = []
    for image_id in dataset.ids:
        path = dataset.image_path(image_id)
        shape = read_shape(path)
        if min(shape) < size:
            raise InputError(f"{path}: {shape[0]} x {shape[1]} pixels, smaller than a tile; choose a smaller size")
        ys, xs = (flush_starts(side, size, stride) for side in shape)
        tiles += [Tile(image_id, y, x) for y in ys for x in xs]
    return tiles


def cut_unsorted(
    dataset: NucleiDataset, out: str | Path, size: int, stride: int, count: int | None = None, seed: int = 0
) -> TileCounts:
    """Cut images without labels into `out/unsorted/<image id>_<y>_<x>.png`, and write `out/tiles.json`.

    A person moves these files into `out/positive` and `out/negative`. If `out` already holds the tiles of the same
    images (by id) and settings, nothing is done, however far they are sorted.

    Args:
        dataset: the images.
        out: folder to write to.
        size: height and width of a tile in px.
        stride: distance from tile to tile in px.
        count: cut at most this many, at random. None: all.
        seed: seed of that choice.

    Returns:
        How many tiles lie in each folder now.

    Raises:
        InputError: an image is smaller than a tile, or `out` holds other tiles or can't be written.
    """
    out, folders = Path(out), (UNSORTED, *CLASSES)
    settings = {"size": size, "stride": stride, "seed": seed, "count": count, "images": list(dataset.ids)}
    reused = find_cut(out, folders, settings) is not None
    if not reused:
        tiles = grid_tiles(dataset, size, stride)
        if count is not None and count < len(tiles):
            chosen = np.random.default_rng(seed).choice(len(tiles), count, replace=False)
            tiles = [tiles[index] for index in np.sort(chosen)]
        write_tiles(dataset, {UNSORTED: tiles}, out, size, {"settings": settings, "counts": {UNSORTED: len(tiles)}})
    found = count_files(out, folders)
    return TileCounts(found["positive"], found["negative"], reused, found[UNSORTED])
