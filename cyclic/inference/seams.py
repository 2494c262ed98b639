"""Windows of their own for nuclei where tiles meet that are larger than the tiles' overlap: no tile sees them whole."""

from collections.abc import Iterable

import numpy as np

from cyclic.inference.stitch import EDGE_PX, TileDetections, Window, boxes_in_image, depth
from cyclic.inference.window_index import WindowIndex

# A detection lies at least this share of a window's side from the window's edges, if the image has the room.
MARGIN = 1 / 8
# Windows grow from the tile's side to twice that, or to this many px: several times the largest nuclei known.
LARGEST = 512


def seam_sides(tile: int) -> list[int]:
    """Return the sides of windows to try one after the other.

    >>> seam_sides(256), seam_sides(100)
    ([256, 512], [100, 200, 400])
    """
    sides = [tile, 2 * tile]
    while 2 * sides[-1] <= LARGEST:
        sides.append(2 * sides[-1])
    return sides


def seam_windows(
    tiles: Iterable[TileDetections], shape: tuple[int, int], side: int, windows: WindowIndex | None = None
) -> list[Window]:
    """Return windows that show more of each detection that its tile cuts, where no tile shows more of it already.

    A detection shorter than the overlap lies within the neighbouring tile, so it needs no window.

    Args:
        tiles: what was found in the tiles, and in the windows of smaller sides; masks are not read.
        shape: (H, W) of the image.
        side: of a window in px. What is too large for it gets none.
        windows: of all tiles; None: `tiles` are a list, and they are all.

    Returns:
        Windows (y1, x1, y2, x2) of one size: `side`, or the image's where that is smaller.
    """
    if windows is None:
        tiles = list(tiles)
        windows = WindowIndex(side, [tile.window for tile in tiles])
    chosen: list[Window] = []
    chosen_index = WindowIndex(side)
    room = np.where(np.array(shape) > side, side * (1 - 2 * MARGIN), np.inf)
    for tile in tiles:
        for box in _cut_everywhere(tile, windows, shape):
            if (box[2:] - box[:2] <= room).all() and not _is_within(box, chosen_index.near(box), shape):
                chosen.append(_window_around(box, tile.window, shape, side))
                chosen_index.extend(chosen[-1:])
    return chosen


def _cut_everywhere(tile: TileDetections, windows: WindowIndex, shape: tuple[int, int]) -> list[np.ndarray]:
    """Return the boxes of a tile, px of the image, that its inner edges cut and that lie within no other window."""
    own = np.array(tile.window)
    boxes = boxes_in_image(tile.rois, tile.window)
    boxes = boxes[(boxes[:, 2:] > boxes[:, :2]).all(axis=1)]
    cut = boxes[depth(boxes[:, :2], boxes[:, 2:], own[None], shape)[:, 0] <= EDGE_PX]
    if len(cut) == 0:
        return []
    near = windows.near(own)
    return [box for box in cut if not _is_within(box, near, shape)]


def _is_within(box: np.ndarray, windows: np.ndarray, shape: tuple[int, int]) -> bool:
    return len(windows) > 0 and bool(depth(box[None, :2], box[None, 2:], windows, shape).max() > EDGE_PX)


def _window_around(box: np.ndarray, tile: Window, shape: tuple[int, int], side: int) -> Window:
    """Return the window that holds a box and leaves most room beyond the edges of its tile that cut it."""
    starts, ends = [], []
    for axis in (0, 1):
        low, high = int(box[axis]), int(box[axis + 2])
        first_cut = tile[axis] > 0 and low <= tile[axis] + EDGE_PX
        last_cut = tile[axis + 2] < shape[axis] and high >= tile[axis + 2] - EDGE_PX
        if first_cut == last_cut:
            start = (low + high - side) // 2
        elif last_cut:
            start = low - int(side * MARGIN)
        else:
            start = high + int(side * MARGIN) - side
        start = min(max(start, 0), max(shape[axis] - side, 0))
        starts.append(start)
        ends.append(min(start + side, shape[axis]))
    return starts[0], starts[1], ends[0], ends[1]
