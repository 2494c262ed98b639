"""Pictures and tables that every notebook uses."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np

from cyclic.draw.overlays import error_overlay
from cyclic.evaluation.error_types import find_errors
from cyclic.evaluation.matching import contingency
from cyclic.mrcnn.matterport.charts import display_table

# Width of one picture at most, in inches.
LARGEST = 6.0
NOTHING = "nothing to show"


def show_pictures(pictures: Sequence[tuple[str, np.ndarray]], columns: int = 4, width: float = 14.0) -> plt.Figure:
    """Show images side by side, each under its title.

    Args:
        pictures: (title, `[H, W, 3]` uint8 or `[H, W]` float in [0, 1], drawn in the colours of magma) pairs.
        columns: pictures in a row.
        width: of the whole at most, in inches.

    Without pictures the figure says so.
    """
    if not pictures:
        return empty_figure()
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    ratio = max(picture.shape[0] / picture.shape[1] for _, picture in pictures)
    side = min(width / columns, LARGEST)
    size = (columns * side, rows * (side * ratio + 0.3))
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    for ax in axes.flat:
        ax.axis("off")
        ax.set_anchor("N")
    for ax, (title, picture) in zip(axes.flat, pictures, strict=False):
        ax.imshow(picture, cmap="magma", vmin=0, vmax=1)
        ax.set_title(title, fontsize=10)
    return figure


def show_histograms(values: dict[str, np.ndarray], columns: int = 4, bins: int = 30) -> plt.Figure:
    """Draw a histogram of each array, with its median as a line. Without arrays the figure says so."""
    if not values:
        return empty_figure()
    rows = -(-len(values) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(14, 2.8 * rows), squeeze=False, layout="constrained")
    for ax in axes.flat[len(values) :]:
        ax.axis("off")
    for ax, (title, numbers) in zip(axes.flat, values.items(), strict=False):
        ax.set_title(title, fontsize=10)
        if len(numbers):
            ax.hist(numbers, bins=bins, color="#0072b2", histtype="stepfilled")  # drawn as one shape, not as bars
            ax.axvline(np.median(numbers), color="#d55e00")
    return figure


def empty_figure() -> plt.Figure:
    """Return a figure that says that there is nothing to show."""
    figure, ax = plt.subplots(figsize=(LARGEST, 1), layout="constrained")
    ax.axis("off")
    ax.text(0.5, 0.5, NOTHING, ha="center", va="center", fontsize=10)
    return figure


def crop_middle(picture: np.ndarray, side: int = 400) -> np.ndarray:
    """Return the middle of an image or map, at most `side` px wide and high.

    In a large image outlines would be too thin to see.
    """
    top, left = (max(0, (length - side) // 2) for length in picture.shape[:2])
    return picture[top : top + side, left : left + side]


def draw_errors(image: np.ndarray, true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return the errors of a predicted label map over the image; see `draw.overlays.error_overlay`."""
    return error_overlay(image, true, predicted, find_errors(contingency(true, predicted)))


def show_table(rows: Sequence[dict]) -> None:
    """Show rows as a table under the keys of the first row. Numbers have three decimals, None is a dash."""
    if rows:
        display_table([list(rows[0]), *([_as_text(value) for value in row.values()] for row in rows)])


def _as_text(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if isinstance(value, float | np.floating) else str(value)
