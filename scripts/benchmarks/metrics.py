"""All metrics of one pair of label maps (AJI, AJI+, Dice, Dice2, DQ/SQ/PQ, F1, Hausdorff, AP50, mAP), by size.

The peer is the customary way, one full-size mask a nucleus, for AJI, AJI+, Dice, Dice2 and DQ/SQ/PQ alone.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import scipy.optimize

from cyclic.evaluation.metrics import evaluate_pair

PITCH = 50  # px between nuclei: 400 of them in 1000 x 1000, as dense as H&E at 40x
PEER = "masks of full size (no Hausdorff, AP)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sizes", type=int, nargs="+", default=[500, 1000, 2000, 4000], help="sides in px")
    parser.add_argument("--peer-up-to", type=int, default=1000, help="largest side that the peer is measured at")
    parser.add_argument("--repeats", type=int, default=5, help="the fastest of so many runs counts")
    parser.add_argument("--seed", type=int, default=0)


def run(arguments: argparse.Namespace) -> list[dict]:
    results = []
    for size in arguments.sizes:
        rng = np.random.default_rng(arguments.seed)
        true, pred = draw_pair(size, rng)
        confidence = rng.random(int(pred.max()))
        ours = seconds(lambda pair=(true, pred, confidence): evaluate_pair(*pair), arguments.repeats)
        peer = seconds(lambda pair=(true, pred): naive_metrics(*pair), 1) if size <= arguments.peer_up_to else None
        results.append(
            {
                "case": f"{size} x {size} px, {int(true.max())} nuclei",
                "ours_s": ours,
                "peer": PEER if peer else None,
                "peer_s": peer,
                "ratio": peer / ours if peer else None,
            }
        )
    return results


def seconds(call: Callable[[], object], repeats: int) -> float:
    """Return the wall time of the fastest call."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def draw_pair(size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return a true and a predicted `[size, size]` int32 label map with labels 1..N and 1..P.

    Ellipses on a jittered grid, some touching; predicted ones are shifted and scaled, one in ten is missed.
    """
    true, pred = np.zeros((2, size, size), np.int32)
    n_true = n_pred = 0
    centres = np.arange(PITCH // 2, size, PITCH)
    for y, x in ((y, x) for y in centres for x in centres):
        centre, radii = (y, x) + rng.uniform(-8, 8, 2), rng.uniform(9, 20, 2)
        n_true += _draw(true, centre, radii, n_true + 1)
        if rng.random() > 0.1:
            n_pred += _draw(pred, centre + rng.normal(0, 3, 2), radii * rng.uniform(0.8, 1.2), n_pred + 1)
    return true, pred


def _draw(labels: np.ndarray, centre: np.ndarray, radii: np.ndarray, label: int) -> bool:
    """Draw an ellipse on the background; False if there is none left for it."""
    top, left = np.maximum(np.floor(centre - radii), 0).astype(int)
    bottom, right = np.ceil(centre + radii).astype(int) + 1
    window = labels[top:bottom, left:right]
    yy, xx = np.mgrid[: window.shape[0], : window.shape[1]]
    inside = ((yy + top - centre[0]) / radii[0]) ** 2 + ((xx + left - centre[1]) / radii[1]) ** 2 < 1
    inside &= window == 0
    window[inside] = label
    return bool(inside.any())


def naive_metrics(true: np.ndarray, pred: np.ndarray) -> dict[str, float]:
    """Return AJI, AJI+, Dice, Dice2, DQ, SQ and PQ of maps with labels 1..T and 1..P, neither empty.

    Straight from the definitions: a mask a nucleus, and every mask against all that it touches.
    """
    true_masks = [true == label for label in range(1, true.max() + 1)]
    pred_masks = [pred == label for label in range(1, pred.max() + 1)]
    intersection, union = np.zeros((2, len(true_masks), len(pred_masks)))
    for i, true_mask in enumerate(true_masks):
        for j in np.unique(pred[true_mask]):
            if j > 0:
                intersection[i, j - 1] = (true_mask & pred_masks[j - 1]).sum()
                union[i, j - 1] = (true_mask | pred_masks[j - 1]).sum()
    true_areas = np.array([mask.sum() for mask in true_masks])
    pred_areas = np.array([mask.sum() for mask in pred_masks])
    iou = np.divide(intersection, union, out=np.zeros_like(union), where=union > 0)

    def jaccard(rows: np.ndarray, cols: np.ndarray) -> float:
        alone = np.delete(true_areas, rows).sum() + np.delete(pred_areas, np.unique(cols)).sum()
        return intersection[rows, cols].sum() / (union[rows, cols].sum() + alone)

    touched = np.flatnonzero(iou.any(axis=1))
    assigned = scipy.optimize.linear_sum_assignment(iou, maximize=True)
    overlapping = iou[assigned] > 0
    hits = iou[iou > 0.5]
    dq = 2 * len(hits) / (len(true_masks) + len(pred_masks))
    sq = hits.sum() / (len(hits) + 1e-6)
    pairs = np.nonzero(intersection)
    return {
        "aji": jaccard(touched, iou[touched].argmax(axis=1)),
        "aji_plus": jaccard(assigned[0][overlapping], assigned[1][overlapping]),
        "dice": 2 * ((true > 0) & (pred > 0)).sum() / ((true > 0).sum() + (pred > 0).sum()),
        "dice2": 2 * intersection.sum() / (true_areas[pairs[0]] + pred_areas[pairs[1]]).sum(),
        "dq": dq,
        "sq": sq,
        "pq": dq * sq,
    }
