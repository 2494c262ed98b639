"""TIFF files that tifffile reads by regions: OME-TIFF, and those in a layout or compression that OpenSlide lacks."""

from pathlib import Path

import numpy as np
import tifffile

from cyclic.errors import InputError
from cyclic.files import only_picture
from cyclic.images import as_rgb, check_channels, order_axes, stretch
from cyclic.resolution import read_resolution
from cyclic.slides.source import Shape, readable, require, steps_of

# A level of fewer values is read whole, and once: a strip of it is as wide as the picture.
WHOLE_VALUES = 3 * 2048 * 2048
RGB, GREY = (tifffile.PHOTOMETRIC.RGB, tifffile.PHOTOMETRIC.YCBCR), tifffile.PHOTOMETRIC.MINISBLACK


def needs_openslide(path: Path) -> bool:
    """Return whether a TIFF is a scanner's own, or a pyramid of pages, which OpenSlide knows how to put together.

    Raises:
        InputError: no TIFF.
    """
    try:
        with tifffile.TiffFile(path) as tiff:
            if tiff.is_ome or not tiff.pages.first.is_tiled:
                return False
    except Exception as error:  # tifffile raises what it comes across
        raise InputError(f"{path}: not a readable TIFF ({error}); copy or download it again") from error
    try:
        import openslide
    except ImportError:
        return False
    try:
        openslide.OpenSlide(path).close()
    except openslide.OpenSlideError:  # a compression that OpenSlide lacks
        return False
    return True


class TiffSource:
    """A TIFF that tifffile reads.

    Args:
        path: the file.

    Raises:
        InputError: it is broken, or no picture in colour or grey.
    """

    def __init__(self, path: Path):
        self._path = path
        try:
            self._tiff = tifffile.TiffFile(path)
            levels = only_picture(self._tiff, path).levels
            page = levels[0].keyframe
        except InputError:
            raise
        except Exception as error:  # tifffile raises what it comes across
            raise InputError(f"{path}: not a readable TIFF ({error}); copy or download it again") from error
        if page.photometric not in (*RGB, GREY):
            name = getattr(page.photometric, "name", page.photometric)
            raise InputError(f"{path}: colours are stored as {name}; export it as RGB")
        sides = dict(zip(levels[0].axes, levels[0].shape, strict=True))
        check_channels(page, sides.get("S", 1) * sides.get("C", 1), path)
        self._page = page
        self._axes = [level.axes for level in levels]
        self.levels: list[Shape] = [
            (level.shape[level.axes.index("Y")], level.shape[level.axes.index("X")]) for level in levels
        ]
        self.steps = steps_of(self.levels)
        self.resolution = read_resolution(path)
        self._arrays = [self._open(level) for level in levels]

    def _open(self, level: tifffile.TiffPageSeries):
        """Return a level as an array that is read by slices."""
        if level.size < WHOLE_VALUES:
            return readable(self._path, level.asarray)
        zarr = require("zarr", self._path)
        return zarr.open(level.aszarr(), mode="r")

    def read(self, level: int, y1: int, x1: int, y2: int, x2: int) -> np.ndarray:
        axes, array = self._axes[level], self._arrays[level]
        where = tuple({"Y": slice(y1, y2), "X": slice(x1, x2)}.get(axis, slice(None)) for axis in axes)
        pixels = readable(self._path, lambda: np.asarray(array[where]))
        pixels = order_axes(pixels, axes, self._path)
        # Beyond three channels a slide has no transparency, but what a converter added.
        pixels = stretch(pixels if pixels.ndim == 2 else pixels[..., :3], self._page)
        return as_rgb(pixels, str(self._path))
