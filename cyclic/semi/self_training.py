"""One round of self-training: a teacher's confident detections join the pseudo masks."""

import cv2
import numpy as np

from cyclic.pseudo.select import COUNT_AREA, PseudoMasks

# A pseudo mask that shares more than this with accepted detections is the same nucleus.
SAME_NUCLEUS = 0.3
# The outline of a detection is as uncertain as that of a pseudo mask.
RING = 2


def extend_pseudo_masks(
    pseudo: PseudoMasks,
    labels: np.ndarray,
    scores: np.ndarray,
    score: float,
    ignore_score: float,
    count: float | None = None,
) -> PseudoMasks:
    """Return the pseudo masks with the confident detections added (paper, semi-supervised back end).

    A detection replaces the pseudo masks it covers, since it averages over many noisy outlines. A pseudo mask that no
    detection at all confirms becomes ignored; so do the weak detections. What was ignored stays so, unless a confident
    detection now covers it. An image in which no detection is confident keeps its pseudo masks as they are.

    Args:
        pseudo: the pseudo masks the teacher was trained on.
        labels: `[H, W]` int32 detections, 1..N in descending score.
        scores: `[N]` float, of labels 1..N.
        score: detections of this score or more join.
        ignore_score: weaker ones down to this score are ignored.
        count: at most this many join for 1000 x 1000 pixels, the best ones; None for no limit.
    """
    joining = int((scores >= score).sum())
    if count is not None:
        joining = min(joining, round(count * labels.size / COUNT_AREA))
    if joining == 0:
        return pseudo
    seen = int((scores >= ignore_score).sum())
    accepted = np.where(labels <= joining, labels, 0)
    detected = (labels > 0) & (labels <= seen)

    n = len(pseudo.confidence)
    area = np.bincount(pseudo.labels.ravel(), minlength=n + 1)[1:]
    covered = np.bincount(pseudo.labels[accepted > 0], minlength=n + 1)[1:]
    confirmed = np.bincount(pseudo.labels[detected], minlength=n + 1)[1:]
    keep = (covered <= SAME_NUCLEUS * area) & (confirmed > SAME_NUCLEUS * area)

    new_label = np.zeros(n + 1, np.int32)
    new_label[1:][keep] = joining + 1 + np.arange(keep.sum())
    merged = np.where(accepted > 0, accepted, new_label[pseudo.labels])
    merged, confidence = _ranked(merged, np.concatenate([scores[:joining], pseudo.confidence[keep]]))

    doubtful = pseudo.ignore | (detected & (accepted == 0)) | (pseudo.labels > 0)
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * RING + 1, 2 * RING + 1))
    ring = cv2.dilate((merged > 0).astype(np.uint8), disk) > 0
    return PseudoMasks(merged, confidence, (doubtful | ring) & (merged == 0))


def _ranked(labels: np.ndarray, confidence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Renumber 1..n by falling confidence; ids without pixels left are dropped."""
    present = np.bincount(labels.ravel(), minlength=len(confidence) + 1)[1:] > 0
    order = np.argsort(np.where(present, -confidence, np.inf), kind="stable")[: present.sum()]
    new_label = np.zeros(len(confidence) + 1, np.int32)
    new_label[order + 1] = np.arange(1, len(order) + 1)
    return new_label[labels], confidence[order].astype(np.float32)
