"""A slide, or a region of it, as an image of the resolution that a model wants: any part of it, read when asked for."""

import math
import numbers

import numpy as np
import scipy.sparse

from cyclic.errors import InputError
from cyclic.inference.stitch import Window
from cyclic.slides.source import Source

# A level may be this much coarser than what is wanted: scanners' steps are 2 or 4 but for a few thousandths.
COARSER = 1.01


class ScaledSlide:
    """The part of a slide within a region, enlarged or shrunk.

    Every pixel has the same value whatever part it is asked for in.

    >>> from cyclic.slides.source import ArraySource
    >>> slide = ScaledSlide(ArraySource(np.zeros((40, 60), np.uint8)), (0, 20, 40, 60), 0.5)
    >>> slide.shape, slide[5:15, 0:20].shape
    ((20, 20, 3), (10, 20, 3))

    Args:
        source: the open slide.
        region: (y1, x1, y2, x2) in px of its finest level, within it.
        factor: pixels here for one of the finest level.

    Attributes:
        shape: (H, W, 3).
        size: (H, W).
        region: as above.
    """

    def __init__(self, source: Source, region: Window, factor: float):
        self._source, self.region = source, region
        sides = (region[2] - region[0], region[3] - region[1])
        height, width = (max(1, round(side * factor)) for side in sides)
        self.shape, self.size = (height, width, 3), (height, width)
        self._level = finest_needed(source, factor)
        # Pixels of the level for one here, and where the first one begins in it.
        steps = source.steps[self._level]
        self._scale = [side / step / ours for side, step, ours in zip(sides, steps, self.size, strict=True)]
        self._start = [corner / step for corner, step in zip(region[:2], steps, strict=True)]

    def __getitem__(self, where: tuple[slice, slice]) -> np.ndarray:
        """Return `[h, w, 3]` uint8 of rows `y1:y2` and columns `x1:x2` within the shape.

        Raises:
            InputError: the slide cannot be read there.
        """
        if self._scale == [1, 1]:
            y, x = (round(start) for start in self._start)
            rows, columns = where
            return self._source.read(self._level, y + rows.start, x + columns.start, y + rows.stop, x + columns.stop)
        (y1, y2, rows), (x1, x2, columns) = (self._weights(axis, part) for axis, part in enumerate(where))
        pixels = self._source.read(self._level, y1, x1, y2, x2).astype(np.float32)
        high = (rows @ pixels.reshape(y2 - y1, -1)).reshape(-1, x2 - x1, 3)
        wide = (columns @ high.transpose(1, 0, 2).reshape(x2 - x1, -1)).reshape(-1, len(high), 3)
        return np.round(wide.transpose(1, 0, 2)).astype(np.uint8)

    def _weights(self, axis: int, part: slice) -> tuple[int, int, scipy.sparse.csr_array]:
        """Return the first and last pixel of the level that a part of an axis needs, and how much of each.

        A weight falls linearly to 0 at the distance of one pixel, of the level or of this slide, whichever is larger:
        bilinear interpolation where pixels are enlarged, and no aliasing where they are shrunk. It is computed from the
        position in the whole, so it is the same in every part.

        Returns:
            First and last pixel, and `[part, pixels]` float32, each row of which adds up to 1.
        """
        scale, last = self._scale[axis], self._source.levels[self._level][axis]
        reach = max(scale, 1.0)
        centres = self._start[axis] + (np.arange(part.start, part.stop) + 0.5) * scale
        first = np.floor(centres - reach).astype(int)
        pixels = first[:, None] + np.arange(math.ceil(2 * reach) + 2)
        weights = np.maximum(0, 1 - np.abs(pixels + 0.5 - centres[:, None]) / reach)
        weights[(pixels < 0) | (pixels >= last)] = 0
        weights /= weights.sum(axis=1, keepdims=True)
        begin, end = max(int(pixels[0, 0]), 0), min(int(pixels[-1, -1]) + 1, last)
        used = weights > 0
        rows = np.nonzero(used)[0]
        matrix = (weights[used].astype(np.float32), (rows, pixels[used] - begin))
        return begin, end, scipy.sparse.csr_array(matrix, shape=(len(centres), end - begin))


class Block:
    """A part of a `ScaledSlide` that is read once, and indexed like the whole.

    Args:
        slide: the whole.
        window: (y1, x1, y2, x2) of the part.
    """

    def __init__(self, slide: ScaledSlide, window: Window):
        y1, x1, y2, x2 = window
        self.shape, self._corner, self._pixels = slide.shape, (y1, x1), slide[y1:y2, x1:x2]

    def __getitem__(self, where: tuple[slice, slice]) -> np.ndarray:
        """Return `[h, w, 3]` uint8 of rows and columns within the part."""
        rows, columns = (
            slice(part.start - corner, part.stop - corner) for part, corner in zip(where, self._corner, strict=True)
        )
        return self._pixels[rows, columns]


def finest_needed(source: Source, factor: float) -> int:
    """Return the coarsest level that is as fine as `factor` pixels for one of the finest level, or nearly so."""
    fine_enough = [level for level, (step, _) in enumerate(source.steps) if COARSER / step >= factor]
    return max(fine_enough, default=0)


def check_region(region: tuple[int, int, int, int] | None, source: Source, name: object) -> Window:
    """Return a region as (y1, x1, y2, x2); the whole slide for None.

    Args:
        region: (x, y, width, height) in px of the finest level.
        source: the slide.
        name: of the slide, in messages.

    Raises:
        InputError: it is no four whole numbers, nothing of it lies in the slide, or it sticks out.
    """
    height, width = source.levels[0]
    if region is None:
        return 0, 0, height, width
    if len(region) != 4 or not all(isinstance(value, numbers.Integral) for value in region):
        raise InputError(f"{name}: region {region!r}; give (x, y, width, height), four whole numbers")
    x, y, w, h = region
    if min(x, y) < 0 or min(w, h) < 1 or x + w > width or y + h > height:
        raise InputError(f"{name}: region {x},{y},{w},{h} is not within its {width} x {height} pixels; give another")
    return y, x, y + h, x + w
