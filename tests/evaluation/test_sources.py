"""Label maps from folders and COCO files, with their scores and classes."""

import json
import pathlib

import numpy as np
import pycocotools.mask
import pytest
import scipy.io
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cyclic.errors import InputError
from cyclic.evaluation.folders import evaluate_folders
from cyclic.evaluation.sources import open_source
from cyclic.inference.export import export_coco, export_geojson
from cyclic.label_maps import write_label_map

SHARED = pathlib.Path(__file__).resolve().parents[2].parent / "shared"


def squares(size=20):
    labels = np.zeros((size, size), np.int32)
    labels[2:8, 2:8], labels[10:18, 10:18] = 1, 2
    return labels


def read(path, name="a"):
    return open_source(path).readers[name]()


@pytest.mark.parametrize("suffix", ["tif", "png", "npy"])
def test_folder(tmp_path, suffix):
    write_label_map(tmp_path / f"a.{suffix}", squares())
    nuclei = read(tmp_path)
    np.testing.assert_array_equal(nuclei.labels, squares())
    assert nuclei.confidence is None and nuclei.classes is None and nuclei.origin == str(tmp_path / f"a.{suffix}")


@pytest.mark.parametrize(("labels_key", "class_key"), [("inst_map", "type_map"), ("instance_map", "class_map")])
def test_mat_with_classes(tmp_path, labels_key, class_key):
    scipy.io.savemat(tmp_path / "a.mat", {labels_key: squares(), class_key: squares() * 2.0})
    nuclei = read(tmp_path)
    np.testing.assert_array_equal(nuclei.classes, squares() * 2)
    assert nuclei.classes.dtype == np.int32


@pytest.mark.parametrize("classes", [squares()[:5], -squares(), squares() / 2])
def test_mat_with_bad_classes(tmp_path, classes):
    scipy.io.savemat(tmp_path / "a.mat", {"inst_map": squares(), "type_map": classes})
    with pytest.raises(InputError, match=r"a\.mat: type_map"):
        read(tmp_path)


@settings(max_examples=50, deadline=None)
@given(arrays(np.int32, (7, 9), elements=st.sampled_from([0, 0, 1, 2, 4])))
def test_coco_file_gives_back_what_was_exported(tmp_path_factory, labels):
    path = tmp_path_factory.mktemp("coco") / "a.json"
    export_coco(path, {"a.png": (labels, np.array([0.1, 0.2, 0.3, 0.4]))})
    nuclei = read(path)
    present = np.unique(labels[labels > 0])
    np.testing.assert_array_equal(nuclei.labels, np.searchsorted(present, labels) * (labels > 0) + (labels > 0))
    assert nuclei.classes is None
    if len(present):
        assert nuclei.confidence.tolist() == [label / 10 for label in present]


def coco(annotations, **more):
    image = {"id": 7, "file_name": "folder/a.png", "height": 20, "width": 20}
    return {"images": [image], "annotations": [{"image_id": 7, "category_id": 1} | each for each in annotations]} | more


def polygon(left, top, right, bottom):
    return [[left, top, right, top, right, bottom, left, bottom]]


def test_coco_polygons_and_uncompressed_rle(tmp_path):
    counts = [0, 20, 380]  # the first column
    content = coco([{"segmentation": polygon(5, 5, 15, 15)}, {"segmentation": {"size": [20, 20], "counts": counts}}])
    (tmp_path / "a.json").write_text(json.dumps(content))
    nuclei = read(tmp_path / "a.json")
    assert (nuclei.labels == 1).sum() == 100 and nuclei.labels[10, 10] == 1
    assert np.all(nuclei.labels[:, 0] == 2) and nuclei.confidence is None


def test_overlapping_masks_the_more_confident_has_the_pixel_and_a_hidden_one_no_score(tmp_path):
    annotations = [
        {"segmentation": polygon(0, 0, 10, 10), "score": 0.9},
        {"segmentation": polygon(5, 5, 15, 15), "score": 0.5},
        {"segmentation": polygon(2, 2, 4, 4), "score": 0.1},
        {"segmentation": polygon(0, 0, 20, 20), "score": 1.0, "iscrowd": 1},
    ]
    (tmp_path / "a.json").write_text(json.dumps(coco(annotations)))
    nuclei = read(tmp_path / "a.json")
    assert nuclei.labels[7, 7] == 1 and nuclei.labels[12, 12] == 2 and set(np.unique(nuclei.labels)) == {0, 1, 2}
    assert nuclei.confidence.tolist() == [0.9, 0.5]


def test_a_segmentation_is_rasterised_once(tmp_path, monkeypatch):
    rasterised, rasterise = [], pycocotools.mask.frPyObjects
    monkeypatch.setattr(pycocotools.mask, "frPyObjects", lambda *all_: rasterised.append(all_[0]) or rasterise(*all_))
    content = coco([{"segmentation": polygon(5, 5, 15, 15)}, {"segmentation": polygon(1, 1, 4, 4)}])
    (tmp_path / "a.json").write_text(json.dumps(content))
    source = open_source(tmp_path / "a.json")
    assert source.readers["a"]().labels.max() == 2 and len(rasterised) == 2


def test_coco_categories_are_classes(tmp_path):
    content = coco(
        [{"segmentation": polygon(0, 0, 5, 5)}, {"segmentation": polygon(10, 10, 15, 15), "category_id": 4}],
        categories=[{"id": 1, "name": "epithelial"}, {"id": 4, "name": "stromal"}],
    )
    (tmp_path / "a.json").write_text(json.dumps(content))
    nuclei = read(tmp_path / "a.json")
    assert nuclei.classes[2, 2] == 1 and nuclei.classes[12, 12] == 4
    found = evaluate_folders(tmp_path / "a.json", tmp_path / "a.json")
    assert set(found["classes"]) == {"1", "4"} and found["mean"]["mpq"] == pytest.approx(1, abs=2e-6)


def test_coco_image_without_nuclei_among_scored_ones(tmp_path):
    labels = squares()
    export_coco(tmp_path / "p.json", {"a.png": (labels, np.array([0.9, 0.8])), "b.png": (labels * 0, np.zeros(0))})
    write_label_map(tmp_path / "gt" / "a.tif", labels)
    write_label_map(tmp_path / "gt" / "b.tif", labels * 0)
    found = evaluate_folders(tmp_path / "p.json", tmp_path / "gt")
    assert found["mean"]["ap50"] == found["mean"]["coco_map"] == found["pooled"]["coco_map"] == 1.0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([{"image_id": 1, "segmentation": {}}], "not a bare list"),
        ({"images": []}, "not COCO's layout"),
        ({"images": [], "annotations": []}, "no images"),
        (coco([]) | {"images": [{"id": 1, "file_name": "a.png", "height": 0, "width": 5}]}, "0 x 5 pixels"),
        (coco([]) | {"images": [{"id": 1, "file_name": "a.png", "height": 10**6, "width": 10**6}]}, "correct height"),
    ],
)
def test_broken_coco_files_are_named(tmp_path, content, message):
    path = tmp_path / "broken.json"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=rf"broken\.json.*{message}"):
        read(path)


@pytest.mark.parametrize(
    ("annotation", "reason"),
    [
        ({"segmentation": {"size": [5, 5], "counts": [0, 25]}}, r"size \[5, 5\]"),
        ({}, "neither polygons nor run lengths"),
        ({"segmentation": [[1, 2, 3, 4]]}, "a polygon of 4 numbers"),
        ({"segmentation": [[1, 2, 3]]}, "a polygon of 3 numbers"),
        ({"segmentation": polygon(0, 0, 5, 5), "image_id": 8}, "image_id 8 is none of the images"),
        ({"segmentation": polygon(0, 0, 5, 5), "category_id": "x"}, "category_id 'x'"),
    ],
)
def test_a_bad_annotation_is_named_and_left_out(tmp_path, annotation, reason):
    good = {"segmentation": polygon(0, 0, 5, 5), "id": 1}
    (tmp_path / "a.json").write_text(json.dumps(coco([good, {"id": 4711, **annotation}])))
    with pytest.warns(UserWarning, match=rf"a\.json: 1 annotations left out \(4711: .*{reason}"):
        nuclei = read(tmp_path / "a.json")
    assert nuclei.labels.max() == 1 and (nuclei.labels > 0).sum() == 25


def test_a_score_that_is_no_number_is_named(tmp_path):
    scored = [{"segmentation": polygon(0, 0, 5, 5), "id": 1, "score": 0.5}]
    scored.append({"segmentation": polygon(9, 9, 15, 15), "id": 4711, "score": float("nan")})
    (tmp_path / "a.json").write_text(json.dumps(coco(scored)))
    with pytest.warns(UserWarning, match=r"a\.json: 1 annotations left out \(4711: score nan\)"):
        assert read(tmp_path / "a.json").confidence.tolist() == [0.5]
    labels = squares()
    write_label_map(tmp_path / "a.tif", labels)
    export_geojson(tmp_path / "a.geojson", labels, np.array([0.9, np.nan]))
    with pytest.raises(InputError, match=r"a\.geojson: a feature lacks its label or score .*score nan"):
        read(tmp_path)


def test_classes_of_complex_numbers_are_refused(tmp_path):
    labels = squares()
    scipy.io.savemat(tmp_path / "a.mat", {"inst_map": labels, "type_map": labels.astype(complex)})
    with pytest.raises(InputError, match=r"a\.mat: type_map or class_map is no map of classes"):
        read(tmp_path)


def test_neither_folder_nor_coco(tmp_path):
    write_label_map(tmp_path / "a.tif", squares())
    with pytest.raises(InputError, match=r"a\.tif: neither"):
        open_source(tmp_path / "a.tif")
    with pytest.raises(InputError, match="no such folder"):
        open_source(tmp_path / "nowhere")


@pytest.mark.skipif(not SHARED.is_dir(), reason="shared data not present")
@pytest.mark.parametrize("folder", ["consep/Train/Labels", "ccrcc_layout/Train/Labels"])
def test_real_mat_files_have_classes(folder):
    source = open_source(SHARED / "data" / folder)
    nuclei = next(iter(source.readers.values()))()
    assert nuclei.labels.max() > 3 and nuclei.classes.max() >= 1 and nuclei.classes.shape == nuclei.labels.shape
