"""The scores of one predicted label map against the true one.

All scores but one come from one table of overlaps (`contingency`). Only the Hausdorff distance looks at the pixels of
matched nuclei again. AJI and PQ need instance maps: of binary masks AJI is nothing but `foreground_iou`.
"""

import warnings

import numpy as np

from cyclic.evaluation.coco_ap import AP_SCORES, coco_average_precision
from cyclic.evaluation.distances import hausdorff_distances
from cyclic.evaluation.empty_tissue import false_per_mm2
from cyclic.evaluation.matching import Matching, Overlaps, contingency, match
from cyclic.label_maps import is_foreground

SCORES = ("aji", "aji_plus", "dice", "dice2", "dq", "sq", "pq", "f1", "precision", "recall", "foreground_iou")
# HoVer-Net adds it to denominators; kept so that published figures compare digit by digit.
EPSILON = 1e-6


def evaluate(
    pred: np.ndarray,
    gt: np.ndarray,
    confidence: np.ndarray | None = None,
    iou_threshold: float = 0.5,
    mpp: float | None = None,
) -> dict[str, float | None]:
    """Compare a predicted label map with the true one and return every metric.

    >>> gt = np.array([[1, 1, 0, 2, 2, 0]])
    >>> pred = np.array([[5, 5, 0, 0, 7, 7]])
    >>> scores = evaluate(pred, gt)
    >>> scores["aji"], scores["dice"], scores["precision"], scores["n_pred"]
    (0.6, 0.75, 0.5, 2)

    Args:
        pred: `[H, W]` integer label map: 0 = background, each nucleus its own positive label, gaps allowed.
        gt: `[H, W]` integer, the true label map of the same image.
        confidence: `[P]` float, one for each predicted nucleus by ascending label; None: no average precision.
        iou_threshold: nuclei match over this IoU, in [0, 1). It counts for `dq`, `sq`, `pq`, `f1`, `precision`,
            `recall` and `hausdorff`.
        mpp: micrometres per pixel, over 0; None: no `false_per_mm2`.

    Returns:
        `{metric: value}`. These are in [0, 1]; all are 1 where both maps are empty, and 0 where one of them is:

        - `aji`: Aggregated Jaccard Index (Kumar et al. 2017); `aji_plus`: the same with nuclei assigned one to one;
        - `dice`, `foreground_iou`: of "any nucleus" against "any nucleus"; `dice2`: Dice pooled over overlapping pairs;
        - `dq`, `sq`, `pq`: detection, segmentation and panoptic quality (Kirillov et al. 2019);
        - `f1`, `precision`, `recall`: of whole nuclei;
        - with `confidence`: `ap50` over all points of the curve, `coco_ap50` and `coco_map` by COCO's rules.

        `hausdorff` is the mean over matched nuclei in pixels, None if no nucleus matches. `n_true` and `n_pred` are the
        numbers of nuclei. With `mpp` also `false_per_mm2` and `empty_mm2`: nuclei predicted in tissue without true
        ones, per mm² of it, and how large it is; see `cyclic.evaluation.empty_tissue`.

    Raises:
        ValueError: the shapes differ, a map holds negative labels or no integers, `mpp` is not over 0, or `confidence`
            has another length than the number of predicted nuclei, or values that are no finite numbers.

    Warns:
        UserWarning: a map is a mask of all nuclei: one label in several pieces, which count as one nucleus.
    """
    true, pred = np.asarray(gt), np.asarray(pred)
    scores = evaluate_pair(true, pred, confidence, iou_threshold)
    for name, labels in (("pred", pred), ("gt", true)):
        if is_foreground(labels):
            warnings.warn(
                f"{name}: one label in many pieces, scored as one nucleus; give each nucleus its own number",
                stacklevel=2,
            )
    return scores if mpp is None else scores | false_per_mm2(true, pred, mpp)


def evaluate_pair(
    true: np.ndarray,
    pred: np.ndarray,
    confidence: np.ndarray | None = None,
    iou_threshold: float = 0.5,
    overlaps: Overlaps | None = None,
) -> dict[str, float | None]:
    """Return what `evaluate` returns; mind the order of the arguments. Inside the package this function is called.

    Args:
        true: `[H, W]` integer label map, 0 = background.
        pred: `[H, W]` integer label map of the same image.
        confidence: see `evaluate`.
        iou_threshold: see `evaluate`.
        overlaps: `contingency(true, pred)` if it is there already, or a part of it (`restrict`). Then only its nuclei
            count.

    Raises:
        ValueError: see `evaluate`.
    """
    overlaps = contingency(true, pred) if overlaps is None else overlaps
    matching = match(overlaps, iou_threshold)
    n_true, n_pred = len(overlaps.true_ids), len(overlaps.pred_ids)
    if confidence is not None and np.shape(confidence) != (n_pred,):
        raise ValueError(f"confidence has shape {np.shape(confidence)}, but there are {n_pred} predicted nuclei")
    if confidence is not None and not np.isfinite(np.asarray(confidence, float)).all():
        raise ValueError("confidence has values that are not finite; give one number a predicted nucleus")
    names = SCORES if confidence is None else (*SCORES, "ap50", *AP_SCORES)
    if n_true == 0 or n_pred == 0:
        scores = dict.fromkeys(names, float(n_true == n_pred))
    else:
        scores = {"aji": aji(overlaps), "aji_plus": aji_plus(overlaps), "dice2": dice2(overlaps)}
        scores |= foreground_scores(overlaps) | panoptic_quality(matching) | object_scores(matching)
        if confidence is not None:
            confidence = np.asarray(confidence, float)
            scores["ap50"] = average_precision(overlaps, match(overlaps), confidence)
            scores |= coco_average_precision([(overlaps, confidence)])
        scores = {name: float(scores[name]) for name in names}
    distances = hausdorff_distances(true, pred, overlaps, matching.pairs)
    hausdorff = float(distances.mean()) if len(distances) else None
    return scores | {"hausdorff": hausdorff, "n_true": n_true, "n_pred": n_pred}


def aji(overlaps: Overlaps) -> float:
    """Return the Aggregated Jaccard Index (Kumar et al. 2017, algorithm 1), as HoVer-Net's `get_fast_aji` reads it.

    Each true nucleus takes the prediction with the largest IoU. One prediction may serve several true nuclei; it enters
    the union each time. Untouched nuclei of either side add their area to the union.
    """
    smoothed_iou = overlaps.intersections / (overlaps.unions + EPSILON)
    # Sorted by row, then best IoU, then first column: the first pair of each row is the one numpy's argmax would take.
    order = np.lexsort((overlaps.cols, -smoothed_iou, overlaps.rows))
    _, first = np.unique(overlaps.rows[order], return_index=True)
    return _jaccard(overlaps, order[first])


def aji_plus(overlaps: Overlaps) -> float:
    """Return AJI with a one-to-one assignment of the largest summed IoU (Graham et al. 2019, section IV-B)."""
    return _jaccard(overlaps, match(overlaps, iou_threshold=0.0).pairs)


def _jaccard(overlaps: Overlaps, pairs: np.ndarray) -> float:
    lone_true = np.delete(overlaps.true_areas, np.unique(overlaps.rows[pairs]))
    lone_pred = np.delete(overlaps.pred_areas, np.unique(overlaps.cols[pairs]))
    union = overlaps.unions[pairs].sum() + lone_true.sum() + lone_pred.sum()
    return overlaps.intersections[pairs].sum() / union


def dice2(overlaps: Overlaps) -> float:
    """Return ensemble Dice (Vu et al. 2019) as HoVer-Net computes it: pooled over overlapping pairs, 0 without any."""
    total = (overlaps.true_areas[overlaps.rows] + overlaps.pred_areas[overlaps.cols]).sum()
    return 2 * overlaps.intersections.sum() / max(total, 1)


def foreground_scores(overlaps: Overlaps) -> dict[str, float]:
    """Return Dice and IoU of "any nucleus" against "any nucleus". At least one side must hold a nucleus."""
    total = overlaps.true_areas.sum() + overlaps.pred_areas.sum()
    intersection = overlaps.intersections.sum()
    return {"dice": 2 * intersection / total, "foreground_iou": intersection / (total - intersection)}


def panoptic_quality(matching: Matching) -> dict[str, float]:
    """Return detection, segmentation and panoptic quality (Kirillov et al. 2019, equation 1).

    SQ has HoVer-Net's 1e-6 in its denominator.
    """
    dq = matching.tp / (matching.tp + 0.5 * matching.fp + 0.5 * matching.fn)
    sq = matching.ious.sum() / (matching.tp + EPSILON)
    return {"dq": dq, "sq": sq, "pq": dq * sq}


def object_scores(matching: Matching) -> dict[str, float]:
    """Return precision, recall and F1 of whole nuclei at the IoU of `matching`. Both sides must hold a nucleus."""
    n_pred, n_true = matching.tp + matching.fp, matching.tp + matching.fn
    return {
        "precision": matching.tp / n_pred,
        "recall": matching.tp / n_true,
        "f1": 2 * matching.tp / (n_pred + n_true),
    }


def average_precision(overlaps: Overlaps, matching: Matching, confidence: np.ndarray) -> float:
    """Return the area under the interpolated precision-recall curve of the predictions, the most confident first.

    Nuclei of a label map do not overlap, so at IoU > 0.5 a hit is a hit in whatever order predictions come. All points
    of the curve count (Pascal VOC since 2010). Equal confidences enter together, so the order of the labels does not
    matter.

    Args:
        overlaps: of the true and the predicted label map.
        matching: their pairs at IoU > 0.5.
        confidence: `[P]` float by ascending label.
    """
    hit = np.zeros(len(overlaps.pred_ids), bool)
    hit[overlaps.cols[matching.pairs]] = True
    order = np.argsort(-confidence, kind="stable")
    last_of_tie = np.append(np.diff(confidence[order]) != 0, True)
    hits = np.cumsum(hit[order])[last_of_tie]
    ranks = np.flatnonzero(last_of_tie) + 1
    precision = np.maximum.accumulate((hits / ranks)[::-1])[::-1]
    recall = hits / len(overlaps.true_ids)
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))
