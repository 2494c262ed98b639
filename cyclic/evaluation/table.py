"""Rows of metrics as a terminal table and as Markdown."""

from collections.abc import Sequence

import rich.markup
import rich.table

HEADINGS = {
    "image": "Image",
    "source": "Source",
    "cycle": "Cycle",
    "round": "Round",
    "split": "Split",
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
    "ap50": "AP50",
    "n_true": "True",
    "n_pred": "Predicted",
}
TEXT_COLUMNS = ("image", "source", "split")
MISSING = "–"


def image_rows(evaluation: dict) -> list[dict]:
    """Return the rows of `{"images": {id: metrics}, "mean": metrics}`: one an image, the mean last."""
    rows = [{"image": name, **metrics} for name, metrics in evaluation["images"].items()]
    return [*rows, {"image": "mean", **evaluation["mean"]}]


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


def _columns(rows: Sequence[dict]) -> list[str]:
    present = dict.fromkeys(key for row in rows for key in row)
    return [key for key in HEADINGS if key in present] + [key for key in present if key not in HEADINGS]


def _heading(column: str) -> str:
    return HEADINGS.get(column, column.replace("_", " "))


def _cells(row: dict, columns: list[str]) -> list[str]:
    return [_cell(row.get(column)) for column in columns]


def _cell(value: object) -> str:
    if value is None or value != value:  # NaN differs from itself
        return MISSING
    return f"{value:.3f}" if isinstance(value, float) else str(value)
