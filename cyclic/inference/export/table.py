"""A CSV line for each nucleus."""

import csv
from pathlib import Path

import numpy as np

from cyclic.files import atomic_path
from cyclic.inference.export.measure import measure


def export_csv(path: str | Path, labels: np.ndarray, scores: np.ndarray, pixel_size: float | None = None) -> None:
    """Write a line for each nucleus with what `measure` returns of it.

    Args:
        path: the .csv file.
        labels, scores, pixel_size: see `measure`.

    Raises:
        ValueError: see `measure`.
        InputError: the file cannot be written.
    """
    columns = measure(labels, scores, pixel_size)
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*(column.tolist() for column in columns.values()), strict=True))
