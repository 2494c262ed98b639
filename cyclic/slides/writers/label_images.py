"""Label images of the whole slide: OME-Zarr, and pyramidal OME-TIFF made of it.

The label of a nucleus is its label in the tables. Both say the physical size of a pixel where it is known.
"""

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from cyclic.files import MARK
from cyclic.slides.nuclei import Nuclei
from cyclic.slides.source import require
from cyclic.slides.writers.writer import Canvas

# Side of the pieces that are compressed one by one.
PIECE = 1024
# The coarsest level is no larger than this.
SMALLEST_LEVEL = 1024
# The version of OME-Zarr that viewers read today; its arrays are Zarr 2.
OME_ZARR, ZARR = "0.4", 2


def level_shapes(shape: tuple[int, int]) -> list[tuple[int, int]]:
    """Return (H, W) of each level; each is half of the one before.

    >>> level_shapes((3000, 5000))
    [(3000, 5000), (1500, 2500), (750, 1250), (375, 625)]
    """
    shapes = [shape]
    while max(shapes[-1]) > SMALLEST_LEVEL:
        height, width = shapes[-1]
        shapes.append((-(-height // 2), -(-width // 2)))
    return shapes


class OmeZarrWriter:
    """Writes an OME-Zarr 0.4 label image, a pyramid of arrays `0`, `1`, ...

    Args:
        path: the folder.
        canvas: of the slide.
    """

    def __init__(self, path: Path, canvas: Canvas):
        self._path, self._canvas = path, canvas

    def __enter__(self) -> "OmeZarrWriter":
        zarr = require("zarr", self._path)
        group = zarr.open_group(self._path, mode="w", zarr_format=ZARR)
        kind = np.uint16 if self._canvas.nuclei <= np.iinfo(np.uint16).max else np.uint32
        self.levels = [
            group.create_array(
                str(level), shape=shape, chunks=tuple(min(side, PIECE) for side in shape), dtype=kind,
                chunk_key_encoding={"name": "v2", "separator": "/"},
            )
            for level, shape in enumerate(level_shapes(self._canvas.shape))
        ]  # fmt: skip
        group.attrs.update(self._metadata())
        return self

    def add(self, nuclei: Nuclei) -> None:
        y, x = nuclei.corner
        height, width = nuclei.labels.shape
        where = (slice(y, y + height), slice(x, x + width))
        own = np.concatenate([[0], nuclei.numbers])[nuclei.labels]
        self.levels[0][where] = np.where(own > 0, own, self.levels[0][where])

    def __exit__(self, *error) -> None:
        if error[0] is None:
            for fine, coarse in zip(self.levels[:-1], self.levels[1:], strict=True):
                for rows, columns in pieces(coarse.shape):
                    finer = tuple(slice(2 * part.start, 2 * part.stop) for part in (rows, columns))
                    coarse[rows, columns] = fine[finer][::2, ::2]

    def _metadata(self) -> dict:
        """Return what OME-Zarr wants to know of the pyramid."""
        unit = {"unit": "micrometer"} if self._canvas.mpp else {}
        axes = [{"name": name, "type": "space", **unit} for name in "yx"]
        size = self._canvas.mpp or 1.0
        scales = [[size * 2**level] * 2 for level in range(len(self.levels))]
        datasets = [
            {"path": str(level), "coordinateTransformations": [{"type": "scale", "scale": scale}]}
            for level, scale in enumerate(scales)
        ]
        pyramid = {"version": OME_ZARR, "name": self._canvas.name, "axes": axes, "datasets": datasets}
        return {"multiscales": [pyramid], "image-label": {"version": OME_ZARR}, "generator": MARK}


class OmeTiffWriter(OmeZarrWriter):
    """Writes a pyramidal, tiled and compressed OME-TIFF label image; while nuclei come, in a folder beside it.

    Args:
        path: the .ome.tif file.
        canvas: of the slide.
    """

    def __init__(self, path: Path, canvas: Canvas):
        super().__init__(path.with_suffix(".pieces"), canvas)
        self._tiff = path

    def __exit__(self, *error) -> None:
        super().__exit__(*error)
        if error[0] is None:
            self._write()
        shutil.rmtree(self._path)

    def _write(self) -> None:
        mpp = self._canvas.mpp
        # By itself tifffile draws one by chance, and the same nuclei make the same bytes.
        name = {"UUID": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{MARK}/{self._canvas.name}"))}
        size = {f"PhysicalSize{axis}": mpp for axis in "XY"} | {f"PhysicalSize{axis}Unit": "µm" for axis in "XY"}
        common: dict[str, Any] = {
            "tile": (PIECE, PIECE), "compression": "zlib", "photometric": "minisblack", "software": MARK,
        }  # fmt: skip
        with tifffile.TiffWriter(self._tiff, bigtiff=True, ome=True) as tiff:
            for level, array in enumerate(self.levels):
                first: dict[str, Any] = {
                    "subifds": len(self.levels) - 1,
                    "metadata": {"axes": "YX", **name, **(size if mpp else {})},
                }
                density: dict[str, Any] = (
                    {"resolution": (1e4 / (mpp * 2**level),) * 2, "resolutionunit": "CENTIMETER"} if mpp else {}
                )
                rest: dict[str, Any] = first if level == 0 else {"subfiletype": 1, "metadata": None}
                tiff.write(_tiles(array), shape=array.shape, dtype=array.dtype, **common, **density, **rest)


def pieces(shape: tuple[int, int]) -> Iterator[tuple[slice, slice]]:
    """Yield rows and columns of each piece, row by row."""
    height, width = shape
    for y in range(0, height, PIECE):
        for x in range(0, width, PIECE):
            yield slice(y, min(y + PIECE, height)), slice(x, min(x + PIECE, width))


def _tiles(array) -> Iterator[np.ndarray]:
    """Yield the pieces of a label image, each filled up to a whole tile."""
    for rows, columns in pieces(array.shape):
        piece = array[rows, columns]
        yield np.pad(piece, [(0, PIECE - side) for side in piece.shape])
