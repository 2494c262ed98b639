"""One round of self-training: a teacher's confident detections join the pseudo masks."""

import numpy as np

from cyclic.pseudo.select import COUNT_AREA, PseudoMasks, widen

# A mask that shares more than this with others shows the same nucleus.
SAME_NUCLEUS = 0.3
# Border around a mask, in pixels, that is background: with a free border the masks that learn from it grow.
RING = 2


def extend_pseudo_masks(
    pseudo: PseudoMasks,
    labels: np.ndarray,
    scores: np.ndarray,
    quality: np.ndarray,
    score: float,
    ignore_score: float,
    count: float | None = None,
) -> PseudoMasks:
    """Return the pseudo masks with the best confident detections added (paper, semi-supervised back end).

    A detection joins where no pseudo mask is: the outline of a selected component is better than that of an early
    teacher's detection. A pseudo mask that no detection at all confirms becomes ignored, and so do the detections that
    do not join. What was ignored stays so, unless a mask now covers it or lies beside it. An image in which no
    detection is confident keeps its pseudo masks as they are.

    Args:
        pseudo: the pseudo masks the teacher was trained on.
        labels: `[H, W]` int32 detections, 1..N in descending score.
        scores: `[N]` float in [0, 1], of labels 1..N.
        quality: `[N]` float, by which the detections compete to join.
        score: only detections of this score or more join.
        ignore_score: the others are ignored down to this score.
        count: at most this many join for 1000 x 1000 pixels; None for no limit.
    """
    if not (scores >= score).any():
        return pseudo
    n, detections = len(pseudo.confidence), len(scores)
    seen = np.where(labels <= int((scores >= ignore_score).sum()), labels, 0)
    area = np.bincount(pseudo.labels.ravel(), minlength=n + 1)[1:]
    confirmed = np.bincount(pseudo.labels[seen > 0], minlength=n + 1)[1:]
    kept = np.flatnonzero(confirmed > SAME_NUCLEUS * area)
    new_label = np.zeros(n + 1, np.int32)
    new_label[kept + 1] = np.arange(1, len(kept) + 1)
    merged = new_label[pseudo.labels]

    size = np.bincount(labels.ravel(), minlength=detections + 1)[1:]
    covered = np.bincount(labels[merged > 0], minlength=detections + 1)[1:]
    joining = np.flatnonzero((scores >= score) & (covered <= SAME_NUCLEUS * size))
    joining = joining[np.argsort(-quality[joining], kind="stable")]
    if count is not None:
        joining = joining[: round(count * labels.size / COUNT_AREA)]
    new_label = np.zeros(detections + 1, np.int32)
    new_label[joining + 1] = len(kept) + np.arange(1, len(joining) + 1)
    merged = np.where(merged > 0, merged, new_label[labels])
    merged, confidence = _ranked(merged, np.concatenate([pseudo.confidence[kept], quality[joining]]))

    unsure = (pseudo.ignore & ~widen(merged > 0, RING)) | (seen > 0) | (pseudo.labels > 0)
    return PseudoMasks(merged, confidence, unsure & (merged == 0))


def _ranked(labels: np.ndarray, confidence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Renumber 1..n by falling confidence; ids without pixels left are dropped."""
    present = np.bincount(labels.ravel(), minlength=len(confidence) + 1)[1:] > 0
    order = np.argsort(np.where(present, -confidence, np.inf), kind="stable")[: present.sum()]
    new_label = np.zeros(len(confidence) + 1, np.int32)
    new_label[order + 1] = np.arange(1, len(order) + 1)
    return new_label[labels], confidence[order].astype(np.float32)
