"""Several predictions side by side, and what `cyclic evaluate` writes."""

import csv
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from cyclic.errors import InputError
from cyclic.evaluation.compare import BASELINE, compare, evaluate_and_write, name_predictions
from cyclic.evaluation.folders import evaluate_folders
from cyclic.files import write_image
from cyclic.inference.export import export_coco
from cyclic.label_maps import write_label_map

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "scripts" / "evaluate.py"
PINK, PURPLE = (235, 200, 220), (90, 50, 130)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Six images of discs; `good` is off by a pixel, `bad` by more and misses a nucleus; `images` shows the discs."""
    root = tmp_path_factory.mktemp("compare")
    rng = np.random.default_rng(0)
    yy, xx = np.mgrid[:90, :90]
    for name in "abcdef":
        labels = np.zeros((90, 90), np.int32)
        for label, (y, x) in enumerate([(22, 22), (22, 65), (65, 22), (65, 65)], 1):
            labels[(yy - y) ** 2 + (xx - x) ** 2 < rng.integers(60, 200)] = label
        write_label_map(root / "gt" / f"{name}.tif", labels)
        write_label_map(root / "good" / f"{name}.png", np.roll(labels, 1, axis=0))
        write_label_map(root / "bad" / f"{name}.npy", np.roll(np.where(labels == 2, 0, labels), 3, axis=1))
        write_image(root / "images" / f"{name}.png", np.where(labels[..., None] > 0, PURPLE, PINK).astype(np.uint8))
    return root


def test_names():
    paths = name_predictions(["out/run_1", "second=out/run_2"])
    assert list(paths) == ["run_1", "second"] and paths["second"] == pathlib.Path("out/run_2")


def test_folder_with_an_equals_sign(tmp_path):
    (tmp_path / "lr=0.1").mkdir()
    assert name_predictions([tmp_path / "lr=0.1"])["lr=0"] == tmp_path / "lr=0.1"


@pytest.mark.parametrize("pred", [["a/x", "b/x"], ["=x"], ["x="], [], [f"{BASELINE}=x"]])
def test_bad_names(pred):
    with pytest.raises(InputError, match="--pred"):
        name_predictions(pred)


def test_differences(root):
    evaluations, differences = compare([f"first={root / 'bad'}", f"second={root / 'good'}"], root / "gt")
    assert list(evaluations) == ["first", "second"]
    assert evaluations["second"] == evaluate_folders(root / "good", root / "gt")
    row = next(row for row in differences if row["metric"] == "aji")
    expected = np.mean(
        [evaluations["second"]["images"][i]["aji"] - evaluations["first"]["images"][i]["aji"] for i in "abcdef"]
    )
    assert row["comparison"] == "second - first" and row["difference"] == pytest.approx(expected)
    assert 0 < row["low"] <= row["difference"] <= row["high"] and row["p"] == pytest.approx(2 / 2**6) and row["n"] == 6
    assert "n_pred" not in {row["metric"] for row in differences}


def test_a_prediction_equals_itself(root):
    _, differences = compare([f"a={root / 'good'}", f"b={root / 'good'}"], root / "gt")
    assert all(row["difference"] == 0 and row["p"] == 1 for row in differences)


def test_every_two_of_three_and_the_baseline(root):
    names = [f"x={root / 'good'}", f"y={root / 'bad'}"]
    evaluations, differences = compare(names, root / "gt", baseline=root / "images")
    assert list(evaluations) == [BASELINE, "x", "y"] and evaluations[BASELINE]["mean"]["aji"] > 0.8
    pairs = list(dict.fromkeys(row["comparison"] for row in differences))
    assert pairs == [f"x - {BASELINE}", f"y - {BASELINE}", "y - x"]


def test_baseline_without_an_image(root, tmp_path):
    write_image(tmp_path / "a.png", np.zeros((90, 90, 3), np.uint8))
    with pytest.raises(InputError, match="no image for b, c, d, e, f"):
        compare([root / "good"], root / "gt", baseline=tmp_path)


def test_metric_that_one_side_lacks_on_an_image_is_compared_on_the_others(root, tmp_path):
    for name in "abcdef":
        labels = np.zeros((90, 90), np.int32) if name == "a" else np.load(root / "bad" / f"{name}.npy")
        write_label_map(tmp_path / f"{name}.npy", labels)
    _, differences = compare([f"x={root / 'good'}", f"y={tmp_path}"], root / "gt")
    counts = {row["metric"]: row["n"] for row in differences}
    assert counts["hausdorff"] == 5 and counts["aji"] == 6


def test_both_missing_and_extra_ids_are_named(root, tmp_path):
    for name in "bcdefg":
        write_label_map(tmp_path / f"{name}.tif", np.zeros((90, 90), np.int32))
    with pytest.raises(InputError, match="no prediction for a;.*no ground truth for g;"):
        compare([tmp_path], root / "gt")


def test_files_of_one_prediction(root, tmp_path):
    files = {"json": tmp_path / "s.json", "csv": tmp_path / "s.csv", "markdown": tmp_path / "s.md"}
    (rows,) = evaluate_and_write([root / "good"], root / "gt", **files)
    content = json.loads(files["json"].read_text())
    assert content == evaluate_folders(root / "good", root / "gt")
    low, high = content["interval"]["aji"]
    assert low < content["mean"]["aji"] < high
    table = list(csv.DictReader(files["csv"].open()))
    assert [row["image"] for row in table] == [*"abcdef", "mean", "95 % low", "95 % high"] == [r["image"] for r in rows]
    assert float(table[6]["aji"]) == content["mean"]["aji"] and float(table[7]["aji"]) == low
    assert files["markdown"].read_text().startswith("| Image | AJI |")
    assert sorted(path.name for path in tmp_path.glob("[!.]*")) == ["s.csv", "s.json", "s.md"]


@pytest.mark.parametrize("name", ["s.json", "s.csv", "s.md", "s.differences.csv"])
def test_a_table_that_was_edited_stays_unless_asked(root, tmp_path, name):
    files = {"json": tmp_path / "s.json", "csv": tmp_path / "s.csv", "markdown": tmp_path / "s.md"}
    arguments = [root / "good", root / "bad"], root / "gt"
    evaluate_and_write(*arguments, **files)
    evaluate_and_write(*arguments, **files)  # our own tables are replaced
    with (tmp_path / name).open("a") as file:
        file.write("my remark\n")
    with pytest.raises(InputError, match=f"{name}: exists, and was edited since cyclic wrote it; .* add --overwrite"):
        evaluate_and_write(*arguments, **files)
    assert "my remark" in (tmp_path / name).read_text()
    evaluate_and_write(*arguments, **files, overwrite=True)
    assert "my remark" not in (tmp_path / name).read_text()


def test_files_of_a_comparison(root, tmp_path):
    files = {"json": tmp_path / "s.json", "csv": tmp_path / "s.csv", "markdown": tmp_path / "s.md"}
    scores, differences = evaluate_and_write([root / "good", root / "bad"], root / "gt", root / "images", **files)
    assert {row["source"] for row in scores} == {BASELINE, "good", "bad"} and len(scores) == 3 * 9
    content = json.loads(files["json"].read_text())
    assert content["name"] == "good" and content["images"] == evaluate_folders(root / "good", root / "gt")["images"]
    assert set(content["others"]) == {BASELINE, "bad"} and len(content["differences"]) == len(differences)
    assert len(list(csv.DictReader((tmp_path / "s.differences.csv").open()))) == len(differences)
    markdown = files["markdown"].read_text()
    assert (
        "| Source | Image |" in markdown and f"| good - {BASELINE} | AJI |" in markdown and "p (Wilcoxon)" in markdown
    )


def test_threshold_changes_matches_and_not_aji(root):
    loose, strict = (evaluate_folders(root / "bad", root / "gt", iou)["mean"] for iou in (0.2, 0.9))
    assert loose["f1"] > strict["f1"] and loose["aji"] == strict["aji"]
    with pytest.raises(InputError, match="1.5"):
        evaluate_folders(root / "bad", root / "gt", 1.5)


def test_coco_file_scores_like_the_folder(root, tmp_path):
    maps = {f"{path.stem}.png": np.load(path) for path in (root / "bad").iterdir()}
    export_coco(tmp_path / "bad.json", {name: (labels, np.full(4, 0.5)) for name, labels in maps.items()})
    found, expected = evaluate_folders(tmp_path / "bad.json", root / "gt"), evaluate_folders(root / "bad", root / "gt")
    assert {name: found["mean"][name] for name in expected["mean"]} == expected["mean"] and "ap50" in found["mean"]


def test_script_compares(root, tmp_path):
    command = [sys.executable, SCRIPT, "--pred", f"x={root / 'good'}", "--pred", f"y={root / 'bad'}"]
    command += ["--gt", root / "gt", "--baseline", root / "images", "--markdown", tmp_path / "s.md", "--iou", "0.4"]
    environment = os.environ | {"PYTHONPATH": str(SCRIPT.parents[1])}
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert "no_label_baseline" in done.stdout and "y - x" in done.stdout and "Wilcoxon" in done.stdout
    assert "y - x" in (tmp_path / "s.md").read_text()
