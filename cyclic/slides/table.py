"""Every detection of a slide in one table, without its mask: masks stay in the files of the chunks."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cyclic.inference.stitch import collect, intersects, overlaps
from cyclic.inference.window_index import WindowIndex
from cyclic.slides.chunks import read_detections

# Chunks whose masks are in memory: one and the eight around it, from two stages.
IN_MEMORY = 18


class Overlaps(NamedTuple):
    """Which detections share pixels, see `stitch.overlaps`; `[pairs]` each."""

    later: np.ndarray
    better: np.ndarray
    hides: np.ndarray


class _Found(NamedTuple):
    """The detections of one file that count, and the number of the tile that each is of."""

    boxes: np.ndarray
    scores: np.ndarray
    ranks: np.ndarray
    tiles: np.ndarray
    masks: list[np.ndarray]


class DetectionTable:
    """The detections that `stitch` would read, in its order: descending rank.

    D detections, numbered 0 to D - 1. It takes about 60 bytes for each, and the masks of a few chunks.

    Args:
        files: what `write_detections` wrote, a file a chunk and stage.
        windows: all windows of the slide.
        shape: (H, W) of the slide at the model's resolution.
        shape_power: see `stitch`.

    Attributes:
        boxes: `[D, 4]` int32 (y1, x1, y2, x2).
        scores: `[D]` float32.
        sizes: `[D]` int32, pixels of each mask.
        members: for each file the numbers of its detections, ascending.
    """

    def __init__(self, files: Sequence[Path], windows: WindowIndex, shape: tuple[int, int], shape_power: float):
        self._files, self._windows, self._shape = files, windows, shape
        self._masks_of = lru_cache(IN_MEMORY)(lambda file: self._read(file, 0.0).masks)
        parts = [self._read(file, shape_power) for file in range(len(files))]
        counts = [len(part.scores) for part in parts]
        ranks = _joined([part.ranks for part in parts], np.float64)
        order = np.lexsort((_joined([part.tiles for part in parts], np.int64), -ranks))
        self.boxes = _joined([part.boxes for part in parts], np.int32, 4)[order]
        self.scores = _joined([part.scores for part in parts], np.float32)[order]
        sizes = [np.array([np.count_nonzero(mask) for mask in part.masks], np.int32) for part in parts]
        self.sizes = _joined(sizes, np.int32)[order]
        self._file = np.repeat(np.arange(len(files)), counts)[order]
        self._place = _joined([np.arange(count) for count in counts], np.int64)[order]
        by_file = np.argsort(self._file, kind="stable")
        self.members = np.split(by_file, np.cumsum(counts)[:-1]) if counts else []

    def __len__(self) -> int:
        return len(self.scores)

    def masks(self, numbers: np.ndarray) -> list[np.ndarray]:
        """Return the masks of detections, bool arrays of their boxes' sizes."""
        files = self._file[numbers]
        # Each file once: detections of several files come in any order.
        masks_of = {file: self._masks_of(file) for file in np.unique(files).tolist()}
        return [
            masks_of[file][place] for file, place in zip(files.tolist(), self._place[numbers].tolist(), strict=True)
        ]

    def overlaps(self, mask_iou: float) -> Overlaps:
        """Return which detections share pixels, of all files; sorted by the later one, then the better one."""
        extents = np.array([self._extent(members) for members in self.members]).reshape(-1, 4)
        parts = []
        for members, reach in zip(self.members, extents, strict=True):
            if len(members):
                around = [self.members[file] for file in np.flatnonzero(intersects(reach, extents))]
                near = np.sort(np.concatenate(around))
                parts.append(self._overlaps_of(members, near[intersects(reach, self.boxes[near])], mask_iou))
        later = _joined([part.later for part in parts], np.int64)
        better = _joined([part.better for part in parts], np.int64)
        hides = _joined([part.hides for part in parts], bool)
        order = np.lexsort((better, later))
        return Overlaps(later[order], better[order], hides[order])

    def _overlaps_of(self, members: np.ndarray, near: np.ndarray, mask_iou: float) -> Overlaps:
        """Return the pairs among `near` whose later one is a member."""
        own = np.isin(near, members, assume_unique=True)
        later, better, hides = overlaps(self.boxes[near], self.masks(near), self.sizes[near], mask_iou, own)
        return Overlaps(near[later], near[better], hides)

    def _extent(self, members: np.ndarray) -> np.ndarray:
        if len(members) == 0:
            return np.zeros(4, np.int64)
        boxes = self.boxes[members]
        return np.concatenate([boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)])

    def _read(self, file: int, shape_power: float) -> _Found:
        numbers, tiles = read_detections(self._files[file])
        found = [collect([tile], self._shape, shape_power, self._windows.near(tile.window)) for tile in tiles]
        return _Found(
            _joined([boxes for boxes, _, _, _ in found], np.int32, 4),
            _joined([scores for _, scores, _, _ in found], np.float32),
            _joined([ranks for _, _, ranks, _ in found], np.float64),
            np.repeat(numbers, [len(scores) for _, scores, _, _ in found]),
            [mask for _, _, _, masks in found for mask in masks],
        )


def _joined(parts: Sequence[np.ndarray], kind: Any, *columns: int) -> np.ndarray:
    """Return arrays one after the other, as one of type `kind`; there may be none."""
    return np.concatenate([np.zeros((0, *columns), kind), *parts]).astype(kind)
