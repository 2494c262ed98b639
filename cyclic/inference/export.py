"""Write predictions for other tools: QuPath (GeoJSON), COCO (JSON with RLE), spreadsheets (CSV) and the eye (overlay).

Label maps themselves are written by `cyclic.files.write_label_map`. In all functions `labels` is `[H, W]` int, 0 =
background, with the labels 1..N, and `scores` `[N]` float in [0, 1], of label i at i - 1, as
`cyclic.inference.stitch.stitch` returns them.
"""

import csv
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pycocotools.mask
import scipy.ndimage as ndi
from skimage.measure import regionprops_table

from cyclic.draw.overlays import PRINT_DPI, contour_overlay
from cyclic.files import atomic_path, write_image, write_json

Ring = list[list[int]]
OBJECT_TYPE = "detection"
CLASS_NAME = "Nucleus"
CLASS_COLOR = (0, 158, 115)
# Measurements after label, score, x and y: skimage's name, ours, and the power of the unit of length in it.
MEASUREMENTS = (
    ("area", "area", 2),
    ("perimeter", "perimeter", 1),
    ("equivalent_diameter_area", "equivalent_diameter", 1),
    ("axis_major_length", "major_axis", 1),
    ("axis_minor_length", "minor_axis", 1),
    ("eccentricity", "eccentricity", 0),
    ("solidity", "solidity", 0),
    ("orientation", "orientation", 0),
)


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
    for index, (label, rows, columns) in enumerate(_nuclei(labels, scores)):
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
    write_json(path, {"type": "FeatureCollection", "features": features})


def packed_color(color: tuple[int, int, int]) -> int:
    """Return red, green and blue, 0 to 255, as Java packs them: opaque, a signed 32-bit number. QuPath 0.3 reads it."""
    red, green, blue = color
    return (red << 16 | green << 8 | blue) - (1 << 24)


def measure(labels: np.ndarray, scores: np.ndarray, pixel_size: float | None = None) -> dict[str, np.ndarray]:
    """Return label, score, centroid, size and shape of each nucleus, `{name: [N]}` by ascending label.

    Names carry their unit: `area_px2`, or `area_um2` with `pixel_size`. x and y are the centroid, pixel (0, 0) covering
    [0, 1] x [0, 1]; orientation is the angle in radians from the y axis to the major axis, counter-clockwise.
    Otherwise the definitions are those of `skimage.measure.regionprops`.

    Args:
        labels: `[H, W]` int.
        scores: `[N]` float, of label i at i - 1.
        pixel_size: side of a pixel in micrometres; None: measure in px.

    Raises:
        ValueError: fewer scores than labels, or `pixel_size` not over 0.
    """
    _require_scores(labels, scores)
    if pixel_size is not None and not pixel_size > 0:
        raise ValueError(f"pixel_size is {pixel_size}; give the side of a pixel in micrometres, over 0")
    scale, unit = (1.0, "px") if pixel_size is None else (float(pixel_size), "um")
    names = ("label", "centroid", *(theirs for theirs, _, _ in MEASUREMENTS))
    found = regionprops_table(np.asarray(labels), properties=names)
    measured = {
        "label": found["label"],
        "score": np.round(np.asarray(scores, float)[found["label"] - 1], 6),
        f"x_{unit}": (found["centroid-1"] + 0.5) * scale,
        f"y_{unit}": (found["centroid-0"] + 0.5) * scale,
    }
    for theirs, name, power in MEASUREMENTS:
        suffix = ("", f"_{unit}", f"_{unit}2")[power]
        measured[name + suffix] = found[theirs] * scale**power
    return measured


def polygons(mask: np.ndarray, offset: tuple[int, int] = (0, 0)) -> list[list[Ring]]:
    """Outline a mask along its pixel edges.

    Args:
        mask: `[H, W]` bool.
        offset: (x, y) added to every vertex.

    Returns:
        A polygon for each 4-connected part (parts that touch at a corner alone would give an invalid ring): its outer
        ring, then its holes, each a closed list of [x, y] at right angles. Filling them gives back exactly `mask`.
    """
    count, parts = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)
    found = []
    for part in range(1, count):
        # At double size a pixel has a first and a second half: contour pixel c of the half then maps to the edge (c +
        # 1) // 2.
        double = np.repeat(np.repeat((parts == part).astype(np.uint8), 2, axis=0), 2, axis=1)
        contours, hierarchy = cv2.findContours(double, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
        outer_first = np.argsort(hierarchy[0, :, 3] >= 0, kind="stable")
        found.append([_ring((contours[i][:, 0] + 1) // 2 + np.array(offset)) for i in outer_first])
    return found


def _ring(points: np.ndarray) -> Ring:
    """Closed ring of the corners among `points` (`[n, 2]` int, each step along one axis)."""
    points = points[np.any(points != np.roll(points, 1, axis=0), axis=1)]
    before, after = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
    corners = points[before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]].tolist()
    return [*corners, corners[0]]


def export_coco(path: str | Path, predictions: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
    """Write all images in one COCO file: a compressed RLE, box, area and score for each nucleus.

    Args:
        path: the .json file.
        predictions: `{file name: (labels, scores)}`.

    Raises:
        ValueError: fewer scores than labels.
        InputError: the file cannot be written.
    """
    images: list[dict] = []
    annotations: list[dict] = []
    for image_id, (name, (labels, scores)) in enumerate(predictions.items(), 1):
        height, width = labels.shape
        images.append({"id": image_id, "file_name": name, "height": height, "width": width})
        for label, rows, columns in _nuclei(labels, scores):
            rle = _rle(labels[:, columns] == label, columns.start, width)
            annotation = {
                "id": len(annotations) + 1,
                "image_id": image_id,
                "category_id": 1,
                "segmentation": {"size": [height, width], "counts": rle["counts"].decode("ascii")},
                "bbox": [columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start],
                "area": int(pycocotools.mask.area(rle)),
                "iscrowd": 0,
                "score": round(float(scores[label - 1]), 6),
            }
            annotations.append(annotation)
    categories = [{"id": 1, "name": "nucleus", "supercategory": "cell"}]
    write_json(path, {"images": images, "annotations": annotations, "categories": categories})


def _rle(strip: np.ndarray, left: int, width: int) -> dict:
    """Compressed RLE of a mask whose columns from `left` on are `strip` (`[H, w]` bool, not empty).

    RLE runs down the columns, so the columns beside the strip only lengthen its first and last run.
    """
    height = len(strip)
    flat = strip.ravel(order="F")
    changes = left * height + 1 + np.flatnonzero(flat[1:] != flat[:-1])
    if flat[0]:
        changes = np.concatenate([[left * height], changes])
    if flat[-1]:
        changes = np.append(changes, left * height + flat.size)
    if changes[-1] < width * height:  # an empty last run is not written
        changes = np.append(changes, width * height)
    counts = np.diff(changes, prepend=0)
    return pycocotools.mask.frPyObjects({"size": [height, width], "counts": counts.tolist()}, height, width)


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


def export_overlay(path: str | Path, image: np.ndarray, labels: np.ndarray) -> None:
    """Write `image` (`[H, W, 3]` uint8) with the nuclei outlined, at twice its size; the suffix chooses the format."""
    write_image(path, contour_overlay(image, labels), PRINT_DPI)


def _nuclei(labels: np.ndarray, scores: np.ndarray) -> Iterator[tuple[int, slice, slice]]:
    """Label, rows and columns of each nucleus that has pixels."""
    _require_scores(labels, scores)
    for label, where in enumerate(ndi.find_objects(labels), 1):
        if where is not None:
            yield label, *where


def _require_scores(labels: np.ndarray, scores: np.ndarray) -> None:
    if len(scores) < labels.max(initial=0):
        raise ValueError(f"{len(scores)} scores for labels up to {labels.max()}; give one for each label")
