"""From the detections of all chunks to the nuclei of the slide, as `inference.stitch` and `detect` make them.

Each chunk is painted by itself, and yet no seam shows. Which pixels a detection gets depends on the better ones that it
overlaps, on those that these overlap, and so on: all of them are painted with it, whatever chunk they are of.
Shape shorthand: D detections of the slide, n nuclei of a chunk.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from cyclic.config import DetectionConfig
from cyclic.inference.stitch import suppress
from cyclic.labels import areas, paint_largest_part
from cyclic.slides.chunks import extent
from cyclic.slides.table import DetectionTable, Overlaps


class Painted(NamedTuple):
    """The detections of one file in pixels.

    Attributes:
        corner: (y, x) of the map in the slide, px.
        labels: `[h, w]` int32, 0 = background, k + 1 for detection `numbers[k]`.
        numbers: `[n]` int64, ascending; some may have no pixel.
    """

    corner: tuple[int, int]
    labels: np.ndarray
    numbers: np.ndarray

    def only(self, wanted: np.ndarray) -> "Painted":
        """Return what is left of it where `wanted`, `[D]` bool, is True."""
        kept = wanted[self.numbers]
        new = np.concatenate([[0], np.cumsum(kept) * kept]).astype(np.int32)
        return Painted(self.corner, new[self.labels], self.numbers[kept])


class Merge:
    """The nuclei of a slide.

    Args:
        table: its detections.
        settings: suppression and sizes.

    Attributes:
        kept: `[D]` bool, what is a nucleus.
    """

    def __init__(self, table: DetectionTable, settings: DetectionConfig):
        self.table, self._settings = table, settings
        self._pairs = table.overlaps(settings.mask_iou)
        self._stays, area = self._put_together(table.sizes > 0)
        if settings.max_area_ratio is not None and area.any():
            small = table.sizes <= settings.max_area_ratio * self._median(area)
            if not small.all():
                self._stays, area = self._put_together(small & (table.sizes > 0))
        self.kept = area > 0
        if area.any():
            self.kept &= area >= settings.min_area_share * self._median(area)
        self.kept &= table.scores >= settings.score

    def paint(self) -> Iterator[Painted]:
        """Yield the nuclei of each file that has any."""
        for members in self.table.members:
            painted = self._paint(members, self._stays)
            if painted is not None:
                painted = painted.only(self.kept)
                if len(painted.numbers):
                    yield painted

    def ranking(self) -> np.ndarray:
        """Return the label of each detection, `[D]` int64: nuclei are 1..N in descending score, 0 is none."""
        nuclei = np.flatnonzero(self.kept)
        label = np.zeros(len(self.table), np.int64)
        label[nuclei[np.argsort(-self.table.scores[nuclei], kind="stable")]] = np.arange(1, len(nuclei) + 1)
        return label

    def _put_together(self, candidates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return which detections stay, `[D]` bool, and the pixels that each gets, `[D]` int64."""
        later, better, hides = self._pairs
        stays = suppress(candidates, later[hides], better[hides])
        area = np.zeros(len(self.table), np.int64)
        for members in self.table.members:
            painted = self._paint(members, stays)
            if painted is not None:
                area[painted.numbers] = areas(painted.labels, len(painted.numbers))
        return stays, area

    def _median(self, area: np.ndarray) -> float:
        """Return the median area of the better-scored half, as `stitch.median_area`; `area` is `[D]`, 0 for none."""
        found = np.flatnonzero(area)
        best = found[np.argsort(-self.table.scores[found], kind="stable")]
        return float(np.median(area[best[: (len(best) + 1) // 2]]))

    def _paint(self, members: np.ndarray, stays: np.ndarray) -> Painted | None:
        """Return those of some detections that stay, each where nothing better lies; None if none stays."""
        own = members[stays[members]]
        if len(own) == 0:
            return None
        needed = _with_better(own, self._pairs, stays)
        boxes = self.table.boxes[needed]
        y, x, y_end, x_end = extent(boxes)
        canvas = np.zeros((y_end - y, x_end - x), np.int32)
        for label, (box, mask) in enumerate(zip(boxes.tolist(), self.table.masks(needed), strict=True), 1):
            y1, x1, y2, x2 = box
            paint_largest_part(canvas[y1 - y : y2 - y, x1 - x : x2 - x], mask, label, self._settings.min_area)
        is_own = np.isin(needed, own)
        new = np.concatenate([[0], np.cumsum(is_own) * is_own]).astype(np.int32)
        y1, x1, y2, x2 = extent(boxes[is_own])
        return Painted((y1, x1), new[canvas[y1 - y : y2 - y, x1 - x : x2 - x]], own)


def _with_better(own: np.ndarray, pairs: Overlaps, stays: np.ndarray) -> np.ndarray:
    """Return detections with the better ones that decide what pixels they get, ascending."""
    needed, new = own, own
    while len(new):
        starts, ends = np.searchsorted(pairs.later, new), np.searchsorted(pairs.later, new, side="right")
        better = np.concatenate([pairs.better[a:b] for a, b in zip(starts.tolist(), ends.tolist(), strict=True)])
        new = np.setdiff1d(better[stays[better]], needed)
        needed = np.union1d(needed, new)
    return needed
