"""Regions of slides as images: to answer tiles of, and to train on, as on any folder of images."""

import itertools
from pathlib import Path

import numpy as np

from cyclic.datasets.tile_folder import tile_name
from cyclic.datasets.tile_writing import Tile, find_cut, write_tiles
from cyclic.errors import InputError
from cyclic.runs.progress import Progress
from cyclic.slides.finding import find_slides
from cyclic.slides.tissue import AUTO, find_tissue
from cyclic.slides.tissue_tiles import MPP, SlideImages

IMAGES = "images"
# Side of a region, px of 0.25 µm, and how many there are: what a training needs.
SIDE, COUNT = 1024, 20
# A region is looked at in so many windows a side. At least half of them hold tissue.
WINDOWS, ENOUGH = 4, 0.5


def cut_regions(
    slides: str | Path,
    out: str | Path,
    count: int = COUNT,
    stated: float | None = None,
    seed: int = 0,
    side: int = SIDE,
) -> int:
    """Cut regions of tissue into `out/images/<slide>_<y>_<x>.png`; a second call with the same slides cuts nothing.

    Slides take turns. Of a slide without a region that is half full of tissue, those with the most of it are taken.
    `out/tiles.json` tells where each region lies in its slide, in px of the finest level.

    Args:
        slides: a slide or a folder of slides.
        out: folder to write to.
        count: cut at most this many, at random.
        stated: micrometres per pixel of all slides; None: what each file says.
        seed: seed of that choice.
        side: height and width of a region, px of 0.25 µm, as are y and x in the names.

    Returns:
        How many regions there are.

    Raises:
        InputError: no slide, one that cannot be read or is smaller than a region, no tissue, or `out` holds other
            regions or can't be written.
    """
    out, paths = Path(out), find_slides(slides)
    settings = {"size": side, "mpp": MPP, "seed": seed, "count": count, "slides": list(paths), "stated": stated}
    earlier = find_cut(out, [IMAGES], settings)
    if earlier is not None:
        return earlier[IMAGES]
    images, rng = SlideImages(paths, stated), np.random.default_rng(seed)
    with Progress() as progress:
        named = progress.track(images.ids, "find tissue in slides")
        tissue = [_tissue_regions(images, name, paths[name], side, rng) for name in named]
    turns = [tile for turn in itertools.zip_longest(*tissue) for tile in turn if tile is not None]
    if not turns:
        raise InputError(f"{slides}: no tissue found; choose other slides")
    chosen = {IMAGES: turns[:count]}
    places = {tile_name(tile.image_id, tile.y, tile.x): images.place(tile, side) for tile in chosen[IMAGES]}
    counts = {IMAGES: len(places)}
    write_tiles(images, chosen, out, side, {"settings": settings, "counts": counts, "regions": places})
    return counts[IMAGES]


def _tissue_regions(images: SlideImages, name: str, path: Path, side: int, rng: np.random.Generator) -> list[Tile]:
    """Return the regions of a slide that are half full of tissue, or the fullest, in a random order."""
    source, slide = images.open(name)
    height, width = slide.size
    if min(height, width) < side:
        raise InputError(f"{path}: {height} x {width} pixels of {MPP} µm, smaller than a region of {side}; take it out")
    step, scale = side // WINDOWS, np.array(source.levels[0]) / slide.size
    corners = np.array([(y, x) for y in range(0, height - side + 1, side) for x in range(0, width - side + 1, side)])
    inner = np.array([(y, x) for y in range(0, WINDOWS * step, step) for x in range(0, WINDOWS * step, step)])
    starts = (corners[:, None] + inner).reshape(-1, 2)
    windows = np.hstack([starts, starts + step]) * np.tile(scale, 2)
    share = find_tissue(AUTO, source, slide, path).touches(windows).reshape(len(corners), -1).mean(axis=1)
    kept = np.flatnonzero((share > 0) & (share >= min(ENOUGH, share.max())))
    return [Tile(name, *map(int, corners[index])) for index in rng.permutation(kept)]
