"""Tiles of slides for a person to answer: cut where tissue is, at the resolution of a training."""

import warnings
from pathlib import Path

import numpy as np

from cyclic.datasets.tile_folder import CLASSES
from cyclic.datasets.tile_grid import UNSORTED
from cyclic.datasets.tile_writing import Tile, TileCounts, count_files, find_cut, write_tiles
from cyclic.errors import InputError
from cyclic.runs.progress import Progress
from cyclic.slides.finding import find_slides
from cyclic.slides.opening import open_source
from cyclic.slides.resolution import bring_to, known_mpp
from cyclic.slides.scaled import ScaledSlide
from cyclic.slides.source import Source
from cyclic.slides.tissue import AUTO, find_tissue
from cyclic.tiling import flush_starts

# Micrometres per pixel of the tiles: the default of a training.
MPP = 0.25
# A slide has a million tiles, and nobody answers as many.
COUNT = 1000


class SlideImages:
    """Slides at one resolution, which `write_tiles` reads tile by tile.

    Args:
        paths: `{name: slide}`.
        stated: those of all slides; None: what each file says.

    Attributes:
        ids: names of the slides.
    """

    def __init__(self, paths: dict[str, Path], stated: float | None):
        self.ids, self._paths, self._stated = list(paths), paths, stated

    def open(self, name: str) -> tuple[Source, ScaledSlide]:
        """Return a slide as it is, and at the resolution of the tiles. Raises InputError if it cannot be read."""
        path = self._paths[name]
        source = open_source(path)
        mpp = known_mpp(path, self._stated, source.resolution, MPP)
        height, width = source.levels[0]
        return source, ScaledSlide(source, (0, 0, height, width), bring_to(path, mpp, MPP))

    def image(self, name: str) -> np.ndarray:
        """Return what is indexed like the image, `[H, W, 3]` uint8."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # said when the tiles were chosen
            return self.open(name)[1]  # type: ignore[return-value]

    def place(self, tile: Tile, size: int) -> dict[str, str | int]:
        """Return where a square of a slide lies, in px of the finest level: `slide`, `y`, `x`, `height`, `width`."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # as above
            source, slide = self.open(tile.image_id)
        scale = np.array(source.levels[0]) / slide.size
        (y, x), (height, width) = (np.round(np.array(pair) * scale) for pair in ((tile.y, tile.x), (size, size)))
        numbers = {"y": y, "x": x, "height": height, "width": width}
        return {"slide": self._paths[tile.image_id].name, **{key: int(value) for key, value in numbers.items()}}

    def tissue_tiles(self, name: str, size: int) -> list[Tile]:
        """Return the tiles of a slide that hold tissue, side by side."""
        source, slide = self.open(name)
        height, width = slide.size
        if min(height, width) < size:
            raise InputError(
                f"{self._paths[name]}: {height} x {width} pixels, smaller than a tile; choose a smaller size"
            )
        corners = [(y, x) for y in flush_starts(height, size, size) for x in flush_starts(width, size, size)]
        scale = [of_source / ours for of_source, ours in zip(source.levels[0], slide.size, strict=True)]
        windows = np.array([(y, x, y + size, x + size) for y, x in corners]) * np.tile(scale, 2)
        touched = find_tissue(AUTO, source, slide, self._paths[name]).touches(windows)
        return [Tile(name, *corners[index]) for index in np.flatnonzero(touched)]


def cut_tissue_tiles(
    slides: str | Path, out: str | Path, size: int, stated: float | None = None, count: int | None = None, seed: int = 0
) -> TileCounts:
    """Cut tissue of slides into `out/unsorted/<name>_<y>_<x>.png`, as `datasets.tile_grid.cut_unsorted` does images.

    Args:
        slides: a slide or a folder of slides.
        out: folder to write to.
        size: height and width of a tile, px of 0.25 µm. y and x count in such pixels.
        stated: micrometres per pixel of all slides; None: what each file says.
        count: cut at most this many, at random over all slides; None: 1000.
        seed: seed of that choice.

    Raises:
        InputError: no slide, one that cannot be read, no tissue, or `out` holds other tiles or can't be written.
    """
    out, folders, paths = Path(out), (UNSORTED, *CLASSES), find_slides(slides)
    count = COUNT if count is None else count
    settings = {"size": size, "mpp": MPP, "seed": seed, "count": count, "slides": list(paths), "stated": stated}
    reused = find_cut(out, folders, settings) is not None
    if not reused:
        images = SlideImages(paths, stated)
        with Progress() as progress:
            named = progress.track(images.ids, "find tissue in slides")
            tiles = [tile for name in named for tile in images.tissue_tiles(name, size)]
        if not tiles:
            raise InputError(f"{slides}: no tissue found; choose other slides")
        if count < len(tiles):
            chosen = np.random.default_rng(seed).choice(len(tiles), count, replace=False)
            tiles = [tiles[index] for index in np.sort(chosen)]
        write_tiles(images, {UNSORTED: tiles}, out, size, {"settings": settings, "counts": {UNSORTED: len(tiles)}})
    found = count_files(out, folders)
    return TileCounts(found["positive"], found["negative"], reused, found[UNSORTED])
