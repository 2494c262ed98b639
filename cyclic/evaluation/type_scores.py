"""Detection and classification of nuclei paired by their centroids: F_d and F_c of HoVer-Net (Graham et al. 2019).

The figures are those of HoVer-Net's evaluation code: all images are pooled, and centroids are paired by the assignment
of the smallest summed distance, of which pairs farther apart than the radius are dropped.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.optimize
import scipy.spatial

from cyclic.evaluation.classes import nucleus_classes
from cyclic.evaluation.distances import centroids

# Centroids that lie farther apart are of two nuclei: 12 pixels at 40x.
RADIUS_UM = 3.0
# Equation 8: what a pair with the wrong class counts, beside a nucleus without a partner.
WRONG_CLASS, ALONE = 2, 1


class Pairing(NamedTuple):
    """The nuclei of one image by the class that they have; 0 is no class.

    Attributes:
        true, pred: `[M]` int64 classes of both nuclei of each pair.
        lone_true, lone_pred: `[K]` int64 classes of nuclei without a partner.
    """

    true: np.ndarray
    pred: np.ndarray
    lone_true: np.ndarray
    lone_pred: np.ndarray


def pair_by_centroid(
    true: np.ndarray, pred: np.ndarray, true_classes: np.ndarray, pred_classes: np.ndarray, mpp: float
) -> Pairing:
    """Pair true and predicted nuclei whose centroids lie within `RADIUS_UM`, one to one.

    Args:
        true: `[H, W]` integer label map, 0 = background.
        pred: `[H, W]` integer label map of the same image.
        true_classes: `[H, W]` integer class map of `true`, 0 = no class.
        pred_classes: `[H, W]` integer class map of `pred`.
        mpp: micrometres per pixel, over 0.

    Raises:
        ValueError: see `nucleus_classes`.
    """
    of_true, of_pred = nucleus_classes(true, true_classes), nucleus_classes(pred, pred_classes)
    distances = scipy.spatial.distance.cdist(centroids(true), centroids(pred))
    rows, cols = scipy.optimize.linear_sum_assignment(distances)
    near = distances[rows, cols] <= RADIUS_UM / mpp
    rows, cols = rows[near], cols[near]
    return Pairing(of_true[rows], of_pred[cols], np.delete(of_true, rows), np.delete(of_pred, cols))


def detection_scores(pairings: Sequence[Pairing]) -> dict[str, float | None]:
    """Return F1 of detection, and how many pairs have the right class, of all images together.

    >>> one = Pairing(np.array([1, 1, 2]), np.array([1, 2, 2]), np.array([2]), np.array([], int))
    >>> scores = detection_scores([one])
    >>> round(scores["f_d"], 3), round(scores["type_accuracy"], 3)
    (0.857, 0.667)

    Returns:
        `f_d`, 2 TP / (2 TP + FP + FN), 1 without any nucleus; `type_accuracy`, the share of pairs whose classes are
        equal among those with a true class, None without such a pair.
    """
    true, pred, lone_true, lone_pred = _pooled(pairings)
    pairs, nuclei = len(true), 2 * len(true) + len(lone_true) + len(lone_pred)
    known = true > 0
    right = float((true == pred)[known].mean()) if known.any() else None
    return {"f_d": 2 * pairs / nuclei if nuclei else 1.0, "type_accuracy": right}


def class_f(pairings: Sequence[Pairing], class_: int) -> float | None:
    """Return F_c of one class, of all images together; None where neither side has a nucleus of it.

    F_c = 2 TP / (2 TP + 2 FP_c + 2 FN_c + FP_d + FN_d). TP are pairs of this class on both sides. FP_c and FN_c are
    pairs of this class on the predicted or on the true side alone, FP_d and FN_d nuclei of it without a partner. As in
    HoVer-Net's code, pairs of other classes do not count; the paper's equation adds them to TP. A pair whose true
    nucleus has no class is no FP_c.
    """
    true, pred, lone_true, lone_pred = _pooled(pairings)
    both = np.sum((true == class_) & (pred == class_))
    wrong = np.sum((true != class_) & (true > 0) & (pred == class_)) + np.sum((true == class_) & (pred != class_))
    alone = np.sum(lone_true == class_) + np.sum(lone_pred == class_)
    total = 2 * both + WRONG_CLASS * wrong + ALONE * alone
    return float(2 * both / total) if total else None


def _pooled(pairings: Sequence[Pairing]) -> list[np.ndarray]:
    return [np.concatenate(parts) for parts in zip(*pairings, strict=True)]
