"""The candidates for pseudo masks in one image, as a run's settings ask for them: map, components, scores, choice."""

from dataclasses import replace

import numpy as np

from cyclic.activation.maps import product_map
from cyclic.config import RunConfig
from cyclic.pseudo.background import trust_background
from cyclic.pseudo.fill import fill_centres
from cyclic.pseudo.score import ComponentScores, mean_within
from cyclic.pseudo.select import PseudoMasks, components_over_levels, confidence_cut, select_pseudo_masks
from cyclic.pseudo.split import relabel
from cyclic.stain import hematoxylin_map


def scored_components(
    activation: np.ndarray, image: np.ndarray, config: RunConfig, background: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, ComponentScores]:
    """Return the map that the components come from, the components (`[H, W]` int32, 1..n) and their scores.

    No component lies for more than half in `background`, `[H, W]` bool.
    """
    settings = config.pseudo
    hematoxylin = hematoxylin_map(image)
    sources = {
        "activation": lambda: activation,
        "hematoxylin": lambda: hematoxylin,
        "product": lambda: product_map(activation, hematoxylin),
    }
    found = fill_centres(sources[settings.source](), settings.max_hole, settings.closing)
    smooth = {} if settings.split else {"opening": 0, "outline_sigma": 0.0}
    labels, scores = components_over_levels(
        found,
        settings.threshold_method,
        settings.threshold,
        tuple(settings.factors),
        second_map=activation if settings.agreement else None,
        split=settings.split,
        max_hole=settings.max_hole,
        min_area=settings.min_area,
        max_area=settings.max_area,
        **smooth,
    )
    labels, seen = drop_unseen(labels, activation, settings.min_activation, background)
    return found, labels, replace(scores.take(seen), ids=scores.ids[: seen.sum()])


def drop_unseen(
    labels: np.ndarray, activation: np.ndarray, level: float, background: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels 1..N without those of a mean activation under `level`, renumbered, and which stay (`[N]` bool).

    Where the classifier finds no nucleus, what looks like one is stroma or debris more often than not. Nor do those
    stay of which more than half lies in `background`, `[H, W]` bool.
    """
    seen = mean_within(activation, labels) >= level
    if background is not None:
        seen &= mean_within(background, labels) <= 0.5
    return relabel(labels, np.append(False, seen)), seen


def pooled(config: RunConfig, confidences: list[np.ndarray]) -> RunConfig:
    """Return the configuration with the share replaced by the confidence that stands for it in all images together.

    Args:
        config: the run's configuration; one without `pseudo.pool` or share comes back as it is.
        confidences: `[n]` float in [0, 1] of the components of each training image.
    """
    settings = config.pseudo
    if not settings.pool or settings.share is None:
        return config
    cut = max(confidence_cut(confidences, settings.share), settings.min_confidence or 0.0)
    return config.with_pseudo(share=None, min_confidence=cut)


def select_components(found: np.ndarray, labels: np.ndarray, scores: ComponentScores, config: RunConfig) -> PseudoMasks:
    """Return those of `scored_components` that the configuration keeps; see `pooled` for a share of all images."""
    settings = config.pseudo
    return select_pseudo_masks(
        labels,
        scores,
        count=settings.count,
        share=settings.share,
        min_confidence=settings.min_confidence,
        image_map=found,
        hull=settings.hull,
        rank_by=settings.rank_by,
    )


def pseudo_masks(activation: np.ndarray, image: np.ndarray, config: RunConfig) -> PseudoMasks:
    """Return the pseudo masks of an image by itself: a share is of its own components, whatever `pseudo.pool` says.

    Args:
        activation: `[H, W]` float32 activation map in [0, 1].
        image: `[H, W, 3]` uint8.
        config: the run's configuration.
    """
    pseudo = select_components(*scored_components(activation, image, config), config)
    return trust_background(pseudo, activation, config.pseudo.background)
