"""A row for each nucleus, in CSV or Parquet."""

import csv
from pathlib import Path

import numpy as np

from cyclic.inference.export.measure import measure
from cyclic.slides.nuclei import Nuclei
from cyclic.slides.source import require
from cyclic.slides.writers.writer import Canvas


def column_names(mpp: float | None) -> list[str]:
    """Return the names of what is measured of a nucleus."""
    return list(measure(np.ones((1, 1), int), np.ones(1), mpp))


class CsvWriter:
    """Writes one line a nucleus.

    Args:
        path: the .csv file.
        canvas: of the slide.
    """

    def __init__(self, path: Path, canvas: Canvas):
        self._path, self._mpp = path, canvas.mpp

    def __enter__(self) -> "CsvWriter":
        self._file = open(self._path, "w", newline="", encoding="utf-8")  # noqa: SIM115
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow(column_names(self._mpp))
        return self

    def add(self, nuclei: Nuclei) -> None:
        columns = nuclei.measured
        self._writer.writerows(zip(*(column.tolist() for column in columns.values()), strict=True))

    def __exit__(self, *_) -> None:
        self._file.close()


class ParquetWriter:
    """Writes one row a nucleus, a row group for each call of `add`.

    Args:
        path: the .parquet file.
        canvas: of the slide.
    """

    def __init__(self, path: Path, canvas: Canvas):
        self._path, self._mpp, self._arrow = path, canvas.mpp, require("pyarrow", path)

    def __enter__(self) -> "ParquetWriter":
        arrow = self._arrow
        names = column_names(self._mpp)
        self._schema = arrow.schema([(name, arrow.int64() if name == "label" else arrow.float64()) for name in names])
        self._writer = require("pyarrow.parquet", self._path).ParquetWriter(self._path, self._schema)
        return self

    def add(self, nuclei: Nuclei) -> None:
        columns = nuclei.measured
        self._writer.write_table(
            self._arrow.table(
                {name: column.astype(float) if name != "label" else column for name, column in columns.items()},
                schema=self._schema,
            )
        )

    def __exit__(self, *_) -> None:
        self._writer.close()
