"""Scores of a run on its val images. The only reader of val's instance labels; nothing is selected by them."""

import numpy as np

from cyclic.cycle.stages import Context
from cyclic.evaluation.baseline import no_label_baseline
from cyclic.evaluation.metrics import evaluate_pair
from cyclic.files import read_label_map

REPORTED = ("aji", "aji_plus", "dice", "dice2", "dq", "sq", "pq", "f1", "foreground_iou")


def score_baseline(context: Context) -> None:
    """Add the row of the no-label baseline (hematoxylin, Otsu, watershed)."""
    labels = {name: no_label_baseline(context.images[name]) for name in context.val.ids}
    _add_row(context, labels, "no_label_baseline", 0, 0)


def score_pseudo_masks(context: Context, cycle: int) -> None:
    """Add the row of a cycle's pseudo masks on val."""
    folder = context.run.path(f"cycle_{cycle}", "pseudo", "labels")
    _add_row(context, _read(context, folder), "pseudo_masks", cycle, 0)


def score_model(context: Context, cycle: int, round_: int) -> None:
    """Add the row of the model after a round."""
    folder = context.run.path(f"cycle_{cycle}", f"round_{round_}", "predictions")
    _add_row(context, _read(context, folder), "model", cycle, round_)


def _read(context, folder) -> dict[str, np.ndarray]:
    return {name: read_label_map(folder / f"{name}.tif") for name in context.val.ids}


def _add_row(context, predictions, source, cycle, round_) -> None:
    pairs = [evaluate_pair(context.val.label_map(name), labels) for name, labels in predictions.items()]
    means = {metric: float(np.mean([pair[metric] for pair in pairs])) for metric in REPORTED}
    context.run.add_rows([{"source": source, "cycle": cycle, "round": round_, "split": "val", **means}])
