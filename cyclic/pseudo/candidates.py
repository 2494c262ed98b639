"""Candidates for pseudo masks in one image: map, components, scores."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage
from scipy.special import logit

from cyclic.config import RunConfig
from cyclic.labels import areas, relabel
from cyclic.pseudo.background import outside_background
from cyclic.pseudo.fill import fill_centres
from cyclic.pseudo.recipe import Recipe, recipe_of
from cyclic.pseudo.score import ComponentScores, score_components, typical_area
from cyclic.pseudo.split import split_components
from cyclic.pseudo.threshold import threshold_map
from cyclic.stain import SCALE_PERCENTILES, hematoxylin_map, local_hematoxylin_map

# A component that shares more than this with better ones is another view of the same nucleus.
MAX_OVERLAP = 0.1
# What a component of the joined map is worth beside one of the stain, whose outlines are sharper.
JOINED_WORTH = 0.8
# Half a step of a map that was stored in 8 bits: the evidence of its 0 and 1.
LEAST = 0.5 / 255


@dataclass
class Candidates:
    """The components of one image that may become pseudo masks.

    Attributes:
        source: `[H, W]` float32 in [0, 1], the map that they come from; of two, the joined one.
        labels: `[H, W]` int32, 1..n.
        scores: of the labels 1..n.
    """

    source: np.ndarray
    labels: np.ndarray
    scores: ComponentScores


def find_candidates(
    image: np.ndarray, activation: np.ndarray | None, config: RunConfig, background: np.ndarray | None = None
) -> Candidates:
    """Return the candidates of an image.

    Args:
        image: `[H, W, 3]` uint8.
        activation: `[H, W]` float32 in [0, 1], the classifier's map; None where the recipe does not read it.
        config: the run's settings.
        background: `[H, W]` bool; no candidate lies in it for more than half. None: nothing is known.
    """
    recipe, settings = recipe_of(config), config.pseudo
    sources = source_maps(image, activation, recipe)
    labels, scores = components_over_levels(
        sources,
        recipe,
        settings.factors,
        settings.min_area,
        settings.max_area,
        activation if recipe.source == "both" else None,
    )
    if background is not None:
        kept = outside_background(labels, background)
        labels = relabel(labels, np.append(False, kept))
        scores = replace(scores.take(kept), ids=scores.ids[: kept.sum()])
    return Candidates(sources[-1], labels, scores)


def source_maps(image: np.ndarray, activation: np.ndarray | None, recipe: Recipe) -> list[np.ndarray]:
    """Return the maps that a recipe's components come from, pale centres of nuclei filled, `[H, W]` float32 in [0, 1].

    Those of "both" are the stain's local map, whose outlines are sharp and whose gaps are low, and the joined one,
    which knows pale nuclei. Without answers the local map would find nuclei in empty tissue, so "hematoxylin" is the
    stain's own map.

    Raises:
        ValueError: the recipe needs an activation map, and there is none.
    """
    if recipe.source == "hematoxylin":
        maps = [hematoxylin_map(image)]
    elif activation is None:
        raise ValueError("this recipe makes pseudo masks of the activation map; give one")
    elif recipe.source == "activation":
        maps = [activation]
    else:
        maps = [local_hematoxylin_map(image), join_maps(activation, hematoxylin_map(image))]
    return [fill_centres(each, recipe.max_hole) for each in maps]


def join_maps(activation: np.ndarray, stain: np.ndarray) -> np.ndarray:
    """Return the sum of the map's evidence and the stain, each in units of its own spread, `[H, W]` float32 in [0, 1].

    Args:
        activation: `[H, W]` float in [0, 1], the logistic function of evidence.
        stain: `[H, W]` float.
    """
    total = np.zeros(stain.shape, np.float32)
    for values in (logit(np.clip(activation, LEAST, 1 - LEAST)), stain):
        spread = values.std()
        total += (values - values.mean()) / spread if spread > 0 else 0
    low, high = np.percentile(total, SCALE_PERCENTILES)
    return np.clip((total - low) / max(high - low, LEAST), 0, 1).astype(np.float32)


def components_over_levels(
    sources: Sequence[np.ndarray],
    recipe: Recipe,
    factors: Sequence[float],
    min_area: int,
    max_area: int | None = None,
    activation: np.ndarray | None = None,
) -> tuple[np.ndarray, ComponentScores]:
    """Return the best components of one map or several over several thresholds, and their scores.

    One threshold fits no image whole. Each factor's components are scored, then taken best first, those of a second map
    by `JOINED_WORTH` of their confidence; one that overlaps what was taken before is left out. `factors=(1.0,)` gives
    the components of the one threshold.

    Args:
        sources: `[H, W]` float in [0, 1] each. The scores are those in the first.
        recipe: its threshold, and how components are split.
        factors: multiples of the threshold.
        min_area, max_area: limits in pixels; None for no largest one.
        activation: `[H, W]` float in [0, 1] for components to agree with; None: nobody is asked.

    Returns:
        `[H, W]` int32 label map, 1..n without gaps, and the scores of 1..n.
    """
    levels = [
        (
            1.0 if index == 0 else JOINED_WORTH,
            split_components(
                threshold_map(source, recipe.threshold, factor),
                min_area,
                max_area,
                split=recipe.split,
                max_hole=recipe.max_hole,
            ),
            source,
        )
        for index, source in enumerate(sources)
        for factor in factors
    ]
    # One expected area for all levels, or each level would favour its own fragments.
    expected_area = typical_area(np.concatenate([areas(level) for _, level, _ in levels]))

    scores = [score_components(level, source, expected_area, activation) for _, level, source in levels]
    if len(levels) == 1:
        return levels[0][1], scores[0]
    worth = [share * score.confidence for (share, _, _), score in zip(levels, scores, strict=True)]
    labels = _best_first([level for _, level, _ in levels], scores, worth)
    return labels, score_components(labels, sources[0], expected_area, activation)


def _best_first(
    levels: Sequence[np.ndarray], scores: Sequence[ComponentScores], worth: Sequence[np.ndarray]
) -> np.ndarray:
    boxes = [ndimage.find_objects(level) for level in levels]
    level_of = np.concatenate([np.full(len(score), index) for index, score in enumerate(scores)])
    id_of = np.concatenate([score.ids for score in scores])
    taken = np.zeros(levels[0].shape, np.int32)
    count = 0
    for index in np.argsort(-np.concatenate(worth), kind="stable"):
        level, label = level_of[index], id_of[index]
        box = boxes[level][label - 1]
        component = levels[level][box] == label
        free = component & (taken[box] == 0)
        if free.sum() >= (1.0 - MAX_OVERLAP) * component.sum():
            count += 1
            taken[box][free] = count
    return taken
