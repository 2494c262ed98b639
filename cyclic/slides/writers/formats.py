"""The files that can be written of a slide, by name."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from cyclic.errors import InputError
from cyclic.slides.source import require
from cyclic.slides.writers.writer import Canvas, Writer


class Format(NamedTuple):
    """A kind of file.

    Attributes:
        suffix: what follows the slide's name.
        needs: modules of extras.
        is_folder: whether it is a folder of files.
    """

    suffix: str
    needs: tuple[str, ...]
    is_folder: bool = False


FORMATS = {
    "geojson": Format(".geojson", ()),
    "geojson.gz": Format(".geojson.gz", ()),
    "csv": Format(".csv", ()),
    "parquet": Format(".parquet", ("pyarrow",)),
    "ome-tiff": Format(".ome.tif", ("zarr",)),
    "ome-zarr": Format(".ome.zarr", ("zarr",), is_folder=True),
    "spatialdata": Format(".spatialdata.zarr", ("spatialdata",), is_folder=True),
}
DEFAULT_FORMATS = ("geojson", "csv")


def require_format(name: str) -> None:
    """Raise InputError for an unknown format, or one whose libraries are not installed; the message names the cure."""
    if name not in FORMATS:
        raise InputError(f"format {name or 'none'}: of slides, use one or more of {', '.join(FORMATS)}")
    for module in FORMATS[name].needs:
        extra = "spatialdata" if module == "spatialdata" else "slides"
        require(module, f"format {name}", f"pip install 'cyclic[{extra}]'")


def open_writer(name: str, path: Path, canvas: Canvas) -> Writer:
    """Return the writer of a format to `path`."""
    return _factory(name)(path, canvas)


def _factory(name: str) -> Callable[[Path, Canvas], Writer]:
    # Each imports libraries that the others' users may lack.
    if name.startswith("geojson"):
        from cyclic.slides.writers.outlines import GeoJsonWriter

        return GeoJsonWriter
    if name == "csv":
        from cyclic.slides.writers.tables import CsvWriter

        return CsvWriter
    if name == "parquet":
        from cyclic.slides.writers.tables import ParquetWriter

        return ParquetWriter
    if name == "spatialdata":
        from cyclic.slides.writers.spatial import SpatialDataWriter

        return SpatialDataWriter
    from cyclic.slides.writers.label_images import OmeTiffWriter, OmeZarrWriter

    return OmeTiffWriter if name == "ome-tiff" else OmeZarrWriter
