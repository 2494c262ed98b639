"""Where windows start that cover an image: along one axis, and as whole windows.

What the three tilings have in common is that no pixel is left out; they differ in what happens at the border.
"""

import math

import numpy as np

# An odd side enlarged 1.5 times would not be whole.
GRAIN = 16


def flush_starts(length: int, size: int, stride: int) -> list[int]:
    """Return the starts of windows at every `stride` pixels, the last one flush with the end.

    Along an axis shorter than a window there is one window, which sticks out.

    >>> flush_starts(20, size=10, stride=8)
    [0, 8, 10]
    >>> flush_starts(5, size=10, stride=8)
    [0]
    """
    last = max(length - size, 0)
    return [*range(0, last, stride), last]


def even_starts(length: int, size: int, overlap: int) -> list[int]:
    """Return the starts of evenly spaced windows that share at least `overlap` pixels; the axis holds one or more.

    >>> even_starts(30, size=10, overlap=2)
    [0, 7, 13, 20]
    """
    count = 1 + max(0, math.ceil((length - size) / (size - overlap)))
    return np.linspace(0, length - size, count).round().astype(int).tolist()


def smallest_tile(length: int, size: int, overlap: int) -> int:
    """Return the side of the smallest tiles that cover an axis in as few tiles as those of side `size` do.

    Larger ones would only share more pixels, and take more time. It is a multiple of `GRAIN`, or `size` itself.

    >>> smallest_tile(1000, size=576, overlap=64), smallest_tile(400, size=576, overlap=64)
    (544, 400)
    """
    count = max(1, math.ceil((length - overlap) / (size - overlap)))
    least = max(1, math.ceil((length - overlap) / count)) + overlap
    return min(size, math.ceil(least / GRAIN) * GRAIN)


def cover_with_windows(height: int, width: int, size: int, overlap: int) -> list[tuple[int, int, int, int]]:
    """Cover an image with windows, row by row.

    >>> cover_with_windows(10, 20, size=10, overlap=2)
    [(0, 0, 10, 10), (0, 8, 10, 18), (0, 10, 10, 20)]

    Args:
        height, width: the image in px, at least 1.
        size: side of a window in px.
        overlap: px that neighbouring windows share at least, in [0, size).

    Returns:
        (y1, x1, y2, x2) windows. Each is size x size, the last ones shifted inwards; along an axis shorter than `size`
        the window ends with the image, and the caller pads.

    Raises:
        ValueError: a size below 1 or an overlap outside [0, size).
    """
    if min(height, width, size) < 1:
        raise ValueError(f"height {height}, width {width}, tile {size}; each must be at least 1")
    if not 0 <= overlap < size:
        raise ValueError(f"overlap {overlap} with tile {size}; it must be at least 0 and below the tile")
    return [
        (y, x, min(y + size, height), min(x + size, width))
        for y in flush_starts(height, size, size - overlap)
        for x in flush_starts(width, size, size - overlap)
    ]
