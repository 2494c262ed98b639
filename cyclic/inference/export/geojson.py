"""QuPath detections as GeoJSON."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from cyclic.files import MARK, write_json
from cyclic.inference.export.measure import measure, nuclei
from cyclic.inference.export.polygons import polygons

OBJECT_TYPE = "detection"
CLASS_NAME = "Nucleus"
CLASS_COLOR = (0, 158, 115)


def export_geojson(path: str | Path, labels: np.ndarray, scores: np.ndarray, pixel_size: float | None = None) -> None:
    """Write one QuPath detection a nucleus, see `features`.

    Args:
        path: the .geojson file.
        labels, scores, pixel_size: see `measure`.

    Raises:
        ValueError: see `measure`.
        InputError: the file cannot be written.
    """
    found = list(features(labels, scores, measure(labels, scores, pixel_size)))
    content = {"type": "FeatureCollection", "generator": MARK, "features": found}
    write_json(path, content, compact=True)


def features(
    labels: np.ndarray, scores: np.ndarray, measured: dict[str, np.ndarray], offset: tuple[int, int] = (0, 0)
) -> Iterator[dict]:
    """Yield a GeoJSON feature for each nucleus: outline, the classification "Nucleus", and what was measured.

    Coordinates are (x, y) in px of the full image, pixel (0, 0) covering [0, 1] x [0, 1]; QuPath scales them itself.
    What QuPath 0.3 and later versions call by different names is written under both, and measurements are the list of
    names and values that all read.

    Args:
        labels, scores, offset: see `measure`.
        measured: what `measure` returns of them; its "label" becomes the feature's name.

    Raises:
        ValueError: see `measure`.
    """
    keys = [key for key in measured if key != "label"]
    for index, (label, rows, columns) in enumerate(nuclei(labels, scores)):
        corner = (columns.start + offset[0], rows.start + offset[1])
        parts = polygons(labels[rows, columns] == label, offset=corner)
        geometry = {"type": "Polygon", "coordinates": parts[0]}
        if len(parts) > 1:
            geometry = {"type": "MultiPolygon", "coordinates": parts}
        properties = {
            "objectType": OBJECT_TYPE,
            "object_type": OBJECT_TYPE,  # QuPath 0.3
            "name": str(measured["label"][index]),
            "classification": {"name": CLASS_NAME, "color": list(CLASS_COLOR), "colorRGB": packed_color(CLASS_COLOR)},
            "measurements": [{"name": key, "value": round(float(measured[key][index]), 6)} for key in keys],
        }
        yield {"type": "Feature", "geometry": geometry, "properties": properties}


def packed_color(color: tuple[int, int, int]) -> int:
    """Return red, green and blue, 0 to 255, as Java packs them: opaque, a signed 32-bit number. QuPath 0.3 reads it."""
    red, green, blue = color
    return (red << 16 | green << 8 | blue) - (1 << 24)
