"""Scored components -> the pseudo masks that training may trust, and the region that no loss may look at."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from scipy import ndimage
from skimage.filters import threshold_otsu

from cyclic.errors import InputError
from cyclic.files import read_image, read_json, read_label_map, write_image, write_json, write_label_map
from cyclic.pseudo.score import ComponentScores, hull_mask, score_components, typical_area
from cyclic.pseudo.split import split_components
from cyclic.pseudo.threshold import check_map, threshold_map

# Multiples of the threshold at which components compete: pale nuclei are whole at low ones, clumps part at high ones.
LEVEL_FACTORS = (0.8, 1.0, 1.2, 1.4)
# A component that shares more than this with better ones is another view of the same nucleus.
MAX_OVERLAP = 0.1
# The area that `count` refers to: the paper's 1000 x 1000 images.
COUNT_AREA = 1_000_000


@dataclass
class PseudoMasks:
    """Pseudo masks of one image.

    Attributes:
        labels: `[H, W]` int32, 0 = no pseudo mask, 1..n by rank (1 = best).
        confidence: `[n]` float32 in [0, 1], of labels 1..n.
        ignore: `[H, W]` bool, neither a pseudo mask nor confidently background.
    """

    labels: np.ndarray
    confidence: np.ndarray
    ignore: np.ndarray


def components_over_levels(
    image_map: np.ndarray,
    method: str = "otsu",
    value: float | None = None,
    factors: Sequence[float] = LEVEL_FACTORS,
    second_map: np.ndarray | None = None,
    **split_options,
) -> tuple[np.ndarray, ComponentScores]:
    """Return the best components of `image_map` over several thresholds, and their scores.

    One threshold fits no image whole. Each factor's components are scored, then taken best first; one that overlaps
    what was taken before is left out. `factors=(1.0,)` gives the components of the one threshold.

    Args:
        image_map: `[H, W]` float in [0, 1].
        method, value: see `threshold_map`.
        factors: multiples of the threshold.
        second_map: see `score_components`.
        split_options: see `split_components`.

    Returns:
        `[H, W]` int32 label map, 1..n without gaps, and the scores of 1..n.
    """
    levels = [split_components(threshold_map(image_map, method, value, factor), **split_options) for factor in factors]
    # One expected area for all levels, or each level would favour its own fragments.
    areas = [np.bincount(level.ravel())[1:] for level in levels]
    expected_area = typical_area(np.concatenate(areas))
    scores = [score_components(level, image_map, second_map, expected_area) for level in levels]
    if len(levels) == 1:
        return levels[0], scores[0]
    labels = _best_first(levels, scores)
    return labels, score_components(labels, image_map, second_map, expected_area)


def _best_first(levels: list[np.ndarray], scores: list[ComponentScores]) -> np.ndarray:
    boxes = [ndimage.find_objects(level) for level in levels]
    level_of = np.concatenate([np.full(len(score), index) for index, score in enumerate(scores)])
    id_of = np.concatenate([score.ids for score in scores])
    confidence = np.concatenate([score.confidence for score in scores])
    taken = np.zeros(levels[0].shape, np.int32)
    count = 0
    for index in np.argsort(-confidence, kind="stable"):
        level, label = level_of[index], id_of[index]
        box = boxes[level][label - 1]
        component = levels[level][box] == label
        free = component & (taken[box] == 0)
        if free.sum() >= (1.0 - MAX_OVERLAP) * component.sum():
            count += 1
            taken[box][free] = count
    return taken


def select_pseudo_masks(
    labels: np.ndarray,
    scores: ComponentScores,
    count: float | None = None,
    share: float | None = None,
    min_confidence: float | None = None,
    *,
    image_map: np.ndarray | None = None,
    background_level: float | None = None,
    ring: int = 2,
    ignore_boxes: bool = False,
    hull: bool = False,
    rank_by: str = "confidence",
) -> PseudoMasks:
    """Return the best components as pseudo masks; where several limits are given, all hold.

    Args:
        labels: `[H, W]` integer, 0 = background.
        scores: of the components in `labels`.
        count: keep this many for 1000 x 1000 pixels, scaled by the image's area, at least one (paper: 20).
        share: keep this share of the components, in [0, 1].
        min_confidence: keep only components of at least this confidence, in [0, 1].
        image_map: `[H, W]` float in [0, 1]; what exceeds `background_level` outside every component is ignored too.
            None: everything outside the components is background, but for the rings of those not kept.
        background_level: in [0, 1]; None: Otsu's threshold times the lowest of LEVEL_FACTORS.
        ring: width in pixels of the ignored border around components that are not kept, and of the border around a
            pseudo mask that is background whatever the map says.
        ignore_boxes: ignore the whole boxes of the components not kept.
        hull: fill each pseudo mask to its convex hull where no other component lies (paper).
        rank_by: the attribute of `scores` to rank by; the paper ranks by "solidity" within its area limits.

    Raises:
        InputError: a limit is negative or a share, confidence or map outside [0, 1].
    """
    kept = scores.take(_ranking(scores, labels.shape, count, share, min_confidence, rank_by))
    new_label = np.zeros(int(labels.max(initial=0)) + 1, np.int32)
    new_label[kept.ids] = np.arange(1, len(kept) + 1)
    pseudo = new_label[labels]
    if hull:
        pseudo = _fill_hulls(pseudo, labels)
    rejected = (labels > 0) & (new_label[labels] == 0)
    ignore = widen(rejected, ring)
    if ignore_boxes:
        for box, new in zip(ndimage.find_objects(labels), new_label[1:], strict=True):
            if box is not None and new == 0:
                ignore[box] = True
    if image_map is not None:
        # Beside a pseudo mask the map is high as well, but with a free border the masks that learn from it grow.
        ignore |= (image_map > _background_level(image_map, background_level)) & ~widen(pseudo > 0, ring)
    return PseudoMasks(pseudo, kept.confidence, ignore & (pseudo == 0))


def confidence_cut(confidences: Sequence[np.ndarray], share: float) -> float:
    """Return the lowest confidence among the best `share` of the components of several images.

    Images differ: in one most components are nuclei, in another few. One cut for all keeps many of the first and few of
    the second, where one share for each image would keep the same part of both.

    Args:
        confidences: for each image `[n]` float in [0, 1].
        share: in [0, 1].

    Returns:
        A confidence in [0, 1]; 1 where the share holds no component.
    """
    pooled = np.sort(np.concatenate([*confidences, np.zeros(0, np.float32)]))[::-1]
    keep = round(share * len(pooled))
    return float(pooled[keep - 1]) if keep else 1.0


def widen(mask: np.ndarray, radius: int) -> np.ndarray:
    """Return `mask` (`[H, W]` bool) dilated by a disk of `radius` pixels."""
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return cv2.dilate(mask.astype(np.uint8), disk) > 0


def _ranking(
    scores: ComponentScores,
    shape: tuple[int, int],
    count: float | None,
    share: float | None,
    min_confidence: float | None,
    rank_by: str,
) -> np.ndarray:
    """Return the indices of the kept components, best first."""
    for key, limit, highest in (("count", count, np.inf), ("share", share, 1), ("min_confidence", min_confidence, 1)):
        if limit is not None and not 0 <= limit <= highest:
            raise InputError(f"{key}: {limit} is outside [0, {highest}]; correct the pseudo mask settings")
    order = np.argsort(-getattr(scores, rank_by), kind="stable")
    keep = len(order)
    if count is not None:
        keep = min(keep, max(round(count * shape[0] * shape[1] / COUNT_AREA), int(count > 0)))
    if share is not None:
        keep = min(keep, round(share * len(order)))
    order = order[:keep]
    return order if min_confidence is None else order[scores.confidence[order] >= min_confidence]


def _fill_hulls(pseudo: np.ndarray, labels: np.ndarray) -> np.ndarray:
    filled = pseudo.copy()
    for label, box in enumerate(ndimage.find_objects(pseudo), 1):
        hull = hull_mask(pseudo[box] == label)
        # The better mask comes first and keeps what two hulls claim.
        filled[box][hull & (labels[box] == 0) & (filled[box] == 0)] = label
    return filled


def _background_level(image_map: np.ndarray, level: float | None) -> float:
    low, high = check_map(image_map, "image_map")
    if level is not None:
        return level
    return high if low == high else LEVEL_FACTORS[0] * float(threshold_otsu(image_map))


def save_pseudo_masks(folder: str | Path, image_id: str, pseudo: PseudoMasks) -> None:
    """Write `labels/<id>.tif`, `ignore/<id>.png` (0 or 255) and, last, `scores/<id>.json` under `folder`."""
    folder = Path(folder)
    write_label_map(folder / "labels" / f"{image_id}.tif", pseudo.labels)
    write_image(folder / "ignore" / f"{image_id}.png", pseudo.ignore.astype(np.uint8) * 255)
    write_json(folder / "scores" / f"{image_id}.json", {"confidence": [float(value) for value in pseudo.confidence]})


def load_pseudo_masks(folder: str | Path, image_id: str) -> PseudoMasks:
    """Return what `save_pseudo_masks` wrote.

    Raises:
        InputError: a file is missing or broken, or the files do not belong together.
    """
    folder = Path(folder)
    labels = read_label_map(folder / "labels" / f"{image_id}.tif")
    ignore = read_image(folder / "ignore" / f"{image_id}.png")[..., 0] > 127
    scores_path = folder / "scores" / f"{image_id}.json"
    confidence = np.array(read_json(scores_path).get("confidence", []), np.float32)
    if ignore.shape != labels.shape or len(confidence) != labels.max(initial=0):
        raise InputError(f"{scores_path}: does not fit labels/ and ignore/ of this image; make the pseudo masks again")
    return PseudoMasks(labels, confidence, ignore)
