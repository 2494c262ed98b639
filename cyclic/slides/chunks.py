"""A slide's tiles, sorted into chunks: a chunk is what is done, stored and never done again.

The tiles are those of an image of the slide's size, wherever chunks begin and end. So chunks change no result.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cyclic.errors import InputError
from cyclic.files import atomic_path
from cyclic.inference.stitch import TileDetections, Window

# (row, column) of a chunk.
Key = tuple[int, int]


class ChunkDetections(NamedTuple):
    """What was found in the tiles of a chunk.

    Attributes:
        numbers: `[tiles]` int64, which tile each is, in the order in which an image's tiles are stitched.
        tiles: one each.
    """

    numbers: np.ndarray
    tiles: list[TileDetections]


def sort_into_chunks(windows: Iterable[Window], side: int) -> dict[Key, list[int]]:
    """Return `{chunk: indices of the windows that start in it}`, chunks row by row.

    >>> sort_into_chunks([(0, 0, 10, 10), (0, 8, 10, 18), (16, 0, 26, 10)], side=16)
    {(0, 0): [0, 1], (1, 0): [2]}
    """
    members: defaultdict[Key, list[int]] = defaultdict(list)
    for index, window in enumerate(windows):
        members[window[0] // side, window[1] // side].append(index)
    return dict(sorted(members.items()))


def extent(windows: Sequence[Window]) -> Window:
    """Return the smallest window around some."""
    corners = np.array(windows)
    y1, x1 = corners[:, :2].min(axis=0).tolist()
    y2, x2 = corners[:, 2:].max(axis=0).tolist()
    return y1, x1, y2, x2


def write_detections(path: Path, found: ChunkDetections) -> None:
    """Write what was found in a chunk, whole or not at all; a mask takes a bit a pixel.

    Raises:
        InputError: the file cannot be written.
    """
    tiles = found.tiles
    masks = [mask for tile in tiles for mask in tile.masks]
    bits = [np.packbits(mask) for mask in masks if mask is not None]
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez(
            file,
            numbers=found.numbers,
            windows=np.array([tile.window for tile in tiles], np.int64).reshape(-1, 4),
            counts=np.array([len(tile.rois) for tile in tiles], np.int64),
            rois=np.concatenate([np.zeros((0, 4), np.int32), *(tile.rois for tile in tiles)]).astype(np.int32),
            scores=np.concatenate([np.zeros(0, np.float32), *(tile.scores for tile in tiles)]).astype(np.float32),
            has_mask=np.array([mask is not None for mask in masks], bool),
            bits=np.concatenate([np.zeros(0, np.uint8), *bits]),
        )


def read_arrays(path: Path, keys: Sequence[str]) -> list[np.ndarray]:
    """Return arrays of an .npz file, whose checksums NumPy compares.

    Raises:
        InputError: the file is damaged or gone.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            return [stored[key] for key in keys]
    except Exception as error:  # zip files, zlib and NumPy's header raise types of their own
        raise InputError(f"{path}: damaged ({error}); remove it, and the same command makes it again") from error


def read_detections(path: Path, with_masks: bool = True) -> ChunkDetections:
    """Return what `write_detections` wrote; without masks, None stands for each. Raises InputError where damaged."""
    keys = ("numbers", "windows", "counts", "rois", "scores", *(("has_mask", "bits") if with_masks else ()))
    numbers, windows, counts, rois, scores, *bits = read_arrays(path, keys)
    masks = _unpack(rois, *bits) if with_masks else [None] * len(rois)
    ends = np.cumsum(counts)
    tiles = [
        TileDetections((y1, x1, y2, x2), rois[start:end], scores[start:end], masks[start:end])
        for (y1, x1, y2, x2), start, end in zip(windows.tolist(), ends - counts, ends, strict=True)
    ]
    return ChunkDetections(numbers, tiles)


def _unpack(rois: np.ndarray, has_mask: np.ndarray, bits: np.ndarray) -> list[np.ndarray | None]:
    masks: list[np.ndarray | None] = []
    start = 0
    for (y1, x1, y2, x2), has in zip(rois.tolist(), has_mask.tolist(), strict=True):
        if not has:
            masks.append(None)
            continue
        height, width = y2 - y1, x2 - x1
        stop = start + -(-height * width // 8)
        mask = np.unpackbits(bits[start:stop], count=height * width).astype(bool).reshape(height, width)
        masks.append(mask)
        start = stop
    return masks
