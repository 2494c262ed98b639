"""What a slide is to the rest of this room: levels of pixels, read by regions."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from cyclic.errors import InputError
from cyclic.images import as_rgb
from cyclic.resolution import Resolution

INSTALL = "pip install 'cyclic[slides]'"

Shape = tuple[int, int]


class Source(Protocol):
    """An open slide.

    Attributes:
        levels: (H, W) of each level, the finest first.
        steps: (y, x) of each level: pixels of the finest level for one of its own.
        resolution: micrometres per pixel of the finest level.
    """

    levels: list[Shape]
    steps: list[tuple[float, float]]
    resolution: Resolution

    def read(self, level: int, y1: int, x1: int, y2: int, x2: int) -> np.ndarray:
        """Return a region within a level, in its own pixels, `[y2 - y1, x2 - x1, 3]` uint8 RGB.

        Raises:
            InputError: it cannot be read.
        """


class ArraySource:
    """An image that is in memory.

    Args:
        image: whatever `cyclic.images.as_rgb` takes.
        resolution: what is known of it.
    """

    def __init__(self, image: np.ndarray, resolution: Resolution = Resolution(None)):  # noqa: B008
        self._image, self.resolution = as_rgb(image), resolution
        height, width = self._image.shape[:2]
        self.levels, self.steps = [(height, width)], [(1.0, 1.0)]

    def read(self, level: int, y1: int, x1: int, y2: int, x2: int) -> np.ndarray:
        return self._image[y1:y2, x1:x2]


def require(module: str, wanted_by: object, extra: str = INSTALL) -> Any:
    """Return a module of an extra.

    Raises:
        InputError: it is not installed; the message names the command that does it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InputError(f"{wanted_by}: needs {module.split('.')[0]}, which is not installed; {extra}") from error


def steps_of(levels: list[Shape]) -> list[tuple[float, float]]:
    """Return the steps of levels that all show the same.

    Scanners shrink by a whole number and drop what is left over at the border.

    >>> steps_of([(1003, 999), (250, 249), (400, 400)])
    [(1.0, 1.0), (4.0, 4.0), (2.5075, 2.4975)]
    """
    height, width = levels[0]
    return [(_step(height, rows), _step(width, columns)) for rows, columns in levels]


def _step(of_all: int, of_level: int) -> float:
    whole = round(of_all / of_level)
    return float(whole) if abs(of_all / whole - of_level) <= 1 else of_all / of_level


def readable(path: Path, read: Callable[[], np.ndarray]) -> np.ndarray:
    """Return what `read` returns, and say of any error which slide it is of.

    Raises:
        InputError: `read` raised anything.
    """
    try:
        return read()
    except InputError:
        raise
    except Exception as error:  # each decoder raises its own types for a broken file
        text = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: cannot be read ({text}); copy or download it again, or convert it") from error
