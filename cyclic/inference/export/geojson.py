"""QuPath detections as GeoJSON."""

from pathlib import Path

import numpy as np

from cyclic.files import MARK, write_json
from cyclic.inference.export.measure import measure, nuclei
from cyclic.inference.export.polygons import polygons

OBJECT_TYPE = "detection"
CLASS_NAME = "Nucleus"
CLASS_COLOR = (0, 158, 115)


def export_geojson(path: str | Path, labels: np.ndarray, scores: np.ndarray, pixel_size: float | None = None) -> None:
    """Write one QuPath detection a nucleus: its outline, the classification "Nucleus", its score and `measure`'s rest.

    The feature's name is the label. Coordinates are (x, y) in px of the full image, pixel (0, 0) covering [0, 1] x [0,
    1]; QuPath scales them itself. What QuPath 0.3 and 0.4 call by different names is written under both, and
    measurements are the list of names and values that both read.

    Args:
        path: the .geojson file.
        labels, scores, pixel_size: see `measure`.

    Raises:
        ValueError: see `measure`.
        InputError: the file cannot be written.
    """
    features = []
    measured = measure(labels, scores, pixel_size)
    names = [name for name in measured if name != "label"]
    for index, (label, rows, columns) in enumerate(nuclei(labels, scores)):
        parts = polygons(labels[rows, columns] == label, offset=(columns.start, rows.start))
        geometry = {"type": "Polygon", "coordinates": parts[0]}
        if len(parts) > 1:
            geometry = {"type": "MultiPolygon", "coordinates": parts}
        properties = {
            "objectType": OBJECT_TYPE,
            "object_type": OBJECT_TYPE,  # QuPath 0.3
            "name": str(label),
            "classification": {"name": CLASS_NAME, "color": list(CLASS_COLOR), "colorRGB": packed_color(CLASS_COLOR)},
            "measurements": [{"name": name, "value": round(float(measured[name][index]), 6)} for name in names],
        }
        features.append({"type": "Feature", "geometry": geometry, "properties": properties})
    content = {"type": "FeatureCollection", "generator": MARK, "features": features}
    write_json(path, content, compact=True)


def packed_color(color: tuple[int, int, int]) -> int:
    """Return red, green and blue, 0 to 255, as Java packs them: opaque, a signed 32-bit number. QuPath 0.3 reads it."""
    red, green, blue = color
    return (red << 16 | green << 8 | blue) - (1 << 24)
