"""The nuclei of a chunk in pixels of the slide: what writers are given, one chunk after the other."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from cyclic.inference.export.measure import measure
from cyclic.labels import keep_largest_parts
from cyclic.mrcnn.geometry.resizing import nearest_index
from cyclic.slides.merge import Painted


@dataclass(frozen=True)
class Nuclei:
    """Some nuclei of a slide.

    Attributes:
        labels: `[h, w]` int32, 0 = background, 1..n in descending score.
        numbers: `[n]` int64, their labels in the whole slide, ascending.
        scores: `[n]` float32.
        corner: (y, x) of `labels` in the slide, px of its finest level.
        mpp: micrometres per pixel; None: measure in px.
    """

    labels: np.ndarray
    numbers: np.ndarray
    scores: np.ndarray
    corner: tuple[int, int]
    mpp: float | None = None

    @cached_property
    def measured(self) -> dict[str, np.ndarray]:
        """What `export.measure.measure` returns, with labels of the whole slide; measured once for all writers."""
        return measure(self.labels, self.scores, self.mpp, self.offset) | {"label": self.numbers}

    @property
    def offset(self) -> tuple[int, int]:
        """(x, y) of `labels`, as `inference.export` wants it."""
        return self.corner[1], self.corner[0]


def in_source_pixels(painted: Painted, shape: tuple[int, int], source_shape: tuple[int, int]) -> Painted:
    """Return nuclei in pixels of the source, as `Predictor.predict` brings them back.

    Args:
        painted: nuclei in pixels of the model's resolution.
        shape: (H, W) of all of the slide there.
        source_shape: (H, W) of the same in source pixels.
    """
    if shape == source_shape:
        return painted
    rows, columns = (
        _source_indices(size, source_size, corner, length)
        for size, source_size, corner, length in zip(
            shape, source_shape, painted.corner, painted.labels.shape, strict=True
        )
    )
    labels = painted.labels.take(rows[1], axis=0).take(columns[1], axis=1)
    # Shrinking may leave a thin nucleus in pieces, or no pixel of it.
    return Painted((rows[0], columns[0]), keep_largest_parts(labels), painted.numbers)


def _source_indices(size: int, source_size: int, corner: int, length: int) -> tuple[int, np.ndarray]:
    """Return the first source pixel of a part of an axis, and for all of its source pixels the index in the part."""
    first = max(corner * source_size // size - 1, 0)
    last = min(-(-(corner + length) * source_size // size) + 1, source_size)
    index = nearest_index(source_size, size, first, last) - corner
    inside = np.flatnonzero((index >= 0) & (index < length))
    return first + int(inside[0]) if len(inside) else first, index[inside]


def number_nuclei(
    painted: Painted, labels: np.ndarray, scores: np.ndarray, origin: tuple[int, int], mpp: float | None
) -> Nuclei:
    """Return painted nuclei under their labels of the whole slide.

    Args:
        painted: in px of the region; each has a pixel.
        labels: `[D]` int64, the label of each detection.
        scores: `[D]` float32.
        origin: (y, x) of the region in the slide, px.
        mpp: see `Nuclei`.
    """
    order = np.argsort(labels[painted.numbers])
    new = np.zeros(len(order) + 1, np.int32)
    new[1 + order] = np.arange(1, len(order) + 1)
    numbers = painted.numbers[order]
    corner = painted.corner[0] + origin[0], painted.corner[1] + origin[1]
    return Nuclei(new[painted.labels], labels[numbers], scores[numbers], corner, mpp)
