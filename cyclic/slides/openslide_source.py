"""Slides that OpenSlide reads: Aperio, Hamamatsu, MIRAX, Leica, Ventana, DICOM and generic pyramidal TIFF."""

from pathlib import Path

import numpy as np
import openslide

from cyclic.errors import InputError
from cyclic.files import TIFF_SUFFIXES
from cyclic.images import as_rgb
from cyclic.resolution import Resolution, judge, read_resolution
from cyclic.slides.source import Shape, readable, steps_of

BOUNDS = (
    openslide.PROPERTY_NAME_BOUNDS_Y,
    openslide.PROPERTY_NAME_BOUNDS_X,
    openslide.PROPERTY_NAME_BOUNDS_HEIGHT,
    openslide.PROPERTY_NAME_BOUNDS_WIDTH,
)


class OpenSlideSource:
    """A slide that OpenSlide reads, cut to its bounds.

    The scanned part of some slides lies anywhere within a large empty frame, and OpenSlide says where. QuPath cuts such
    a slide to that part, and its pixel (0, 0) is the part's corner. So it is here. What was not scanned is white.

    Args:
        path: the file.
        name: of the slide in messages; None: the path.

    Raises:
        InputError: OpenSlide cannot read it.
    """

    def __init__(self, path: Path, name: Path | None = None):
        self._path, self._name = path, name or path
        self._slide = _open(path)
        properties = self._slide.properties
        width, height = self._slide.dimensions
        self._top, self._left, rows, columns = 0, 0, height, width
        if all(name in properties for name in BOUNDS):
            self._top, self._left, rows, columns = (int(properties[name]) for name in BOUNDS)
        self.steps = steps_of([(h, w) for w, h in self._slide.level_dimensions])
        # The small number is for quotients that are whole but for rounding.
        self.levels: list[Shape] = [(int(rows / y + 1e-6), int(columns / x + 1e-6)) for y, x in self.steps]
        self.resolution = self._read_resolution()

    def read(self, level: int, y1: int, x1: int, y2: int, x2: int) -> np.ndarray:
        step_y, step_x = self.steps[level]
        corner = round(self._left + x1 * step_x), round(self._top + y1 * step_y)
        return as_rgb(
            readable(self._name, lambda: np.asarray(self._slide.read_region(corner, level, (x2 - x1, y2 - y1))))
        )

    def _read_resolution(self) -> Resolution:
        names = (openslide.PROPERTY_NAME_MPP_X, openslide.PROPERTY_NAME_MPP_Y)
        texts = [self._slide.properties.get(name) for name in names]
        if all(texts):
            try:
                return judge(*(float(str(text)) for text in texts))
            except ValueError:
                return Resolution(None, f"{texts[0]} x {texts[1]}, which are no numbers")
        return read_resolution(self._path) if self._path.suffix.lower() in TIFF_SUFFIXES else Resolution(None)


def dicom_series(path: Path) -> str:
    """Return what all files of a DICOM slide have in common, and no other slide has.

    Raises:
        InputError: OpenSlide cannot read it.
    """
    with _open(path) as slide:
        return slide.properties["dicom.SeriesInstanceUID"]


def _open(path: Path) -> openslide.OpenSlide:
    try:
        return openslide.OpenSlide(path)
    except Exception as error:  # OpenSlideError, and those of the C library's loader
        if path.suffix.lower() == ".dcm":
            cure = "take it out of the folder if it is no slide, or copy it again"
        else:
            cure = "copy or download it again, or convert it to a pyramidal TIFF"
        raise InputError(f"{path}: OpenSlide cannot open it ({error or 'unknown format'}); {cure}") from error
