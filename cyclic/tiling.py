"""Overlapping windows that cover an image."""


def tiles(height: int, width: int, tile: int, overlap: int) -> list[tuple[int, int, int, int]]:
    """Cover an image with windows, row by row.

    >>> tiles(10, 20, tile=10, overlap=2)
    [(0, 0, 10, 10), (0, 8, 10, 18), (0, 10, 10, 20)]

    Args:
        height, width: the image in px, at least 1.
        tile: side of a window in px.
        overlap: px that neighbouring windows share at least, in [0, tile).

    Returns:
        (y1, x1, y2, x2) windows. Each is tile x tile, the last ones shifted inwards; along an axis shorter than `tile`
        the window ends with the image, and the caller pads.

    Raises:
        ValueError: a size below 1 or an overlap outside [0, tile).
    """
    if min(height, width, tile) < 1:
        raise ValueError(f"height {height}, width {width}, tile {tile}; each must be at least 1")
    if not 0 <= overlap < tile:
        raise ValueError(f"overlap {overlap} with tile {tile}; it must be at least 0 and below the tile")
    return [
        (y, x, min(y + tile, height), min(x + tile, width))
        for y in _starts(height, tile, overlap)
        for x in _starts(width, tile, overlap)
    ]


def _starts(length: int, tile: int, overlap: int) -> list[int]:
    last = max(length - tile, 0)
    return [*range(0, last, tile - overlap), last]
