"""A SpatialData store: the label image in a pyramid, the outlines, and a table of the measurements.

SpatialData writes outlines and table at once, so this one format holds all nuclei in memory, about 2 kB each.
"""

import shutil
from pathlib import Path
from typing import Any

import dask.array
import geopandas
import numpy as np
import pandas
import shapely
from anndata import AnnData
from spatialdata import SpatialData
from spatialdata.models import Labels2DModel, ShapesModel, TableModel
from spatialdata.transformations import Identity, Scale

from cyclic.inference.export.geojson import features
from cyclic.slides.nuclei import Nuclei
from cyclic.slides.writers.label_images import PIECE, OmeZarrWriter
from cyclic.slides.writers.writer import Canvas

LABELS, OUTLINES, TABLE = "nuclei_labels", "nuclei", "measurements"


class SpatialDataWriter:
    """Writes a store with the elements "nuclei_labels", "nuclei" and "measurements".

    Coordinates "global" are pixels of the slide; "micrometres" are there where the resolution is known.

    Args:
        path: the .zarr folder.
        canvas: of the slide.
    """

    def __init__(self, path: Path, canvas: Canvas):
        self._path, self._canvas = path, canvas
        self._labels = OmeZarrWriter(path.with_suffix(".pieces"), canvas)
        self._outlines: list[shapely.Geometry] = []
        self._columns: list[dict[str, np.ndarray]] = []

    def __enter__(self) -> "SpatialDataWriter":
        self._labels.__enter__()
        return self

    def add(self, nuclei: Nuclei) -> None:
        self._labels.add(nuclei)
        found = features(nuclei.labels, nuclei.scores, nuclei.measured, nuclei.offset)
        self._outlines += [shapely.geometry.shape(feature["geometry"]) for feature in found]
        self._columns.append(nuclei.measured)

    def __exit__(self, *error) -> None:
        if error[0] is None:
            self._elements().write(self._path, overwrite=True)
        shutil.rmtree(self._path.with_suffix(".pieces"))

    def _elements(self) -> SpatialData:
        mpp = self._canvas.mpp
        transformations: dict[str, Any] = {"global": Identity()}
        if mpp:
            transformations["micrometres"] = Scale([mpp, mpp], axes=("x", "y"))
        pixels = dask.array.from_zarr(self._labels.levels[0]).rechunk(PIECE)
        factors = [2] * (len(self._labels.levels) - 1)
        labels = Labels2DModel.parse(
            pixels, dims=("y", "x"), scale_factors=factors or None, transformations=transformations
        )
        vectors = self._vectors(transformations) if self._outlines else {}
        return SpatialData(labels={LABELS: labels}, **vectors)

    def _vectors(self, transformations: dict[str, Any]) -> dict[str, Any]:
        """Return outlines and table; their rows have the same index, the label."""
        columns = {key: np.concatenate([each[key] for each in self._columns]) for key in self._columns[0]}
        index = pandas.Index(columns.pop("label"), name="label")
        frame = geopandas.GeoDataFrame(geometry=self._outlines, index=index)
        values = np.stack([column.astype(np.float32) for column in columns.values()], axis=1)
        observed = pandas.DataFrame(
            {"label": index.to_numpy(), "region": pandas.Categorical([OUTLINES] * len(index))},
            index=index.astype(str).rename(None),
        )
        table = AnnData(X=values, obs=observed, var=pandas.DataFrame(index=list(columns)))
        return {
            "shapes": {OUTLINES: ShapesModel.parse(frame, transformations=transformations)},
            "tables": {TABLE: TableModel.parse(table, region=OUTLINES, region_key="region", instance_key="label")},
        }
