"""COCO, outlines and GeoJSON hold exactly the pixels of the label map."""

import json

import cv2
import numpy as np
import pycocotools.coco
import pycocotools.mask
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib.path import Path as Outline

from cyclic.errors import InputError
from cyclic.inference.export import export_coco
from cyclic.inference.export.geojson import export_geojson
from cyclic.inference.export.polygons import polygons

small_labels = arrays(np.int32, (7, 9), elements=st.sampled_from([0, 0, 1, 2, 4]))


def rasterise(parts, shape):
    """Even-odd filling at the pixel centres."""
    yy, xx = np.mgrid[: shape[0], : shape[1]]
    centres = np.stack([xx.ravel() + 0.5, yy.ravel() + 0.5], axis=1)
    inside = np.zeros(len(centres), int)
    for ring in (ring for polygon in parts for ring in polygon):
        inside += Outline(ring).contains_points(centres)
    return (inside % 2 == 1).reshape(shape)


def blobs():
    labels = np.zeros((60, 80), np.int32)
    cv2.ellipse(labels, (20, 20), (14, 8), 30, 0, 360, 1, -1)
    cv2.ellipse(labels, (55, 40), (10, 15), 70, 0, 360, 2, -1)
    return labels, np.array([0.875, 0.5], np.float32)


@settings(max_examples=200, deadline=None)
@given(small_labels)
def test_filled_polygons_equal_the_mask(labels):
    mask = labels > 0
    assert np.array_equal(rasterise(polygons(mask), mask.shape), mask)


@settings(max_examples=100, deadline=None)
@given(small_labels)
def test_rings_are_closed_rectilinear_and_never_visit_a_point_twice(labels):
    for polygon in polygons(labels > 0, offset=(100, 200)):
        for ring in polygon:
            assert ring[0] == ring[-1] and len(ring) >= 5
            assert len({tuple(point) for point in ring}) == len(ring) - 1
            steps = np.diff(ring, axis=0)
            assert np.all((steps == 0).sum(axis=1) == 1)
            assert np.all((steps[1:] == 0).argmax(axis=1) != (steps[:-1] == 0).argmax(axis=1)), "only corners"
            assert np.min(ring, axis=0)[0] >= 100 and np.min(ring, axis=0)[1] >= 200


def test_single_pixel_and_hole():
    assert sorted(map(tuple, polygons(np.ones((1, 1), bool))[0][0][:-1])) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    ring = np.ones((3, 3), bool)
    ring[1, 1] = False
    (polygon,) = polygons(ring)
    assert sorted(map(tuple, polygon[1][:-1])) == [(1, 1), (1, 2), (2, 1), (2, 2)]


def test_geojson_holds_what_qupath_reads(tmp_path):
    labels, scores = blobs()
    export_geojson(tmp_path / "a.geojson", labels, scores)
    content = json.loads((tmp_path / "a.geojson").read_text())
    assert content["type"] == "FeatureCollection" and len(content["features"]) == 2
    for label, feature in enumerate(content["features"], 1):
        properties = feature["properties"]
        assert feature["type"] == "Feature" and properties["objectType"] == "detection"
        assert properties["classification"]["name"] == "Nucleus" and len(properties["classification"]["color"]) == 3
        measurements = {each["name"]: each["value"] for each in properties["measurements"]}
        assert measurements["score"] == pytest.approx(float(scores[label - 1]))
        assert measurements["area_px2"] == (labels == label).sum() and 0.9 < measurements["solidity"] <= 1
        assert properties["name"] == str(label) and feature["geometry"]["type"] == "Polygon"
        assert np.array_equal(rasterise([feature["geometry"]["coordinates"]], labels.shape), labels == label)


def test_geojson_of_a_nucleus_in_two_parts(tmp_path):
    labels = np.zeros((8, 8), int)
    labels[1:3, 1:3] = labels[3:5, 3:5] = 1
    export_geojson(tmp_path / "a.geojson", labels, np.ones(1))
    geometry = json.loads((tmp_path / "a.geojson").read_text())["features"][0]["geometry"]
    assert geometry["type"] == "MultiPolygon" and len(geometry["coordinates"]) == 2


@settings(max_examples=50, deadline=None)
@given(small_labels)
def test_coco_rle_equals_encode_of_the_full_mask(tmp_path_factory, labels):
    path = tmp_path_factory.mktemp("coco") / "a.json"
    export_coco(path, {"a.png": (labels, np.array([0.1, 0.2, 0.3, 0.4]))})
    annotations = json.loads(path.read_text())["annotations"]
    present = np.unique(labels[labels > 0])
    assert len(annotations) == len(present)
    for label, annotation in zip(present, annotations, strict=True):
        expected = pycocotools.mask.encode(np.asfortranarray(labels == label, np.uint8))
        assert annotation["segmentation"]["counts"] == expected["counts"].decode()
        assert annotation["area"] == np.sum(labels == label)
        assert annotation["bbox"] == pycocotools.mask.toBbox(expected).tolist()
        assert annotation["score"] == pytest.approx(label / 10)


def test_coco_of_two_images_is_read_by_pycocotools(tmp_path):
    labels, scores = blobs()
    export_coco(tmp_path / "all.json", {"a.png": (labels, scores), "b.png": (labels.T.copy(), scores)})
    coco = pycocotools.coco.COCO(tmp_path / "all.json")
    assert [image["file_name"] for image in coco.loadImgs(coco.getImgIds())] == ["a.png", "b.png"]
    assert len(coco.getAnnIds(imgIds=[2])) == 2
    assert np.array_equal(coco.annToMask(coco.anns[1]), labels == 1)


def test_empty_label_map(tmp_path):
    empty = np.zeros((5, 6), np.int32)
    export_geojson(tmp_path / "a.geojson", empty, np.zeros(0))
    export_coco(tmp_path / "a.json", {"a.png": (empty, np.zeros(0))})
    assert json.loads((tmp_path / "a.geojson").read_text())["features"] == []
    assert json.loads((tmp_path / "a.json").read_text())["annotations"] == []


def test_too_few_scores(tmp_path):
    with pytest.raises(ValueError, match="1 scores"):
        export_geojson(tmp_path / "a.geojson", blobs()[0], np.ones(1))
    assert not list(tmp_path.iterdir())


def test_target_that_is_a_folder(tmp_path):
    (tmp_path / "a.geojson").mkdir()
    with pytest.raises(InputError, match="a.geojson"):
        export_geojson(tmp_path / "a.geojson", *blobs())
