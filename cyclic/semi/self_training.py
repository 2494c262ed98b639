"""Self-training: a teacher's confident detections join the pseudo masks."""

import numpy as np

from cyclic.config import RunConfig
from cyclic.labels import areas, mean_within, relabel, widen
from cyclic.pseudo.background import clear_background, outside_background
from cyclic.pseudo.fill import fill_centres
from cyclic.pseudo.masks import COUNT_AREA, RING, PseudoMasks
from cyclic.pseudo.recipe import recipe_of
from cyclic.pseudo.score import score_components
from cyclic.stain import hematoxylin_map

# A mask that shares more than this with others shows the same nucleus.
SAME_NUCLEUS = 0.3
# Mean activation within a detection that may teach, at least.
CONFIRMED = 0.4


def doubt_unconfirmed(
    labels: np.ndarray, scores: np.ndarray, activation: np.ndarray, score: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return detections in which those without evidence in a classifier's map are no longer sure.

    They neither teach nor become background: a pale nucleus may be among them.

    Args:
        labels: `[H, W]` int32 detections, 1..N in descending score.
        scores: `[N]` float32 in [0, 1].
        activation: `[H, W]` float32 in [0, 1], a map of evidence that has not learnt from these detections.
        score: what is left of a doubted detection's score at most.

    Returns:
        The same, again 1..N in descending score.
    """
    confirmed = mean_within(activation, labels, len(scores)) >= CONFIRMED
    scores = np.where(confirmed, scores, np.minimum(scores, score)).astype(np.float32)
    order = np.argsort(-scores, kind="stable")
    new_label = np.zeros(len(scores) + 1, np.int32)
    new_label[order + 1] = np.arange(1, len(scores) + 1)
    return new_label[labels], scores[order]


def join_detections(
    pseudo: PseudoMasks,
    labels: np.ndarray,
    scores: np.ndarray,
    image: np.ndarray,
    config: RunConfig,
    background: np.ndarray | None = None,
) -> PseudoMasks:
    """Return the pseudo masks of an image, extended by the detections that a Mask R-CNN is sure of.

    Detections in the background go first. The others compete by score and by looks: a detection that the stain shows
    as one whole, well-outlined nucleus comes before one as sure that it does not. With a `rounds.count` of 0, pseudo
    masks stay as they are.

    Args:
        pseudo: the pseudo masks that the Mask R-CNN was trained on.
        labels: `[H, W]` int32 detections, 1..N in descending score.
        scores: `[N]` float in [0, 1], of labels 1..N.
        image: `[H, W, 3]` uint8.
        config: the run's settings.
        background: `[H, W]` bool, where there is no nucleus; None: nothing is known.
    """
    if config.rounds.count == 0:
        return pseudo
    if background is not None:
        kept = outside_background(labels, background)
        labels, scores = relabel(labels, np.append(False, kept)), scores[kept]
    stain = fill_centres(hematoxylin_map(image), recipe_of(config).max_hole)
    quality = np.sqrt(scores * score_components(labels, stain).confidence)
    rounds = config.rounds
    joined = extend_pseudo_masks(pseudo, labels, scores, quality, rounds.score, rounds.ignore_score, rounds.count)
    return joined if background is None else clear_background(joined, background)


def extend_pseudo_masks(
    pseudo: PseudoMasks,
    labels: np.ndarray,
    scores: np.ndarray,
    quality: np.ndarray,
    score: float,
    ignore_score: float,
    count: float | None,
) -> PseudoMasks:
    """Return the pseudo masks with the best confident detections added (Zhou et al. 2023, semi-supervised training).

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
    area = areas(pseudo.labels, n)
    confirmed = np.bincount(pseudo.labels[seen > 0], minlength=n + 1)[1:]
    kept = np.flatnonzero(confirmed > SAME_NUCLEUS * area)
    new_label = np.zeros(n + 1, np.int32)
    new_label[kept + 1] = np.arange(1, len(kept) + 1)
    merged = new_label[pseudo.labels]

    size = areas(labels, detections)
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
    present = areas(labels, len(confidence)) > 0
    order = np.argsort(np.where(present, -confidence, np.inf), kind="stable")[: present.sum()]
    new_label = np.zeros(len(confidence) + 1, np.int32)
    new_label[order + 1] = np.arange(1, len(order) + 1)
    return new_label[labels], confidence[order].astype(np.float32)
