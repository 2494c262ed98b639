"""Candidates -> the pseudo masks that training may trust, and the region that no loss may look at."""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage
from skimage.filters import threshold_otsu

from cyclic.config import PseudoConfig, RunConfig
from cyclic.labels import hull_mask, widen
from cyclic.pseudo.background import clear_background
from cyclic.pseudo.candidates import Candidates, find_candidates
from cyclic.pseudo.masks import COUNT_AREA, RING, PseudoMasks
from cyclic.pseudo.recipe import recipe_of
from cyclic.pseudo.score import ComponentScores
from cyclic.pseudo.threshold import check_map

# What exceeds this share of Otsu's threshold outside every candidate may be a nucleus, and is ignored.
IGNORE_FACTOR = 0.8


def select_pseudo_masks(candidates: Candidates, config: RunConfig, cut: float | None = None) -> PseudoMasks:
    """Return the best candidates of an image as pseudo masks; where several limits are given, all hold.

    Ignored are the candidates that were not kept, with the ring around them, and what is nearly as high in the map.
    Not ignored, but background, is the ring around a pseudo mask: with a free border, masks that learn from it grow.

    Args:
        candidates: of the image.
        config: the run's settings.
        cut: lowest confidence, in [0, 1], instead of a share of this image's candidates; see `pooled_cut`.
    """
    labels, recipe = candidates.labels, recipe_of(config)
    kept = candidates.scores.take(_ranking(candidates.scores, labels.shape, config.pseudo, recipe.rank_by, cut))
    new_label = np.zeros(int(labels.max(initial=0)) + 1, np.int32)
    new_label[kept.ids] = np.arange(1, len(kept) + 1)
    pseudo = new_label[labels]
    if recipe.hull:
        pseudo = _fill_hulls(pseudo, labels)
    rejected = (labels > 0) & (new_label[labels] == 0)
    high = candidates.source > _ignore_level(candidates.source)
    ignore = widen(rejected, RING) | (high & ~widen(pseudo > 0, RING))
    return PseudoMasks(pseudo, kept.confidence, ignore & (pseudo == 0))


def pooled_cut(confidences: Sequence[np.ndarray], share: float) -> float:
    """Return the lowest confidence among the best `share` of the candidates of several images.

    Images differ: in one most candidates are nuclei, in another few. One cut for all keeps many of the first and few of
    the second. One share for each image would keep the same part of both.

    Args:
        confidences: for each image `[n]` float in [0, 1].
        share: in [0, 1].

    Returns:
        A confidence in [0, 1]; 1 where the share holds no candidate.
    """
    pooled = np.sort(np.concatenate([*confidences, np.zeros(0, np.float32)]))[::-1]
    keep = round(share * len(pooled))
    return float(pooled[keep - 1]) if keep else 1.0


def run_cut(config: RunConfig, confidences: Sequence[np.ndarray]) -> float | None:
    """Return the confidence that `pseudo.share` comes to over all training images; None if each image has its own."""
    share = config.pseudo.share
    return pooled_cut(confidences, share) if recipe_of(config).pooled and share is not None else None


def pseudo_masks_of_one_image(
    image: np.ndarray, activation: np.ndarray | None, config: RunConfig, background: np.ndarray | None = None
) -> PseudoMasks:
    """Return the pseudo masks of an image by itself: a share is of its own candidates.

    Args:
        image, activation, config, background: see `find_candidates`.
    """
    pseudo = select_pseudo_masks(find_candidates(image, activation, config, background), config)
    return pseudo if background is None else clear_background(pseudo, background)


def _ranking(
    scores: ComponentScores, shape: tuple[int, ...], settings: PseudoConfig, rank_by: str, cut: float | None
) -> np.ndarray:
    """Return the indices of the kept candidates, best first."""
    order = np.argsort(-getattr(scores, rank_by), kind="stable")
    keep = len(order)
    if settings.count is not None:
        keep = min(keep, max(round(settings.count * shape[0] * shape[1] / COUNT_AREA), int(settings.count > 0)))
    if cut is None and settings.share is not None:
        keep = min(keep, round(settings.share * len(order)))
    order = order[:keep]
    return order if cut is None else order[scores.confidence[order] >= cut]


def _fill_hulls(pseudo: np.ndarray, labels: np.ndarray) -> np.ndarray:
    filled = pseudo.copy()
    for label, box in enumerate(ndimage.find_objects(pseudo), 1):
        hull = hull_mask(pseudo[box] == label)
        # The better mask comes first and keeps what two hulls claim.
        filled[box][hull & (labels[box] == 0) & (filled[box] == 0)] = label
    return filled


def _ignore_level(source: np.ndarray) -> float:
    low, high = check_map(source, "pseudo masks")
    return high if low == high else IGNORE_FACTOR * float(threshold_otsu(source))
