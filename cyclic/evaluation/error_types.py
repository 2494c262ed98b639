"""Where the loss is: what became of each true nucleus, and what each prediction shows."""

import numpy as np

from cyclic.evaluation.matching import Overlaps

# Shares of a nucleus' pixels under any prediction: up to MISSED nobody saw it, over COVERED it lies in a prediction.
MISSED = 0.1
COVERED = 0.5
# Best IoU of a pair that shows the same nucleus with another outline.
INEXACT_IOU = 0.3
MATCHED_IOU = 0.5
# A prediction with more than this share of its pixels outside every nucleus is background.
BACKGROUND = 0.8


def error_types(overlaps: Overlaps) -> dict[str, float]:
    """Return the shares of true nuclei and of predictions of each kind.

    A true nucleus is the first of these that holds: `matched` (IoU with a prediction over 0.5), `inexact` (over 0.3),
    `merged` (over half of it lies in predictions, which are those of neighbours, too, or much larger), `missed` (at
    most a tenth of it lies in predictions), `partial` (the rest). A prediction is `pred_matched`, `pred_inexact`,
    `pred_background` (over 0.8 of it lies in no nucleus), `pred_merging` (holds more than half of two nuclei or more)
    or `pred_other`.

    >>> from cyclic.evaluation.matching import contingency
    >>> true, pred = np.zeros((2, 8, 20), int)
    >>> true[1:4, 1:4], true[1:4, 4:7], pred[1:4, 1:7], pred[5:7, 12:15] = 1, 2, 1, 2
    >>> {kind: share for kind, share in error_types(contingency(true, pred)).items() if share}
    {'inexact': 1.0, 'pred_inexact': 0.5, 'pred_background': 0.5}

    Args:
        overlaps: of the true and the predicted label map.

    Returns:
        `{kind: share}`, five kinds of nuclei, which add up to 1, and five of predictions, which do as well; all 0 on a
        side without nuclei.
    """
    true_count, pred_count = len(overlaps.true_ids), len(overlaps.pred_ids)
    best_true, best_pred = np.zeros(true_count), np.zeros(pred_count)
    np.maximum.at(best_true, overlaps.rows, overlaps.ious)
    np.maximum.at(best_pred, overlaps.cols, overlaps.ious)
    in_pred = np.bincount(overlaps.rows, overlaps.intersections, true_count) / overlaps.true_areas
    held = overlaps.intersections > COVERED * overlaps.true_areas[overlaps.rows]
    holds = np.bincount(overlaps.cols, held, pred_count)
    of_nuclei = {
        "matched": best_true > MATCHED_IOU,
        "inexact": best_true > INEXACT_IOU,
        "merged": in_pred > COVERED,
        "missed": in_pred <= MISSED,
        "partial": np.ones(true_count, bool),
    }
    of_predictions = {
        "pred_matched": best_pred > MATCHED_IOU,
        "pred_inexact": best_pred > INEXACT_IOU,
        "pred_background": in_background(overlaps),
        "pred_merging": holds > 1,
        "pred_other": np.ones(pred_count, bool),
    }
    return _first_that_holds(of_nuclei, true_count) | _first_that_holds(of_predictions, pred_count)


def in_background(overlaps: Overlaps) -> np.ndarray:
    """`[P]` bool: over 0.8 of the prediction lies in no nucleus, so that a slightly wrong outline is not background."""
    in_true = np.bincount(overlaps.cols, overlaps.intersections, len(overlaps.pred_ids))
    return in_true < (1 - BACKGROUND) * overlaps.pred_areas


def _first_that_holds(kinds: dict[str, np.ndarray], count: int) -> dict[str, float]:
    open_, shares = np.ones(count, bool), {}
    for kind, holds in kinds.items():
        shares[kind] = float((open_ & holds).sum() / max(count, 1))
        open_ &= ~holds
    return shares
