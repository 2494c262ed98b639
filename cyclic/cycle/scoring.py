"""Scores of a run on its val images. The only reader of val's instance labels; nothing is selected by them."""

import numpy as np

from cyclic.cycle.stages import Context
from cyclic.draw.overlays import error_overlay
from cyclic.evaluation.baseline import no_label_baseline
from cyclic.evaluation.compare import BASELINE
from cyclic.evaluation.error_types import find_errors
from cyclic.evaluation.matching import contingency
from cyclic.evaluation.metrics import evaluate_pair
from cyclic.evaluation.ranking import precision_by_rank
from cyclic.files import read_label_map

REPORTED = ("aji", "aji_plus", "dice", "dice2", "dq", "sq", "pq", "f1", "foreground_iou")


def score_baseline(context: Context) -> None:
    """Add the row of the no-label baseline (hematoxylin, Otsu, watershed)."""
    labels = {name: no_label_baseline(context.images[name]) for name in context.val.ids}
    _add_row(context, labels, BASELINE, 0, 0)
    _show_baseline(context, 0)


def score_pseudo_masks(context: Context, cycle: int) -> None:
    """Add the row of a cycle's pseudo masks on val, and how their precision falls with the rank."""
    labels = _read(context, context.run.path(f"cycle_{cycle}", "pseudo", "labels"))
    row = _add_row(context, labels, "pseudo_masks", cycle, 0)
    _show(context, "pseudo_masks", row, context.rounds_before(cycle))
    truths = [context.val.label_map(name) for name in labels]
    for k, precision in enumerate(precision_by_rank(truths, list(labels.values())).tolist(), start=1):
        context.board.scalars(f"cycle_{cycle}/pseudo", {"pseudo_masks/precision_of_best_k": precision}, k)


def score_model(context: Context, cycle: int, round_: int) -> None:
    """Add the row of the model after a round."""
    labels = _read(context, context.run.path(f"cycle_{cycle}", f"round_{round_}", "predictions"))
    row, step = _add_row(context, labels, "model", cycle, round_), context.rounds_before(cycle, round_ + 1)
    _show(context, "model", row, step)
    _show_baseline(context, step)
    for name, predicted in labels.items():
        true = context.val.label_map(name)
        context.board.picture(name, "errors", step, _draw_errors, context.images[name], true, predicted)


def _draw_errors(image: np.ndarray, true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    return error_overlay(image, true, predicted, find_errors(contingency(true, predicted)), upscale=1)


def _show(context: Context, source: str, row: dict, step: int) -> None:
    context.board.scalars(source, {f"val/{metric}": row[metric] for metric in REPORTED}, step)


def _show_baseline(context: Context, step: int) -> None:
    """The same values again at each step: a line to look at the others by."""
    for row in context.run.rows:
        if row["source"] == BASELINE:
            _show(context, BASELINE, row, step)


def _read(context, folder) -> dict[str, np.ndarray]:
    return {name: read_label_map(folder / f"{name}.tif") for name in context.val.ids}


def _add_row(context, predictions, source, cycle, round_) -> dict:
    pairs = [evaluate_pair(context.val.label_map(name), labels) for name, labels in predictions.items()]
    means = {metric: float(np.mean([pair[metric] for pair in pairs])) for metric in REPORTED}
    row = {"source": source, "cycle": cycle, "round": round_, "split": "val", **means}
    context.run.add_rows([row])
    return row
