"""QuPath's import of GeoJSON, as its versions 0.3, 0.4 and 0.6 read: what they look for, and under which name."""

import json

import numpy as np
import pytest

from cyclic.inference.export.geojson import CLASS_COLOR, CLASS_NAME, export_geojson
from cyclic.inference.export.measure import measure


def read_0_3(properties):
    """Object type, class, colour and measurements; another type than a known one becomes an annotation."""
    packed = np.array(properties["classification"]["colorRGB"], np.int32).view(np.uint32)
    color = tuple(int(packed >> shift) & 255 for shift in (16, 8, 0))
    assert packed >> 24 == 255, "opaque"
    measurements = properties["measurements"]
    assert isinstance(measurements, list), "a mapping ends the import"
    found = {each["name"]: each["value"] for each in measurements}
    return properties.get("object_type", "annotation"), properties["classification"]["name"], color, found


def read_0_4(properties):
    measurements = properties["measurements"]
    if isinstance(measurements, list):
        measurements = {each["name"]: each["value"] for each in measurements}
    classification = properties["classification"]
    return (
        properties.get("objectType", "annotation"),
        classification["name"],
        tuple(classification["color"]),
        measurements,
    )


def objects_0_6(element):
    """The features that 0.6 finds in a file: of a collection, of a list of anything, or the one that it is."""
    if isinstance(element, list):
        return [feature for each in element for feature in objects_0_6(each)]
    if element.get("type") == "FeatureCollection":
        return objects_0_6(element["features"])
    return [element] if element.get("type") == "Feature" else []


def no_json_number(name):
    pytest.fail(f"{name} is no number in JSON")


@pytest.fixture
def exported(tmp_path):
    """A label map with a hole, a nucleus in two parts and one of a single pixel; its scores; its GeoJSON."""
    labels, scores = np.zeros((40, 60), np.int32), np.array([0.9, 0.7, 0.5])
    labels[2:20, 3:25] = 1
    labels[8:12, 9:15] = 0
    labels[25:30, 5:9] = labels[30:36, 9:14] = 2
    labels[39, 59] = 3
    export_geojson(tmp_path / "a.geojson", labels, scores, pixel_size=0.25)
    return labels, scores, json.loads((tmp_path / "a.geojson").read_text(), parse_constant=no_json_number)


def test_root_is_a_collection_of_features(exported):
    _, _, content = exported
    assert content["type"] == "FeatureCollection" and len(content["features"]) == 3
    assert all(feature["type"] == "Feature" for feature in content["features"])


@pytest.mark.parametrize("read", [read_0_3, read_0_4])
def test_both_versions_read_the_same_detections(exported, read):
    labels, scores, content = exported
    expected = measure(labels, scores, 0.25)
    del expected["label"]
    for index, feature in enumerate(content["features"]):
        kind, name, color, measurements = read(feature["properties"])
        assert (kind, name, color) == ("detection", CLASS_NAME, CLASS_COLOR)
        assert list(measurements) == list(expected)
        for key, values in expected.items():
            assert isinstance(measurements[key], float) and measurements[key] == pytest.approx(values[index], abs=1e-6)


def test_0_6_finds_the_same_objects_wrapped_or_not(exported):
    _, _, content = exported
    wrapped = objects_0_6(content)
    assert len(wrapped) == 3 and wrapped == objects_0_6(content["features"])
    assert [objects_0_6(feature) for feature in content["features"]] == [[feature] for feature in wrapped]


def test_geometry_is_polygons_of_closed_rings_in_pixels_of_the_image(exported):
    labels, _, content = exported
    kinds = [feature["geometry"]["type"] for feature in content["features"]]
    assert kinds == ["Polygon", "MultiPolygon", "Polygon"]
    for label, feature in enumerate(content["features"], 1):
        coordinates = feature["geometry"]["coordinates"]
        parts = coordinates if feature["geometry"]["type"] == "MultiPolygon" else [coordinates]
        area = 0
        for outer, *holes in parts:
            assert all(ring[0] == ring[-1] and len(ring) >= 4 for ring in (outer, *holes))
            area += shoelace(outer) - sum(map(shoelace, holes))
        assert area == (labels == label).sum()
        corners = np.concatenate([np.array(ring) for part in parts for ring in part])
        rows, columns = np.nonzero(labels == label)
        # (x, y) of the full image, not of a crop, not in micrometres.
        assert corners.min(axis=0).tolist() == [columns.min(), rows.min()]
        assert corners.max(axis=0).tolist() == [columns.max() + 1, rows.max() + 1]


def shoelace(ring):
    x, y = np.array(ring).T
    return abs(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1])) / 2
