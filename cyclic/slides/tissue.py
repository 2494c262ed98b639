"""Where tissue is: by colour, by polygons that a person drew, or everywhere."""

import json
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import shapely
from skimage.color import rgb2hsv
from skimage.filters import threshold_otsu

from cyclic.errors import InputError
from cyclic.files import read_json
from cyclic.labels import disk
from cyclic.slides.scaled import ScaledSlide
from cyclic.slides.source import Source

AUTO, NONE = "auto", "none"
# The thumbnail has no more pixels than this along a side.
THUMBNAIL = 2048
# Otsu's threshold parts glass from tissue where there is both. In a region of nothing but tissue it would part tissue
# from tissue, so it is kept between the saturation of tinted glass and that of pale stroma.
LEAST, MOST = 0.04, 0.10
# Tissue is widened by this share of the thumbnail's side, at least a pixel: what is pale at its rim belongs to it.
RIM = 0.004


class Tissue(Protocol):
    """Where to look, in px of the slide's region."""

    def touches(self, windows: np.ndarray) -> np.ndarray:
        """Return which of the windows `[n, 4]` (y1, x1, y2, x2), float px of the region, hold tissue; `[n]` bool."""

    def holds(self, points: np.ndarray) -> np.ndarray:
        """Return which of the points `[n, 2]` (x, y), float px of the region, count as found; `[n]` bool."""


class Everywhere:
    """No place is left out."""

    def touches(self, windows: np.ndarray) -> np.ndarray:
        return np.ones(len(windows), bool)

    def holds(self, points: np.ndarray) -> np.ndarray:
        return np.ones(len(points), bool)


class Coloured(Everywhere):
    """Where a thumbnail is coloured. What is found in a window that holds tissue counts, also beside it.

    Args:
        mask: `[h, w]` bool, of the thumbnail.
        shape: (H, W) of the region.
    """

    def __init__(self, mask: np.ndarray, shape: tuple[int, int]):
        self._total = cv2.integral(mask.astype(np.uint8))
        self._scale = np.array(mask.shape) / np.array(shape)
        self._last = np.array(mask.shape)

    def touches(self, windows: np.ndarray) -> np.ndarray:
        windows = windows.reshape(-1, 2, 2) * self._scale
        y1, x1 = np.clip(np.floor(windows[:, 0]).astype(int), 0, self._last - 1).T
        y2, x2 = np.clip(np.ceil(windows[:, 1]).astype(int), 1, self._last).T
        total = self._total
        return total[y2, x2] - total[y1, x2] - total[y2, x1] + total[y1, x1] > 0


class Drawn:
    """Polygons of a GeoJSON file. A nucleus counts if its centre lies in one.

    Args:
        shapes: the polygons, in px of the region.
    """

    def __init__(self, shapes: shapely.Geometry):
        self._shapes = shapes
        shapely.prepare(shapes)

    def touches(self, windows: np.ndarray) -> np.ndarray:
        y1, x1, y2, x2 = windows.T
        return shapely.intersects(self._shapes, shapely.box(x1, y1, x2, y2))

    def holds(self, points: np.ndarray) -> np.ndarray:
        return shapely.contains_xy(self._shapes, points)


def find_tissue(how: str | Path, source: Source, slide: ScaledSlide, name: object) -> Tissue:
    """Return where to look in a slide.

    Args:
        how: "auto", "none", or a GeoJSON file of polygons in px of the slide, as QuPath exports annotations.
        source: the slide.
        slide: the region of it that is to be looked at.
        name: of the slide, in messages.

    Raises:
        InputError: the file is missing or holds no polygon, or the slide cannot be read.
    """
    if str(how) == NONE:
        return Everywhere()
    y1, x1, y2, x2 = slide.region
    if str(how) != AUTO:
        return Drawn(shapely.transform(read_polygons(how), lambda corners: corners - np.array([x1, y1])))
    factor = min(1.0, THUMBNAIL / max(y2 - y1, x2 - x1))
    return Coloured(tissue_mask(read_thumbnail(ScaledSlide(source, slide.region, factor))), (y2 - y1, x2 - x1))


def read_thumbnail(small: ScaledSlide, rows: int = 64) -> np.ndarray:
    """Return all of a shrunk slide, `[h, w, 3]` uint8, read in strips: there may be no coarse level.

    Raises:
        InputError: the slide cannot be read.
    """
    height, width = small.shape[:2]
    return np.concatenate([small[y : min(y + rows, height), 0:width] for y in range(0, height, rows)])


def tissue_mask(image: np.ndarray) -> np.ndarray:
    """Return where an image (`[h, w, 3]` uint8) is coloured, `[h, w]` bool.

    Stain is coloured, glass and fat are not. The threshold on saturation is Otsu's, within limits.
    """
    saturation = cv2.GaussianBlur(rgb2hsv(image)[..., 1].astype(np.float32), (5, 5), 0)
    # Black is no stain but an edge of the glass or a pen, and its saturation is noise.
    saturation[image.max(axis=2) < 30] = 0
    limit = float(np.clip(threshold_otsu(saturation) if np.ptp(saturation) else MOST, LEAST, MOST))
    coloured = cv2.morphologyEx((saturation > limit).astype(np.uint8), cv2.MORPH_OPEN, disk(1))
    return cv2.dilate(coloured, disk(max(1, round(RIM * max(coloured.shape))))) > 0


def read_polygons(path: str | Path) -> shapely.Geometry:
    """Return all polygons of a GeoJSON file as one geometry, (x, y) in px of the slide.

    Raises:
        InputError: the file is missing, no GeoJSON, or holds no polygon.
    """
    content: object = read_json(path)
    if isinstance(content, list):  # QuPath, unless it is asked for a collection
        content = {"type": "FeatureCollection", "features": content}
    try:
        found = shapely.get_parts(shapely.from_geojson(json.dumps(content)))
        polygons = found[shapely.get_dimensions(found) == 2]
        if len(polygons) == 0:
            raise ValueError("no polygon in it")
        return shapely.union_all(shapely.make_valid(polygons))
    except (shapely.errors.ShapelyError, ValueError) as error:
        raise InputError(
            f"{path}: no polygons in GeoJSON ({error}); export annotations from QuPath, or give auto or none"
        ) from error
