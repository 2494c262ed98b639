"""Folders of label maps: pairing by id, means, and messages."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from cyclic.errors import InputError
from cyclic.evaluation.folders import evaluate_folders
from cyclic.inference.export.geojson import export_geojson
from cyclic.label_maps import write_label_map

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "scripts" / "evaluate.py"


@pytest.fixture
def folders(tmp_path):
    """Two images: `a` is predicted perfectly, of the two nuclei of `b` one is missed."""
    labels = np.zeros((20, 20), np.int32)
    labels[2:8, 2:8], labels[10:18, 10:18] = 1, 2
    for name in ("a", "b"):
        write_label_map(tmp_path / "gt" / f"{name}.png", labels)
    write_label_map(tmp_path / "pred" / "a.tif", labels)
    write_label_map(tmp_path / "pred" / "b.npy", np.where(labels == 2, 0, labels))
    return tmp_path / "pred", tmp_path / "gt"


def test_images_and_mean(folders):
    found = evaluate_folders(*folders)
    assert list(found["images"]) == ["a", "b"]
    assert found["images"]["a"]["aji"] == 1.0 and found["images"]["b"]["recall"] == 0.5
    assert found["mean"]["recall"] == 0.75 and "ap50" not in found["mean"]
    json.dumps(found)


def test_scores_beside_the_label_maps_give_ap50(folders):
    pred, gt = folders
    labels = np.zeros((20, 20), np.int32)
    labels[2:8, 2:8], labels[10:18, 10:18] = 1, 2
    export_geojson(pred / "a.geojson", labels, np.array([0.9, 0.8]))
    assert "ap50" not in evaluate_folders(pred, gt)["mean"]
    export_geojson(pred / "b.geojson", np.where(labels == 2, 0, labels), np.array([0.9]))
    found = evaluate_folders(pred, gt)
    assert found["images"]["a"]["ap50"] == 1.0 and found["images"]["b"]["ap50"] == 0.5


def test_scores_are_read_from_what_qupath_exports_too(folders):
    """From 0.4 on it writes measurements as a mapping."""
    pred, gt = folders
    for name, values in (("a", {1: 0.9, 2: 0.8}), ("b", {1: 0.9})):
        features = [{"properties": {"name": str(k), "measurements": {"score": v}}} for k, v in values.items()]
        (pred / f"{name}.geojson").write_text(json.dumps({"features": features}))
    assert evaluate_folders(pred, gt)["images"]["b"]["ap50"] == 0.5


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"generator": "made by cyclic", ', "not valid JSON"),
        ('{"generator": "made by cyclic", "features": [{"properties": {}}]}', "lacks"),
        ('{"generator": "made by cyclic", "features": []}', "no score for label 1"),
    ],
)
def test_broken_scores_are_named(folders, content, message):
    pred, gt = folders
    for name in ("a", "b"):
        (pred / f"{name}.geojson").write_text(content)
    with pytest.raises(InputError, match=f"a.geojson.*{message}"):
        evaluate_folders(pred, gt)


@pytest.mark.parametrize("content", ["{", '{"features": [{"properties": {}}]}', '{"type": "FeatureCollection"}'])
def test_geojson_of_another_tool_has_no_say(folders, content):
    pred, gt = folders
    before = evaluate_folders(pred, gt)
    (pred / "a.geojson").write_text(content)
    (pred / "b.geojson").write_text(content)
    assert evaluate_folders(pred, gt) == before


def test_a_mask_of_all_nuclei_is_warned_of(tmp_path):
    labels = np.zeros((20, 20), np.int32)
    labels[2:8, 2:8] = labels[10:18, 10:18] = 255
    for folder in ("pred", "gt"):
        write_label_map(tmp_path / folder / "a.tif", labels)
    with pytest.warns(UserWarning, match=r"gt/a\.tif, .*pred/a\.tif: one label in many pieces, scored as one nucleus"):
        evaluate_folders(tmp_path / "pred", tmp_path / "gt")


def test_missing_prediction(folders):
    (folders[0] / "b.npy").unlink()
    with pytest.raises(InputError, match="no prediction for b"):
        evaluate_folders(*folders)


def test_prediction_without_ground_truth_names_the_first_few(folders):
    for i in range(8):
        write_label_map(folders[0] / f"extra{i}.tif", np.zeros((4, 4), np.int32))
    with pytest.raises(InputError, match="extra0, extra1, extra2, extra3, extra4 and 3 more"):
        evaluate_folders(*folders)


def test_shape_mismatch_names_the_file(folders):
    write_label_map(folders[0] / "a.tif", np.zeros((20, 21), np.int32))
    with pytest.raises(InputError, match=r"a\.tif: shape \(20, 21\)"):
        evaluate_folders(*folders)


def run_script(*arguments):
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(SCRIPT.parents[1])}
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def test_script_prints_the_table_and_writes_json(folders, tmp_path):
    pred, gt = folders
    done = run_script("--pred", pred, "--gt", gt, "--json", tmp_path / "scores.json")
    assert done.returncode == 0, done.stderr
    assert "AJI+" in done.stdout and "mean" in done.stdout
    assert json.loads((tmp_path / "scores.json").read_text()) == evaluate_folders(pred, gt)


def test_script_exits_2_with_one_line_on_bad_input(folders, tmp_path):
    done = run_script("--pred", tmp_path / "nowhere", "--gt", folders[1])
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "nowhere" in done.stderr
