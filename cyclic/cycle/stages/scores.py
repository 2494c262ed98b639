"""Scores of a run on its val images. Nothing is selected by them."""

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from cyclic.cycle.checks import warn_of_masks
from cyclic.cycle.context import Context
from cyclic.evaluation.auc import mean_auc
from cyclic.evaluation.baseline import no_label_baseline
from cyclic.evaluation.compare import BASELINE
from cyclic.evaluation.empty_tissue import FALSE_PER_MM2, false_per_mm2, pooled_false_per_mm2
from cyclic.evaluation.metrics import evaluate_pair
from cyclic.images import read_map
from cyclic.label_maps import read_label_map

REPORTED = ("aji", "aji_plus", "dice", "dice2", "dq", "sq", "pq", "f1", "foreground_iou")


def score_baseline(context: Context) -> None:
    """Add the row of the no-label baseline (hematoxylin, Otsu, watershed)."""
    truths = _truths(context)
    warn_of_masks(context, truths)
    predictions = {name: no_label_baseline(context.images[name]) for name in truths}
    _add_row(context, truths, predictions, BASELINE, 0, 0)


def score_maps(context: Context, cycle: int) -> None:
    """Add the row of a cycle's activation maps on val: are they higher on nuclei than beside them?"""
    paths = {name: context.cycle(cycle).map(name) for name in context.scored_ids}
    missing = [path for path in paths.values() if not path.is_file()]
    if missing:  # a run of an earlier version does not remember which files it left
        warnings.warn(f"{missing[0]}: missing, so the maps of cycle {cycle} are not scored", stacklevel=2)
        return
    area = mean_auc((read_map(paths[name]), true) for name, true in _truths(context).items())
    context.run.add_rows([{"source": "map", "cycle": cycle, "split": "val", "auc": area}])


def score_pseudo_masks(context: Context, cycle: int) -> None:
    """Add the row of a cycle's pseudo masks on val."""
    folder = context.cycle(cycle).pseudo() / "labels"
    _add_row(context, _truths(context), _read(context, lambda name: folder / f"{name}.tif"), "pseudo_masks", cycle, 0)


def score_model(context: Context, cycle: int, round_: int) -> None:
    """Add the row of the Mask R-CNN after a round."""
    _add_row(context, _truths(context), _read(context, context.round(cycle, round_).prediction), "model", cycle, round_)


def _read(context: Context, path: Callable[[str], Path]) -> dict[str, np.ndarray]:
    return {name: read_label_map(path(name)) for name in context.scored_ids}


def _truths(context: Context) -> dict[str, np.ndarray]:
    assert context.val is not None, "scores are asked for without val images"
    return {name: context.val.label_map(name) for name in context.scored_ids}


def _add_row(
    context: Context,
    truths: dict[str, np.ndarray],
    predictions: dict[str, np.ndarray],
    source: str,
    cycle: int,
    round_: int,
) -> None:
    pairs = [(truths[name], labels) for name, labels in predictions.items()]
    scores = [evaluate_pair(*pair) for pair in pairs]
    means: dict[str, float | None] = {metric: float(np.mean([each[metric] for each in scores])) for metric in REPORTED}
    if context.config.mpp is not None:
        means[FALSE_PER_MM2] = pooled_false_per_mm2(false_per_mm2(*pair, context.config.mpp) for pair in pairs)
    context.run.add_rows([{"source": source, "cycle": cycle, "round": round_, "split": "val", **means}])
