"""Which true nucleus overlaps which predicted one, by how much, and who belongs to whom.

Shape shorthand: T true nuclei, P predicted nuclei, K overlapping (true, predicted) pairs.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import scipy.optimize
import scipy.sparse


class Overlaps(NamedTuple):
    """The sparse contingency table of two label maps. Nuclei are numbered by ascending id.

    Attributes:
        true_ids: `[T]` labels of the true nuclei, ascending.
        pred_ids: `[P]` labels of the predicted nuclei, ascending.
        true_areas: `[T]` int64 pixels.
        pred_areas: `[P]` int64 pixels.
        rows: `[K]` int64 indices into `true_ids`; the pairs are sorted by (row, column).
        cols: `[K]` int64 indices into `pred_ids`.
        intersections: `[K]` int64 pixels, all > 0.
    """

    true_ids: np.ndarray
    pred_ids: np.ndarray
    true_areas: np.ndarray
    pred_areas: np.ndarray
    rows: np.ndarray
    cols: np.ndarray
    intersections: np.ndarray

    @property
    def unions(self) -> np.ndarray:
        """`[K]` int64 pixels in either nucleus of each pair."""
        return self.true_areas[self.rows] + self.pred_areas[self.cols] - self.intersections

    @property
    def ious(self) -> np.ndarray:
        """`[K]` float64 in (0, 1]."""
        return self.intersections / self.unions


class Matching(NamedTuple):
    """One-to-one pairs of nuclei.

    Attributes:
        pairs: `[M]` int64 indices into the K pairs of the `Overlaps`.
        ious: `[M]` float64 IoU of those pairs.
        tp, fp, fn: matched pairs, predictions without a partner, true nuclei without a partner.
    """

    pairs: np.ndarray
    ious: np.ndarray
    tp: int
    fp: int
    fn: int


def contingency(true: np.ndarray, pred: np.ndarray) -> Overlaps:
    """Count the pixels of every nucleus and of every overlapping pair.

    Only runs of equal (true, pred) are sorted, so the cost grows with the pixels and the outlines. The number of nuclei
    and the gaps between their ids do not matter.

    Args:
        true: `[H, W]` integer or bool, 0 = background, labels positive and not necessarily contiguous.
        pred: the same.

    Raises:
        ValueError: different shapes, not integer, or negative labels.
    """
    check_label_maps(true, pred)
    true, pred = true.ravel(), pred.ravel()
    change = np.flatnonzero((true[1:] != true[:-1]) | (pred[1:] != pred[:-1])) + 1
    starts = np.concatenate([np.zeros(min(true.size, 1), np.int64), change])
    lengths = np.diff(np.append(starts, true.size))

    true_ids, true_areas, rows = _count(true[starts], lengths)
    pred_ids, pred_areas, cols = _count(pred[starts], lengths)
    both = (rows >= 0) & (cols >= 0)
    keys, key_index = np.unique(rows[both] * max(len(pred_ids), 1) + cols[both], return_inverse=True)
    intersections = np.bincount(key_index, lengths[both], len(keys)).astype(np.int64)
    rows, cols = np.divmod(keys, max(len(pred_ids), 1))
    return Overlaps(true_ids, pred_ids, true_areas, pred_areas, rows, cols, intersections)


def check_label_maps(true: np.ndarray, pred: np.ndarray) -> None:
    """Raise ValueError unless both are `[H, W]`, integer or bool without negative labels, and of one shape."""
    for name, labels in (("true", true), ("pred", pred)):
        if not (np.issubdtype(labels.dtype, np.integer) or labels.dtype == bool):
            raise ValueError(f"{name} has dtype {labels.dtype}; a label map holds integers")
        if labels.ndim != 2:
            raise ValueError(f"{name} has shape {labels.shape}; a label map is H x W")
        if labels.size and labels.min() < 0:
            raise ValueError(f"{name} has the negative label {labels.min()}; 0 is background, nuclei are positive")
    if true.shape != pred.shape:
        raise ValueError(f"true has shape {true.shape}, pred {pred.shape}; both must show the same image")


def restrict(overlaps: Overlaps, keep_true: np.ndarray, keep_pred: np.ndarray) -> Overlaps:
    """Return the table of some of the nuclei, such as those of one class, without reading the pixels again.

    Args:
        overlaps: the table of all nuclei.
        keep_true: `[T]` bool.
        keep_pred: `[P]` bool.
    """
    kept = keep_true[overlaps.rows] & keep_pred[overlaps.cols]
    return Overlaps(
        overlaps.true_ids[keep_true],
        overlaps.pred_ids[keep_pred],
        overlaps.true_areas[keep_true],
        overlaps.pred_areas[keep_pred],
        (np.cumsum(keep_true) - 1)[overlaps.rows[kept]],
        (np.cumsum(keep_pred) - 1)[overlaps.cols[kept]],
        overlaps.intersections[kept],
    )


def _count(labels: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return ids > 0, their pixels, and the index of the id of each run, -1 for background."""
    ids, index = np.unique(labels, return_inverse=True)
    areas = np.bincount(index, lengths, len(ids)).astype(np.int64)
    background = int(len(ids) > 0 and ids[0] == 0)
    return ids[background:], areas[background:], index - background


def match(overlaps: Overlaps, iou_threshold: float = 0.5) -> Matching:
    """Pair true and predicted nuclei one to one by IoU > `iou_threshold`.

    At 0.5 and above no nucleus can have two such partners (Kirillov et al. 2019, Panoptic Segmentation, section 4.1),
    so the pairs over the threshold are the matching. Below 0.5 it is the assignment with the largest sum of IoU among
    these pairs (Munkres).

    Below 0.5 other programs may differ where nuclei compete for partners. HoVer-Net assigns first and drops pairs under
    the threshold afterwards. cellseg-metrics takes as many pairs as possible before it looks at IoU.

    >>> true = np.array([[1, 1, 1, 0, 2, 2, 0, 3]])
    >>> pred = np.array([[7, 7, 0, 0, 0, 9, 9, 0]])
    >>> matching = match(contingency(true, pred))
    >>> matching.tp, matching.fp, matching.fn
    (1, 1, 2)
    >>> match(contingency(true, pred), iou_threshold=0.3).ious.round(3).tolist()
    [0.667, 0.333]

    Raises:
        ValueError: `iou_threshold` outside [0, 1).
    """
    if not 0 <= iou_threshold < 1:
        raise ValueError(f"iou_threshold is {iou_threshold}; it must be at least 0 and below 1")
    ious = overlaps.ious
    pairs = np.flatnonzero(ious > iou_threshold)
    if iou_threshold < 0.5:
        pairs = pairs[_assign(overlaps.rows[pairs], overlaps.cols[pairs], ious[pairs])]
    tp = len(pairs)
    return Matching(pairs, ious[pairs], tp, len(overlaps.pred_ids) - tp, len(overlaps.true_ids) - tp)


def median_area_ratio(pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> float | None:
    """Return the median of predicted over true area of the nuclei that match (IoU over 0.5), of all images together.

    >>> true = np.array([[1, 1, 1, 1, 0, 2, 0]])
    >>> pred = np.array([[5, 5, 5, 5, 5, 0, 7]])
    >>> median_area_ratio([(true, pred)])
    1.25

    Args:
        pairs: of each image the true and the predicted label map, `[H, W]` integer, 0 = background.

    Returns:
        The ratio, over 0; None where no nucleus matches.

    Raises:
        ValueError: the two of a pair are no label maps of one shape.
    """
    ratios = [np.zeros(0)]
    for true, pred in pairs:
        overlaps = contingency(true, pred)
        found = match(overlaps).pairs
        ratios.append(overlaps.pred_areas[overlaps.cols[found]] / overlaps.true_areas[overlaps.rows[found]])
    every = np.concatenate(ratios)
    return float(np.median(every)) if len(every) else None


def _assign(rows: np.ndarray, cols: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the pairs of the one-to-one assignment with the largest sum of `weights` (> 0), indices ascending.

    Nuclei in different connected groups are independent, so each group is a small problem of its own.
    """
    if not len(rows):
        return np.zeros(0, np.int64)
    n_rows, n_cols = rows.max() + 1, cols.max() + 1
    graph = scipy.sparse.coo_array((weights, (rows, n_rows + cols)), shape=(n_rows + n_cols,) * 2)
    _, group_of_node = scipy.sparse.csgraph.connected_components(graph, directed=False)
    group = group_of_node[rows]
    order = np.argsort(group, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(group[order])) + 1)
    chosen = [_assign_group(rows[members], cols[members], weights[members], members) for members in groups]
    return np.sort(np.concatenate(chosen))


def _assign_group(rows: np.ndarray, cols: np.ndarray, weights: np.ndarray, members: np.ndarray) -> np.ndarray:
    if len(members) == 1:
        return members
    row_ids, r = np.unique(rows, return_inverse=True)
    col_ids, c = np.unique(cols, return_inverse=True)
    table = np.zeros((len(row_ids), len(col_ids)))
    table[r, c] = weights
    pair = np.full(table.shape, -1)
    pair[r, c] = members
    picked = pair[scipy.optimize.linear_sum_assignment(table, maximize=True)]
    return picked[picked >= 0]
