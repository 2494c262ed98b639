"""Finds the windows near a box, in time that does not grow with the number of windows: a slide has 100,000 of them."""

from collections import defaultdict
from collections.abc import Iterable, Iterator

import numpy as np

from cyclic.inference.stitch import Window, intersects


class WindowIndex:
    """Windows, sorted into square cells.

    >>> index = WindowIndex(100, [(0, 0, 100, 100), (0, 80, 100, 180), (900, 0, 1000, 100)])
    >>> index.near(np.array([10, 120, 20, 130])).tolist()
    [[0, 80, 100, 180]]

    Args:
        cell: side of a cell in px, best that of the windows.
        windows: the first ones (y1, x1, y2, x2).
    """

    def __init__(self, cell: int, windows: Iterable[Window] = ()):
        self._cell, self._windows = cell, list[Window]()
        self._in_cell: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
        self.extend(windows)

    def extend(self, windows: Iterable[Window]) -> None:
        """Add windows."""
        for window in windows:
            for key in self._cells(window):
                self._in_cell[key].append(len(self._windows))
            self._windows.append(window)

    def near(self, box: np.ndarray | Window) -> np.ndarray:
        """Return the windows that share pixels with a box (y1, x1, y2, x2), `[n, 4]` int64, in the order they came."""
        found = sorted({number for key in self._cells(box) for number in self._in_cell.get(key, ())})
        windows = np.array([self._windows[number] for number in found], np.int64).reshape(-1, 4)
        return windows[intersects(np.asarray(box), windows)]

    def _cells(self, box: np.ndarray | Window) -> Iterator[tuple[int, int]]:
        y1, x1, y2, x2 = (int(side) for side in box)
        for row in range(y1 // self._cell, (y2 - 1) // self._cell + 1):
            for column in range(x1 // self._cell, (x2 - 1) // self._cell + 1):
                yield row, column
