"""GeoJSON by its schema (RFC 7946, with what QuPath adds), and back to pixels."""

import json

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cyclic.inference.export.geojson import export_geojson

jsonschema = pytest.importorskip("jsonschema")  # of the extra [dev]

POSITION = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
RING = {"type": "array", "items": POSITION, "minItems": 4}
POLYGON = {"type": "array", "items": RING, "minItems": 1}


def geometry(kind, coordinates):
    properties = {"type": {"const": kind}, "coordinates": coordinates}
    return {"type": "object", "properties": properties, "required": ["type", "coordinates"]}


PROPERTIES = {
    "type": "object",
    "required": ["objectType", "name", "classification", "measurements"],
    "properties": {
        "objectType": {"enum": ["detection", "annotation", "cell"]},
        "name": {"type": "string"},
        "classification": {
            "type": "object",
            "required": ["name", "color"],
            "properties": {
                "name": {"type": "string"},
                "color": {
                    "type": "array",
                    "items": {"type": "integer", "minimum": 0, "maximum": 255},
                    "minItems": 3,
                    "maxItems": 3,
                },
            },
        },
        "measurements": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "value"],
                "properties": {"name": {"type": "string"}, "value": {"type": "number"}},
                "additionalProperties": False,
            },
        },
    },
}
FEATURE = {
    "type": "object",
    "required": ["type", "geometry", "properties"],
    "properties": {
        "type": {"const": "Feature"},
        "geometry": {
            "oneOf": [
                geometry("Polygon", POLYGON),
                geometry("MultiPolygon", {"type": "array", "items": POLYGON, "minItems": 1}),
            ]
        },
        "properties": PROPERTIES,
    },
}
SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "required": ["type", "features"],
    "properties": {"type": {"const": "FeatureCollection"}, "features": {"type": "array", "items": FEATURE}},
}


def polygons_of(feature):
    coordinates = feature["geometry"]["coordinates"]
    return coordinates if feature["geometry"]["type"] == "MultiPolygon" else [coordinates]


@settings(max_examples=100, deadline=None)
@given(arrays(np.int32, (7, 9), elements=st.sampled_from([0, 0, 1, 2, 4])))
def test_any_label_map_gives_valid_geojson(tmp_path_factory, labels):
    path = tmp_path_factory.mktemp("geojson") / "a.geojson"
    export_geojson(path, labels, np.array([0.1, 0.2, 0.3, 0.4]))
    content = json.loads(path.read_text())
    jsonschema.validate(content, SCHEMA)
    for ring in (ring for feature in content["features"] for polygon in polygons_of(feature) for ring in polygon):
        assert ring[0] == ring[-1], "RFC 7946, 3.1.6: a ring is closed"


@pytest.mark.parametrize("broken", ["type", "geometry", "properties"])
def test_the_schema_refuses_something(tmp_path, broken):
    export_geojson(tmp_path / "a.geojson", np.ones((3, 3), np.int32), np.ones(1))
    content = json.loads((tmp_path / "a.geojson").read_text())
    jsonschema.validate(content, SCHEMA)
    del content["features"][0][broken]
    with pytest.raises(jsonschema.ValidationError, match=broken):
        jsonschema.validate(content, SCHEMA)


def test_another_rasteriser_is_within_a_pixel(tmp_path):
    """OpenCV fills outlines with their border, so it may be off by the pixels along the edge and no more."""
    labels = np.zeros((90, 90), np.int32)
    cv2.ellipse(labels, (30, 30), (20, 12), 40, 0, 360, 1, -1)
    cv2.ellipse(labels, (30, 30), (5, 4), 0, 0, 360, 0, -1)
    cv2.ellipse(labels, (62, 60), (14, 18), 0, 0, 360, 2, -1)
    export_geojson(tmp_path / "a.geojson", labels, np.ones(2))
    for label, feature in enumerate(json.loads((tmp_path / "a.geojson").read_text())["features"], 1):
        mask, found = (labels == label).astype(np.uint8), np.zeros(labels.shape, np.uint8)
        for polygon in polygons_of(feature):
            cv2.fillPoly(found, [np.array(ring) for ring in polygon], 1)
        near = np.ones((3, 3), np.uint8)
        assert np.all(cv2.erode(mask, near) <= found) and np.all(found <= cv2.dilate(mask, near))
