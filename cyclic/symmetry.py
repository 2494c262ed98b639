"""The eight flips and turns that map a square onto itself."""

import numpy as np

# (quarter turns, flipped): take the first two, four or all eight.
SYMMETRIES = ((0, False), (2, True), (1, True), (3, False), (2, False), (0, True), (1, False), (3, True))


def transform(array: np.ndarray, turns: int, flipped: bool) -> np.ndarray:
    """Return `array` (`[H, W, ...]`) mirrored from left to right if `flipped`, then turned; contiguous.

    A quarter turn, counter-clockwise, swaps H and W of an oblong array.

    >>> transform(np.array([[1, 2], [3, 4]]), 1, True).tolist()
    [[1, 3], [2, 4]]
    """
    return np.ascontiguousarray(np.rot90(array[:, ::-1] if flipped else array, turns))


def restore(array: np.ndarray, turns: int, flipped: bool) -> np.ndarray:
    """Return the array that `transform` made `array` of, contiguous.

    >>> restore(transform(np.array([[1, 2, 3]]), 1, True), 1, True).tolist()
    [[1, 2, 3]]
    """
    turned = np.rot90(array, -turns)
    return np.ascontiguousarray(turned[:, ::-1] if flipped else turned)
