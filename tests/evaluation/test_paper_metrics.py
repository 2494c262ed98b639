"""The scores of the paper's program, beside their definitions and the golden AJI of masks."""

import json

import numpy as np
import pytest
import scipy.spatial
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cyclic.cli import main
from cyclic.evaluation.folders import evaluate_folders
from cyclic.evaluation.metrics import evaluate_pair
from cyclic.evaluation.paper_metrics import count_masks, paper_scores, pooled_paper_scores
from cyclic.files import read_json
from cyclic.label_maps import write_label_map

label_maps = arrays(np.int32, (9, 8), elements=st.sampled_from([0, 0, 1, 2]))


def blocks(*corners, side=10, shape=(60, 60)):
    labels = np.zeros(shape, np.int32)
    for number, (y, x) in enumerate(corners, start=1):
        labels[y : y + side, x : x + side] = number
    return labels


@given(label_maps, label_maps)
def test_scores_of_pixels_equal_their_definition(true, pred):
    a, b = true > 0, pred > 0
    scores = paper_scores(true, pred)
    assert scores["pixel_accuracy"] == pytest.approx((a == b).mean())
    assert scores["merged_mask_aji"] == pytest.approx(evaluate_pair(true, pred)["foreground_iou"])
    assert scores["merged_mask_aji"] == pytest.approx(evaluate_pair(a.astype(int), b.astype(int))["aji"], abs=1e-6)
    total = a.sum() + b.sum()
    assert pooled_paper_scores([count_masks(true, pred)])["pooled_dice"] == (2 * (a & b).sum() / total if total else 1)


@given(label_maps, label_maps)
def test_hausdorff_is_that_of_the_outlines(true, pred):
    def outline(mask):
        padded = np.pad(mask, 1)
        inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
        return np.argwhere(mask & ~inner)

    found = paper_scores(true, pred)["merged_mask_hausdorff"]
    if not true.any() or not pred.any():
        assert found is None
        return
    distances = scipy.spatial.distance.cdist(outline(true > 0), outline(pred > 0))
    assert found == pytest.approx(max(distances.min(0).max(), distances.min(1).max()))


def test_objects_are_pieces_of_the_mask_of_100_pixels_and_more():
    touching = blocks((0, 0), (0, 10))
    assert count_masks(touching, blocks((0, 0), (30, 30)))[3:] == (0, 2, 1)  # one object of 200 px: IoU 0.5 is no pair
    assert count_masks(blocks((0, 0)), blocks((0, 0), (30, 30), side=10))[3:] == (1, 1, 0)
    assert count_masks(blocks((0, 0)), blocks((0, 0), side=9))[3:] == (0, 0, 1)  # 81 px are no object
    # Two squares that meet at a corner are sized by themselves, and then are one object.
    assert count_masks(blocks((0, 0), (10, 10)), blocks((0, 0), (10, 10)))[3:] == (1, 0, 0)
    assert count_masks(blocks((0, 0), (9, 9), side=9), blocks())[3:] == (0, 0, 0)


def test_pooled_figures_are_of_sums():
    large = count_masks(blocks((0, 0), side=40), blocks((0, 0), side=40))
    small = count_masks(blocks((0, 0)), blocks((30, 30)))
    pooled = pooled_paper_scores([large, small])
    assert pooled == {"pooled_dice": 2 * 1600 / (2 * 1600 + 200), "pooled_merged_object_f1": 2 / (2 + 1 + 1)}
    nothing = count_masks(blocks(), blocks())
    assert set(pooled_paper_scores([nothing]).values()) == {1.0}


def test_on_real_nuclei_the_merged_aji_is_hovernets_of_binary_masks(shared):
    with np.load(shared / "metrics/cases.npz") as cases:
        names = sorted({name.rsplit("__", 1)[0] for name in cases.files})
        pairs = {name: (cases[f"{name}__true"].astype(int), cases[f"{name}__pred"].astype(int)) for name in names}
    expected = json.loads((shared / "metrics/expected.json").read_text())
    known = {name: pair for name, pair in pairs.items() if expected[name]["dice"] is not None}
    assert len(known) >= 9
    for name, (true, pred) in known.items():
        dice = expected[name]["dice"]
        assert paper_scores(true, pred)["merged_mask_aji"] == pytest.approx(dice / (2 - dice), abs=1e-5), name
        assert pooled_paper_scores([count_masks(true, pred)])["pooled_dice"] == pytest.approx(dice, abs=1e-5), name


def test_the_command_adds_them_where_asked(tmp_path, capsys):
    for name, corner in (("a", (0, 0)), ("b", (30, 30))):
        write_label_map(tmp_path / "gt" / f"{name}.tif", blocks(corner))
    write_label_map(tmp_path / "pred/a.tif", blocks((0, 0)))
    write_label_map(tmp_path / "pred/b.tif", blocks((0, 0)))
    assert "pooled" not in evaluate_folders(tmp_path / "pred", tmp_path / "gt")
    arguments = ["--pred", tmp_path / "pred", "--gt", tmp_path / "gt", "--json", tmp_path / "s.json", "--paper-metrics"]
    with pytest.raises(SystemExit) as end:
        main(["evaluate", *map(str, arguments)])
    scores = read_json(tmp_path / "s.json")
    assert end.value.code == 0 and "Pooled" in capsys.readouterr().out
    assert scores["pooled"] == {"pooled_dice": 0.5, "pooled_merged_object_f1": 0.5}
    assert scores["mean"]["merged_mask_aji"] == 0.5 and scores["images"]["b"]["merged_object_f1"] == 0
