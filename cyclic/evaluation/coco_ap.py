"""Average precision by COCO's rules: pycocotools draws the curve, the table of overlaps says what is a hit.

pycocotools' own matching compares every detection with every nucleus in Python. That takes seconds for 400 nuclei.
"""

import contextlib
import io
from collections.abc import Sequence

import numpy as np
from pycocotools.cocoeval import COCOeval

from cyclic.evaluation.matching import Overlaps

AP_SCORES = ("coco_ap50", "coco_map")
# COCOeval lowers a threshold of 1 to this.
ALMOST_ONE = 1 - 1e-10


def coco_average_precision(images: Sequence[tuple[Overlaps, np.ndarray]]) -> dict[str, float]:
    """Return AP at IoU 0.5 and the mean of AP at 0.5, 0.55, ... 0.95, as `COCOeval` on masks gives them.

    The detections of all images are ranked together; nuclei of all sizes count, and all detections, not only the first
    100 of an image. Nothing on both sides scores 1, nothing on one side 0 (COCO: -1 without true nuclei).

    Args:
        images: `(overlaps, confidence)` of each image; confidence: `[P]` float.

    Returns:
        The names in `AP_SCORES`, each in [0, 1].
    """
    n_true = sum(len(overlaps.true_ids) for overlaps, _ in images)
    n_pred = sum(len(overlaps.pred_ids) for overlaps, _ in images)
    if n_true == 0 or n_pred == 0:
        return dict.fromkeys(AP_SCORES, float(n_true == n_pred))
    evaluator = COCOeval(iouType="segm")
    parameters = evaluator.params
    parameters.imgIds, parameters.catIds = list(range(len(images))), [1]
    parameters.areaRng, parameters.areaRngLbl = [[0, float("inf")]], ["all"]
    parameters.maxDets = [n_pred]
    evaluator.evalImgs = [_image_result(*image, parameters.iouThrs) for image in images]
    evaluator._paramsEval = parameters  # evaluate() would set it
    with contextlib.redirect_stdout(io.StringIO()):  # it reports its progress there
        evaluator.accumulate()
    precision = evaluator.eval["precision"][..., 0, 0, 0]
    return {"coco_ap50": float(precision[0].mean()), "coco_map": float(precision.mean())}


def _image_result(overlaps: Overlaps, confidence: np.ndarray, thresholds: np.ndarray) -> dict[str, np.ndarray]:
    """Return what COCOeval's `evaluateImg` returns, as far as `accumulate` reads it.

    In COCO the most confident prediction chooses first. It takes the free nucleus of the largest IoU, and the last of
    several with equal IoU. From IoU 0.5 on there is a choice only between exact halves: a prediction over two nuclei
    takes the last one, and of two predictions over one nucleus the first takes it.
    """
    order = np.argsort(-confidence, kind="stable")
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    by_rank = np.argsort(rank[overlaps.cols], kind="stable")  # rows stay ascending within a prediction
    rows, ranks, ious = overlaps.rows[by_rank], rank[overlaps.cols[by_rank]], overlaps.ious[by_rank]
    hits = np.zeros((len(thresholds), len(order)), bool)
    for hit, threshold in zip(hits, thresholds, strict=True):
        candidates = np.flatnonzero(ious >= min(threshold, ALMOST_ONE))
        last_of_prediction = np.append(np.diff(ranks[candidates]) != 0, True)[: len(candidates)]
        candidates = candidates[last_of_prediction]
        _, first = np.unique(rows[candidates], return_index=True)
        hit[ranks[candidates[first]]] = True
    return {
        "dtScores": confidence[order],
        "dtMatches": hits,
        "dtIgnore": np.zeros_like(hits),
        "gtIgnore": np.zeros(len(overlaps.true_ids)),
    }
