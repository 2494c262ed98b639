"""False nuclei per mm² of tissue without nuclei, worked out by hand."""

import csv
import json

import numpy as np
import pytest

from cyclic import cli, evaluate
from cyclic.errors import InputError
from cyclic.evaluation.compare import compare, evaluate_and_write
from cyclic.evaluation.empty_tissue import false_per_mm2, find_empty_tissue, pooled_false_per_mm2
from cyclic.evaluation.folders import evaluate_folders
from cyclic.label_maps import write_label_map


def dots(shape, *places):
    """A label map of 3 x 3 px nuclei around the places."""
    labels = np.zeros(shape, np.int32)
    for label, (y, x) in enumerate(places, 1):
        labels[y - 1 : y + 2, x - 1 : x + 2] = 7 * label  # ids with gaps
    return labels


def test_without_a_true_nucleus_the_whole_image_counts():
    pred = dots((200, 300), (5, 5), (100, 100), (150, 250))
    # 200 x 300 px of 0.5 µm are 0.1 mm x 0.15 mm.
    found = false_per_mm2(np.zeros((200, 300), np.int32), pred, 0.5)
    assert found == {"false_per_mm2": pytest.approx(3 / 0.015), "empty_mm2": pytest.approx(0.015)}


def test_around_a_true_nucleus_nothing_counts():
    true = np.zeros((41, 41), np.int32)
    true[20, 20] = 1
    y, x = np.mgrid[:41, :41] - 20
    empty = find_empty_tissue(true, 1.0)
    np.testing.assert_array_equal(empty, y**2 + x**2 > 100)  # farther than 10 µm
    # The same circle of 10 µm has 20 pixels of 0.5 µm: only the corners of the image lie outside.
    np.testing.assert_array_equal(find_empty_tissue(true, 0.5), y**2 + x**2 > 400)
    # One prediction on the nucleus, one whose centroid is 10 px off and one 11 px off.
    for x, count in ((20, 0), (30, 0), (31, 1)):
        found = false_per_mm2(true, dots((41, 41), (20, x)), 1.0)
        assert found["false_per_mm2"] == pytest.approx(count / (empty.sum() / 1e6))


def test_a_prediction_that_touches_the_margin_counts_by_its_centroid():
    true = np.zeros((30, 60), np.int32)
    true[:, 0] = 1  # columns 11 and up are empty: 30 x 49 px
    pred = np.zeros_like(true)
    pred[5, 8:15] = 1  # centroid in column 11
    pred[9, 7:14] = 2  # centroid in column 10
    found = false_per_mm2(true, pred, 1.0)
    assert found == {"false_per_mm2": pytest.approx(1 / (30 * 49e-6)), "empty_mm2": pytest.approx(30 * 49e-6)}


def test_an_empty_prediction_has_no_false_nucleus():
    assert false_per_mm2(dots((100, 100), (50, 50)), np.zeros((100, 100), int), 1.0)["false_per_mm2"] == 0.0


def test_an_image_full_of_nuclei_has_no_empty_tissue_and_no_figure():
    true = dots((20, 20), (10, 10))
    assert false_per_mm2(true, dots((20, 20), (2, 2)), 0.25) == {"false_per_mm2": None, "empty_mm2": 0.0}


def test_of_several_images_all_false_nuclei_count_over_all_empty_tissue():
    nothing = np.zeros((100, 100), np.int32)
    bare = false_per_mm2(nothing, dots((100, 100), (9, 9), (50, 50)), 1.0)  # 2 in 0.01 mm²
    clean = false_per_mm2(np.zeros((300, 100), np.int32), np.zeros((300, 100), np.int32), 1.0)  # 0 in 0.03 mm²
    full = false_per_mm2(np.ones((9, 9), np.int32), nothing[:9, :9], 1.0)
    assert pooled_false_per_mm2([bare, clean, full]) == pytest.approx(2 / 0.04)
    assert pooled_false_per_mm2([full]) is None and pooled_false_per_mm2([]) is None


@pytest.mark.parametrize("mpp", [0, -1, float("nan"), float("inf")])
def test_a_pixel_has_a_size(tmp_path, mpp):
    with pytest.raises(ValueError, match="give the micrometres per pixel"):
        false_per_mm2(np.zeros((4, 4), int), np.zeros((4, 4), int), mpp)
    write_label_map(tmp_path / "a.tif", np.zeros((4, 4), int))
    with pytest.raises(InputError, match="mpp .*: give the micrometres per pixel"):
        evaluate_folders(tmp_path, tmp_path, mpp=mpp)


def test_maps_of_two_images_are_refused():
    with pytest.raises(ValueError, match="both must show the same image"):
        false_per_mm2(np.zeros((4, 4), int), np.zeros((4, 5), int))


def test_the_python_door_counts_them_where_it_is_told_the_size_of_a_pixel():
    true, pred = np.zeros((100, 100), int), dots((100, 100), (50, 50))
    assert "false_per_mm2" not in evaluate(pred, true)
    assert evaluate(pred, true, mpp=1.0)["false_per_mm2"] == pytest.approx(100.0)


@pytest.fixture
def folders(tmp_path):
    """`bare` has no nucleus and two predicted, `large` three times the area and none, `full` no empty tissue."""
    maps = {
        "bare": (np.zeros((100, 100), int), dots((100, 100), (9, 9), (50, 50))),
        "large": (np.zeros((300, 100), int), np.zeros((300, 100), int)),
        "full": (np.ones((9, 9), int), np.zeros((9, 9), int)),
    }
    for name, (true, pred) in maps.items():
        write_label_map(tmp_path / "gt" / f"{name}.tif", true)
        write_label_map(tmp_path / "pred" / f"{name}.tif", pred)
    return tmp_path / "pred", tmp_path / "gt"


def test_folders_have_it_for_each_image_and_in_the_mean(folders):
    found = evaluate_folders(*folders, mpp=1.0)
    assert {name: row["false_per_mm2"] for name, row in found["images"].items()} == {
        "bare": pytest.approx(200.0),
        "large": 0.0,
        "full": None,
    }
    assert found["mean"]["false_per_mm2"] == pytest.approx(50.0)
    low, high = found["interval"]["false_per_mm2"]
    assert low == 0.0 and high == pytest.approx(200.0)  # draws of one image alone
    assert found["images"]["bare"]["empty_mm2"] == pytest.approx(0.01)
    # A pixel of half the side has a quarter of the area.
    assert evaluate_folders(*folders, mpp=0.5)["mean"]["false_per_mm2"] == pytest.approx(200.0)
    assert evaluate_folders(*folders)["mean"]["false_per_mm2"] == pytest.approx(800.0)


def test_files_have_it_and_the_size_of_a_pixel_that_was_taken(folders, tmp_path):
    files = {"json": tmp_path / "s.json", "csv": tmp_path / "s.csv", "markdown": tmp_path / "s.md"}
    evaluate_and_write([folders[0]], folders[1], **files)
    content = json.loads(files["json"].read_text())
    assert content["mean"]["false_per_mm2"] == pytest.approx(800.0) and content["mpp"] == 0.25
    table = {row["image"]: row for row in csv.DictReader(files["csv"].open())}
    assert float(table["mean"]["false_per_mm2"]) == pytest.approx(800.0) and table["full"]["false_per_mm2"] == ""
    assert "False / mm²" in files["markdown"].read_text()


def test_the_command_says_what_it_assumed_where_a_score_rests_on_it(folders, capsys):
    def call(*options):
        with pytest.raises(SystemExit) as end:
            cli.main(["evaluate", "--pred", str(folders[0]), "--gt", str(folders[1]), *options])
        out, err = capsys.readouterr()
        assert end.value.code == (2 if "0" in options else 0)
        return out, err

    said = "False / mm² takes a pixel for 0.25 µm (40x); --mpp states another"
    assert said in call()[0] and said not in call("--mpp", "0.25")[0]
    assert "mpp 0.0: give the micrometres per pixel" in call("--mpp", "0")[1]
    for folder in folders:
        for name in ("bare", "large"):
            (folder / f"{name}.tif").unlink()
    assert said not in call()[0]


def test_a_weighted_mean_is_not_compared_image_by_image(folders):
    _, differences = compare([f"a={folders[0]}", f"b={folders[1]}"], folders[1])
    assert not {"false_per_mm2", "empty_mm2"} & {row["metric"] for row in differences}
