"""Scores of each class of nuclei, where both label maps say what class a nucleus has."""

import numpy as np

from cyclic.evaluation.matching import Overlaps, contingency, restrict
from cyclic.evaluation.metrics import evaluate_pair


def nucleus_classes(labels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return the class of each nucleus: that of most of its pixels, and the lower one in a tie.

    Args:
        labels: `[H, W]` integer label map, 0 = background.
        classes: `[H, W]` integer class map, 0 = no class.

    Returns:
        `[N]` int64 by ascending label; 0 for a nucleus without a pixel of any class.

    Raises:
        ValueError: unequal shapes, not integer, or negative values.
    """
    overlaps = contingency(labels, classes)
    chosen = np.zeros(len(overlaps.true_ids), np.int64)
    order = np.lexsort((overlaps.cols, -overlaps.intersections, overlaps.rows))
    rows, first = np.unique(overlaps.rows[order], return_index=True)
    chosen[rows] = overlaps.pred_ids[overlaps.cols[order[first]]]
    return chosen


def evaluate_classes(
    true: np.ndarray,
    pred: np.ndarray,
    true_classes: np.ndarray,
    pred_classes: np.ndarray,
    confidence: np.ndarray | None = None,
    iou_threshold: float = 0.5,
    overlaps: Overlaps | None = None,
) -> dict[int, dict[str, float | None]]:
    """Return the metrics of `evaluate_pair` for each class that either side holds, over the nuclei of that class.

    A nucleus predicted with the wrong class is a miss of one class and a false alarm of the other.

    Args:
        true: `[H, W]` integer label map, 0 = background.
        pred: `[H, W]` integer label map of the same image.
        true_classes: `[H, W]` integer class map of `true`, 0 = no class.
        pred_classes: `[H, W]` integer class map of `pred`.
        confidence: `[P]` float of the predicted nuclei by ascending label, or None.
        iou_threshold: see `evaluate_pair`.
        overlaps: `contingency(true, pred)` if it is already there.

    Raises:
        ValueError: see `evaluate_pair` and `nucleus_classes`.
    """
    overlaps = contingency(true, pred) if overlaps is None else overlaps
    of_true, of_pred = nucleus_classes(true, true_classes), nucleus_classes(pred, pred_classes)
    present = np.union1d(of_true, of_pred)
    scores = {}
    for class_ in present[present > 0].tolist():
        part = restrict(overlaps, of_true == class_, of_pred == class_)
        confidence_of_class = None if confidence is None else np.asarray(confidence)[of_pred == class_]
        scores[class_] = evaluate_pair(true, pred, confidence_of_class, iou_threshold, part)
    return scores


def multi_class_pq(per_class: dict[int, dict]) -> float | None:
    """Return mPQ, the mean PQ of the classes in `evaluate_classes`' result; None where there are none.

    PanNuke (Gamper et al. 2020) leaves out classes without a true nucleus, even if some are predicted. Here they count
    0, as one empty side does everywhere.
    """
    return float(np.mean([scores["pq"] for scores in per_class.values()])) if per_class else None
