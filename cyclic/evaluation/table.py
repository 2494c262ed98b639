"""Rows of metrics as a terminal table, as Markdown and as CSV."""

import csv
from collections.abc import Sequence
from pathlib import Path

import rich.markup
import rich.table

from cyclic.files import atomic_path

HEADINGS = {
    "source": "Source",
    "image": "Image",
    "cycle": "Cycle",
    "round": "Round",
    "split": "Split",
    "comparison": "Comparison",
    "metric": "Metric",
    "answers": "Answers",
    "tile_accuracy": "Held-out tiles told right",
    "error": "±",
    "alike": "Map like that of all",
    "correlation": "Correlation",
    "auc": "AUC",
    "aji": "AJI",
    "aji_plus": "AJI+",
    "dice": "Dice",
    "dice2": "Dice2",
    "dq": "DQ",
    "sq": "SQ",
    "pq": "PQ",
    "f1": "F1",
    "precision": "Precision",
    "recall": "Recall",
    "foreground_iou": "Foreground IoU",
    "hausdorff": "Hausdorff",
    "false_per_mm2": "False / mm²",
    "empty_mm2": "Empty mm²",
    "size_ratio": "Size ratio",
    "mpq": "mPQ",
    "f_d": "F_d",
    "type_accuracy": "Type accuracy",
    "f_c": "F_c",
    "ap50": "AP50",
    "coco_ap50": "COCO AP50",
    "coco_map": "COCO mAP",
    "merged_mask_aji": "Merged-mask AJI",
    "merged_object_f1": "Merged-object F1",
    "pixel_accuracy": "Pixel accuracy",
    "merged_mask_hausdorff": "Merged-mask Hausdorff",
    "pooled_dice": "Pooled Dice",
    "pooled_merged_object_f1": "Pooled merged-object F1",
    "n_true": "True",
    "n_pred": "Predicted",
    "difference": "Difference",
    "low": "95 % low",
    "high": "95 % high",
    "p": "p (Wilcoxon)",
    "n": "Images",
    "first": "First",
    "second": "Second",
    "n_both": "Answered by both",
    "share": "Same answer",
    "kappa": "Cohen's kappa",
    "model": "Model",
    "weights": "Weights",
    "mpp": "µm / pixel",
    "licence": "Licence",
    "what": "What",
    "found": "Found",
    "cure": "Cure",
    "stage": "Stage",
    "input": "Input",
    "output": "Output",
    "parameters": "Parameters",
    "peak_mb": "Peak memory, MB",
    "unit_s": "Seconds of one",
    "units": "How many",
    "hours": "Hours",
}
TEXT_COLUMNS = (
    *("image", "source", "split", "comparison", "metric", "first", "second", "model", "weights", "licence"),
    *("what", "found", "cure", "stage"),
)
MISSING = "–"


def image_rows(evaluation: dict) -> list[dict]:
    """Return the rows of what `evaluate_folders` returns: one for each image, then the mean.

    The 95 % interval, the figures of all images pooled and the mean of each class follow, where `evaluation` has them.
    """
    rows = [{"image": name, **metrics} for name, metrics in evaluation["images"].items()]
    rows.append({"image": "mean", **evaluation["mean"]})
    for end, name in enumerate(("95 % low", "95 % high")):
        ends = {metric: limits and limits[end] for metric, limits in evaluation.get("interval", {}).items()}
        rows += [{"image": name, **ends}] if ends else []
    if "pooled" in evaluation:
        rows.append({"image": "all images", **evaluation["pooled"]})
    classes = evaluation.get("classes", {})
    for name, of_class in classes.items():
        rows.append({"image": f"class {name}", **of_class["mean"]})
        if "f_c" in of_class:  # not in scores that an earlier version wrote
            rows[-1]["f_c"] = of_class["f_c"]
    return rows


def difference_rows(differences: Sequence[dict]) -> list[dict]:
    """Return the differences that `compare` returns as rows, with the heading of each metric for its name."""
    return [row | {"metric": _heading(row["metric"])} for row in differences]


def results_table(rows: Sequence[dict], title: str | None = None) -> rich.table.Table:
    """Return `rows` (dicts such as the run's `metrics.json` holds) as a rich table.

    Columns are the keys that occur in any row: those of `HEADINGS` in its order, then the others as they come. A value
    that a row lacks shows as a dash.
    """
    table = rich.table.Table(title=title)
    columns = _columns(rows)
    for column in columns:
        table.add_column(_heading(column), justify="left" if column in TEXT_COLUMNS else "right", overflow="fold")
    for row in rows:
        table.add_row(*map(rich.markup.escape, _cells(row, columns)))
    return table


def markdown_table(rows: Sequence[dict]) -> str:
    """Return `rows` as a Markdown table, the same cells as `results_table`, ending with a newline; no rows, no text."""
    columns = _columns(rows)
    if not columns:
        return ""
    rules = ["---" if column in TEXT_COLUMNS else "---:" for column in columns]
    lines = [[_heading(column) for column in columns], rules]
    lines += [[cell.replace("|", r"\|") for cell in _cells(row, columns)] for row in rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def write_csv(path: str | Path, rows: Sequence[dict]) -> None:
    """Write `rows` with the keys as the first line, numbers in full and an empty cell for what a row lacks.

    Raises:
        InputError: the file cannot be written.
    """
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, _columns(rows), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _columns(rows: Sequence[dict]) -> list[str]:
    present = dict.fromkeys(key for row in rows for key in row)
    return [key for key in HEADINGS if key in present] + [key for key in present if key not in HEADINGS]


def _heading(column: str) -> str:
    return HEADINGS.get(column, column.replace("_", " "))


def _cells(row: dict, columns: list[str]) -> list[str]:
    return [_cell(row.get(column), column) for column in columns]


def _cell(value: object, column: str) -> str:
    if value is None or value != value:  # NaN differs from itself
        return MISSING
    digits = ".2g" if column == "p" else ".3f"  # a small p is not 0.000
    return f"{value:{digits}}" if isinstance(value, float) else str(value)
