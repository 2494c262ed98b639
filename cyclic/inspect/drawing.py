"""Pictures and tables that every notebook uses."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np

from cyclic.mrcnn.matterport.charts import display_table

# Width of one picture at most, in inches.
LARGEST = 6.0


def show_pictures(pictures: Sequence[tuple[str, np.ndarray]], columns: int = 4, width: float = 14.0) -> plt.Figure:
    """Show images side by side, each under its title.

    Args:
        pictures: (title, `[H, W, 3]` uint8 or `[H, W]` float in [0, 1], drawn in the colours of magma) pairs.
        columns: pictures in a row.
        width: of the whole at most, in inches.
    """
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    ratio = max(picture.shape[0] / picture.shape[1] for _, picture in pictures)
    side = min(width / columns, LARGEST)
    size = (columns * side, rows * (side * ratio + 0.3))
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    for place in axes.flat:
        place.axis("off")
        place.set_anchor("N")
    for place, (title, picture) in zip(axes.flat, pictures, strict=False):
        place.imshow(picture, cmap="magma", vmin=0, vmax=1)
        place.set_title(title, fontsize=10)
    return figure


def show_histograms(values: dict[str, np.ndarray], columns: int = 4, bins: int = 30) -> plt.Figure:
    """Draw a histogram of each array, with its median as a line."""
    rows = -(-len(values) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(14, 2.8 * rows), squeeze=False, layout="constrained")
    for place in axes.flat[len(values) :]:
        place.axis("off")
    for place, (title, found) in zip(axes.flat, values.items(), strict=False):
        place.set_title(title, fontsize=10)
        if len(found):
            place.hist(found, bins=bins, color="#0072b2", histtype="stepfilled")  # drawn as one shape, not as bars
            place.axvline(np.median(found), color="#d55e00")
    return figure


def middle(picture: np.ndarray, side: int = 400) -> np.ndarray:
    """Return the middle of an image or map, `side` px or less: of a whole large image outlines cannot be seen."""
    corner = [max(0, (length - side) // 2) for length in picture.shape[:2]]
    return picture[corner[0] : corner[0] + side, corner[1] : corner[1] + side]


def show_table(rows: Sequence[dict]) -> None:
    """Show rows of values under the keys of the first; numbers with three digits, None as a dash."""
    if rows:
        display_table([list(rows[0]), *([_cell(value) for value in row.values()] for row in rows)])


def _cell(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if isinstance(value, float | np.floating) else str(value)
