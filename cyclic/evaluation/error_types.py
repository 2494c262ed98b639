"""Where the score is lost: what became of each true nucleus, and what each prediction is.

There is one taxonomy with two levels. The first has the kinds that pictures and the report show:

- a true nucleus is "hit", "merged", "split" or "missed";
- a prediction is "hit", "merged", "split" or "false".

The second level says how a nucleus was missed and why a prediction is false. `find_errors` gives the first level of
each nucleus, `error_types` the shares of both.
"""

from typing import NamedTuple

import numpy as np

from cyclic.evaluation.matching import Overlaps, match

# A nucleus with at most this share of its pixels in predictions was not seen at all.
UNSEEN = 0.1
# An unmatched pair over this IoU shows the same nucleus with another outline.
INEXACT_IOU = 0.3
# A prediction with more than this share of its pixels outside every nucleus lies in the background.
BACKGROUND = 0.8


class Errors(NamedTuple):
    """The first level of the taxonomy.

    Attributes:
        of_true: `[T]` strings out of "hit", "merged", "split", "missed", by ascending label.
        of_pred: `[P]` strings out of "hit", "merged", "split", "false", by ascending label.
        counts: how many there are of each kind. "missed" and "split" count true nuclei; "hit", "false" and "merged"
            count predictions.
    """

    of_true: np.ndarray
    of_pred: np.ndarray
    counts: dict[str, int]


def find_errors(overlaps: Overlaps) -> Errors:
    """Say what became of each true nucleus and what each prediction is.

    A pair with IoU > 0.5 is a hit. Of the rest:

    - a prediction that holds most of two or more true nuclei merges them;
    - a true nucleus that holds most of two or more predictions is split into them;
    - any other nucleus is missed, any other prediction is false.

    One piece of a split nucleus may match it. Then the nucleus is a hit and its other pieces are "split". The same
    holds for a prediction that merges nuclei and matches one of them.

    >>> from cyclic.evaluation.matching import contingency
    >>> true = np.array([[1, 1, 0, 2, 2, 3, 3, 0, 4, 4]])
    >>> pred = np.array([[1, 1, 0, 2, 2, 2, 2, 0, 0, 0]])
    >>> errors = find_errors(contingency(true, pred))
    >>> errors.of_true.tolist(), errors.of_pred.tolist()
    (['hit', 'merged', 'merged', 'missed'], ['hit', 'merged'])
    >>> errors.counts
    {'hit': 1, 'missed': 1, 'false': 0, 'merged': 1, 'split': 0}

    Args:
        overlaps: of the true and the predicted label map.
    """
    of_true = np.full(len(overlaps.true_ids), "missed", dtype="<U6")
    of_pred = np.full(len(overlaps.pred_ids), "false", dtype="<U6")

    swallowed = 2 * overlaps.intersections > overlaps.true_areas[overlaps.rows]
    merging = np.bincount(overlaps.cols[swallowed], minlength=len(of_pred)) >= 2
    of_pred[merging] = "merged"
    of_true[overlaps.rows[swallowed & merging[overlaps.cols]]] = "merged"

    piece = 2 * overlaps.intersections > overlaps.pred_areas[overlaps.cols]
    splitting = np.bincount(overlaps.rows[piece], minlength=len(of_true)) >= 2
    of_true[splitting] = "split"
    of_pred[overlaps.cols[piece & splitting[overlaps.rows]]] = "split"

    hits = match(overlaps).pairs
    of_true[overlaps.rows[hits]] = "hit"
    of_pred[overlaps.cols[hits]] = "hit"

    counted = {"hit": of_pred, "missed": of_true, "false": of_pred, "merged": of_pred, "split": of_true}
    counts = {kind: int(np.count_nonzero(kinds == kind)) for kind, kinds in counted.items()}
    return Errors(of_true, of_pred, counts)


def error_types(overlaps: Overlaps) -> dict[str, float]:
    """Return the shares of true nuclei and of predictions of each kind.

    `hit`, `merged` and `split` are those of `find_errors`. A missed nucleus is the first of these that holds:

    - `missed_inexact`: a prediction covers it with IoU > 0.3;
    - `missed_unseen`: at most a tenth of it lies in predictions;
    - `missed_partial`: the rest.

    A false prediction is the first of these that holds:

    - `pred_false_inexact`: it covers a nucleus with IoU > 0.3;
    - `pred_false_background`: more than 0.8 of it lies in no nucleus;
    - `pred_false_other`: the rest.

    >>> from cyclic.evaluation.matching import contingency
    >>> true, pred = np.zeros((2, 8, 20), int)
    >>> true[1:4, 1:7], pred[1:4, 1:4], pred[5:7, 12:15] = 1, 1, 2
    >>> {kind: share for kind, share in error_types(contingency(true, pred)).items() if share}
    {'missed_inexact': 1.0, 'pred_false_inexact': 0.5, 'pred_false_background': 0.5}

    Args:
        overlaps: of the true and the predicted label map.

    Returns:
        `{kind: share}`: six kinds of nuclei, whose shares add up to 1, and six kinds of predictions, whose shares do as
        well. On a side without nuclei all shares are 0.
    """
    true_count, pred_count = len(overlaps.true_ids), len(overlaps.pred_ids)
    best_true, best_pred = np.zeros(true_count), np.zeros(pred_count)
    np.maximum.at(best_true, overlaps.rows, overlaps.ious)
    np.maximum.at(best_pred, overlaps.cols, overlaps.ious)
    in_pred = np.bincount(overlaps.rows, overlaps.intersections, true_count) / overlaps.true_areas
    errors = find_errors(overlaps)
    nuclei = {kind: errors.of_true == kind for kind in ("hit", "merged", "split")} | {
        "missed_inexact": best_true > INEXACT_IOU,
        "missed_unseen": in_pred <= UNSEEN,
        "missed_partial": np.ones(true_count, bool),
    }
    predictions = {f"pred_{kind}": errors.of_pred == kind for kind in ("hit", "merged", "split")} | {
        "pred_false_inexact": best_pred > INEXACT_IOU,
        "pred_false_background": in_background(overlaps),
        "pred_false_other": np.ones(pred_count, bool),
    }
    return _shares_of_first(nuclei, true_count) | _shares_of_first(predictions, pred_count)


def in_background(overlaps: Overlaps) -> np.ndarray:
    """Return which predictions lie in the background, `[P]` bool: more than 0.8 of each is in no nucleus.

    A prediction with a slightly wrong outline is not among them.
    """
    in_true = np.bincount(overlaps.cols, overlaps.intersections, len(overlaps.pred_ids))
    return in_true < (1 - BACKGROUND) * overlaps.pred_areas


def _shares_of_first(kinds: dict[str, np.ndarray], count: int) -> dict[str, float]:
    """Return the share of each kind among `count` nuclei, each nucleus under the first kind that holds."""
    undecided, shares = np.ones(count, bool), {}
    for kind, holds in kinds.items():
        shares[kind] = float((undecided & holds).sum() / max(count, 1))
        undecided &= ~holds
    return shares
