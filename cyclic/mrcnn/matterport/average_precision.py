"""Average precision of detected instances, as Matterport computes it.

Shape shorthand: G ground-truth instances, P predicted ones.
"""

import numpy as np

from cyclic.mrcnn.geometry.boxes_numpy import compute_overlaps
from cyclic.mrcnn.geometry.masks_numpy import compute_overlaps_masks


def trim_zeros(x: np.ndarray) -> np.ndarray:
    """Return `x` (`[N, M]`) without the rows that are all zero, which are padding."""
    return x[(x != 0).any(axis=1)]


def compute_matches(
    gt_boxes: np.ndarray,
    gt_class_ids: np.ndarray,
    gt_masks: np.ndarray,
    pred_boxes: np.ndarray,
    pred_class_ids: np.ndarray,
    pred_scores: np.ndarray,
    pred_masks: np.ndarray,
    iou_threshold: float = 0.5,
    score_threshold: float = 0.0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Match predictions to ground truth, best score first: each takes the free mask of its class that it overlaps most.

    Args:
        gt_boxes: `[G, 4]`, rows of zeros are padding.
        gt_class_ids: `[G]` int.
        gt_masks: `[H, W, G]`.
        pred_boxes: `[P, 4]`, rows of zeros are padding.
        pred_class_ids: `[P]` int.
        pred_scores: `[P]` float.
        pred_masks: `[H, W, P]`.
        iou_threshold: mask overlap that a match needs.
        score_threshold: overlaps below it are no match either; the name is Matterport's.

    Returns:
        gt_match: `[G]` index of the matched prediction, in the order of falling score, or -1.
        pred_match: `[P]` index of the matched ground-truth instance, or -1.
        overlaps: `[P, G]` intersection over union of the masks.
    """
    order, overlaps = _ranked_overlaps(gt_boxes, gt_masks, pred_boxes, pred_scores, pred_masks)
    threshold = max(iou_threshold, score_threshold)
    return *_match_overlaps(overlaps, gt_class_ids, pred_class_ids[order], threshold), overlaps


def _ranked_overlaps(gt_boxes, gt_masks, pred_boxes, pred_scores, pred_masks):
    """Return the order of falling score `[P]`, and the mask overlaps `[P, G]` in that order, without padding."""
    gt_count, pred_count = len(trim_zeros(gt_boxes)), len(trim_zeros(pred_boxes))
    order = np.argsort(pred_scores[:pred_count])[::-1]
    return order, compute_overlaps_masks(pred_masks[..., order], gt_masks[..., :gt_count])


def _match_overlaps(overlaps, gt_class_ids, pred_class_ids, threshold):
    """Return gt_match and pred_match of `compute_matches`; the predictions are in the order of falling score."""
    pred_count, gt_count = overlaps.shape
    gt_match, pred_match = np.full(gt_count, -1.0), np.full(pred_count, -1.0)
    for i in range(pred_count):
        for j in np.argsort(overlaps[i])[::-1]:
            if overlaps[i, j] < threshold:
                break
            if gt_match[j] < 0 and pred_class_ids[i] == gt_class_ids[j]:
                gt_match[j], pred_match[i] = i, j
                break
    return gt_match, pred_match


def compute_ap(
    gt_boxes: np.ndarray,
    gt_class_ids: np.ndarray,
    gt_masks: np.ndarray,
    pred_boxes: np.ndarray,
    pred_class_ids: np.ndarray,
    pred_scores: np.ndarray,
    pred_masks: np.ndarray,
    iou_threshold: float = 0.5,
) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
    """Return the average precision at one overlap threshold; arguments as for `compute_matches`.

    Without any ground-truth instance it is 1 when nothing was predicted, else 0.

    Returns:
        ap: area under the precision-recall curve.
        precisions, recalls: `[P + 2]` the curve, with its two end points.
        overlaps: `[P, G]` mask overlaps, predictions in the order of falling score.
    """
    gt_match, pred_match, overlaps = compute_matches(
        gt_boxes, gt_class_ids, gt_masks, pred_boxes, pred_class_ids, pred_scores, pred_masks, iou_threshold
    )
    return *_area_under_curve(gt_match, pred_match), overlaps


def _area_under_curve(gt_match, pred_match):
    """Return ap, precisions and recalls of `compute_ap`."""
    hits = np.cumsum(pred_match > -1)
    precisions = np.concatenate([[0], hits / (np.arange(len(hits)) + 1), [0]])
    recalls = np.concatenate([[0], hits.astype(np.float32) / max(len(gt_match), 1), [1]])
    # Precision at a recall is the best precision at this or a higher recall.
    precisions = np.maximum.accumulate(precisions[::-1])[::-1]
    if len(gt_match) == 0:
        return float(len(pred_match) == 0), precisions, recalls
    return float(np.sum(np.diff(recalls) * precisions[1:])), precisions, recalls


def compute_ap_range(
    gt_box, gt_class_id, gt_mask, pred_box, pred_class_id, pred_score, pred_mask, iou_thresholds=None, verbose=1
) -> float:
    """Return the mean average precision over `iou_thresholds` (0.5, 0.55 .. 0.95); arguments as for `compute_matches`.

    `verbose` prints the value at each threshold.
    """
    thresholds = np.arange(0.5, 1.0, 0.05) if iou_thresholds is None else iou_thresholds
    # The overlaps are those of every threshold, and nearly all of the work.
    order, overlaps = _ranked_overlaps(gt_box, gt_mask, pred_box, pred_score, pred_mask)
    matches = [_match_overlaps(overlaps, gt_class_id, pred_class_id[order], threshold) for threshold in thresholds]
    values = [_area_under_curve(*match)[0] for match in matches]
    mean = float(np.mean(values))
    if verbose:
        for threshold, value in zip(thresholds, values, strict=True):
            print(f"AP @{threshold:.2f}:\t {value:.3f}")
        print(f"AP @{thresholds[0]:.2f}-{thresholds[-1]:.2f}:\t {mean:.3f}")
    return mean


def compute_recall(pred_boxes: np.ndarray, gt_boxes: np.ndarray, iou: float) -> tuple[float, np.ndarray]:
    """Return the share of ground-truth boxes that a predicted box overlaps best and by `iou` or more.

    Returns:
        recall: float in [0, 1]; 1 without ground truth.
        positive_ids: indices of the predicted boxes that overlap some ground-truth box by `iou` or more.
    """
    if len(gt_boxes) == 0 or len(pred_boxes) == 0:
        return float(len(gt_boxes) == 0), np.empty(0, dtype=np.int64)
    overlaps = compute_overlaps(pred_boxes, gt_boxes)
    positive_ids = np.flatnonzero(overlaps.max(axis=1) >= iou)
    return len(np.unique(overlaps.argmax(axis=1)[positive_ids])) / len(gt_boxes), positive_ids
