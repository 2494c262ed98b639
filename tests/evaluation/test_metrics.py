"""Metrics against the oracle's golden values, a slow reference with masks and loops, and known cases."""

import json
import pathlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cyclic.evaluation.metrics import SCORES, evaluate, evaluate_pair

SHARED = pathlib.Path(__file__).resolve().parents[2].parent / "shared"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="shared data not present")

label_maps = arrays(np.int32, (5, 6), elements=st.sampled_from([0, 0, 1, 2, 3]))
EMPTY = np.zeros((5, 6), np.int32)


def slow_reference(true, pred):
    """Masks, loops and definitions; for maps with something on both sides."""
    true_masks = [true == i for i in np.unique(true[true > 0])]
    pred_masks = [pred == j for j in np.unique(pred[pred > 0])]
    iou = np.array([[np.sum(t & p) / np.sum(t | p) for p in pred_masks] for t in true_masks])
    inter = union = pairs_total = pairs_inter = 0
    used = set()
    for i, t in enumerate(true_masks):
        j = int(np.argmax(iou[i]))
        if iou[i, j] > 0:
            inter, union = inter + np.sum(t & pred_masks[j]), union + np.sum(t | pred_masks[j])
            used.add(j)
        else:
            union += t.sum()
        for p in pred_masks:
            if np.any(t & p):
                pairs_total, pairs_inter = pairs_total + t.sum() + p.sum(), pairs_inter + np.sum(t & p)
    union += sum(p.sum() for j, p in enumerate(pred_masks) if j not in used)
    hits = iou[iou > 0.5]
    dq = 2 * len(hits) / (len(true_masks) + len(pred_masks))
    sq = hits.sum() / (len(hits) + 1e-6)
    foreground = (true > 0) & (pred > 0)
    return {
        "aji": inter / union,
        "dice": 2 * foreground.sum() / ((true > 0).sum() + (pred > 0).sum()),
        "dice2": 2 * pairs_inter / pairs_total if pairs_total else 0.0,
        "foreground_iou": foreground.sum() / ((true > 0) | (pred > 0)).sum(),
        "dq": dq,
        "sq": sq,
        "pq": dq * sq,
        "f1": dq,
        "precision": len(hits) / len(pred_masks),
        "recall": len(hits) / len(true_masks),
    }


def test_the_public_door_takes_the_prediction_first():
    gt = np.array([[1, 1, 0, 2, 2, 0, 3]])
    pred = np.array([[5, 5, 0, 0, 0, 0, 0]])
    scores = evaluate(pred, gt, np.array([0.5]), iou_threshold=0.4)
    assert scores == evaluate_pair(gt, pred, np.array([0.5]), 0.4)
    assert (scores["precision"], scores["n_true"], scores["n_pred"]) == (1.0, 3, 1)
    assert evaluate(pred.tolist(), gt.tolist())["aji"] == scores["aji"]


@needs_shared
@pytest.mark.parametrize(
    "case",
    ["monuseg_0_256", "monuseg_1_256", "monuseg_2_512", "monuseg_3_1000", "perfect", "merged", "split", "disjoint",
     "iou_exactly_half"],
)  # fmt: skip
def test_equals_the_oracle(case):
    expected = json.loads((SHARED / "metrics" / "expected.json").read_text())[case]
    with np.load(SHARED / "metrics" / "cases.npz") as cases:
        found = evaluate_pair(cases[f"{case}__true"], cases[f"{case}__pred"])
    for name, value in expected.items():
        assert found[name] == pytest.approx(0.0 if value is None else value, abs=1e-6), name


@settings(max_examples=300)
@given(label_maps, label_maps)
def test_equals_the_slow_reference(true, pred):
    found = evaluate_pair(true, pred)
    if not true.any() or not pred.any():
        assert {found[name] for name in SCORES} == {float(true.any() == pred.any())}
        return
    for name, value in slow_reference(true, pred).items():
        if name == "aji":
            continue
        assert found[name] == pytest.approx(value), name
    assert 0 <= found["aji"] <= 1 and 0 <= found["aji_plus"] <= 1


@settings(max_examples=300)
@given(label_maps, label_maps)
def test_aji_equals_the_slow_reference_where_no_two_ious_tie(true, pred):
    if not true.any() or not pred.any():
        return
    ious = [
        np.sum((true == i) & (pred == j)) / np.sum((true == i) | (pred == j))
        for i in np.unique(true[true > 0])
        for j in np.unique(pred[pred > 0])
    ]
    positive = [iou for iou in ious if iou > 0]
    if len({round(iou, 9) for iou in positive}) == len(positive):
        assert evaluate_pair(true, pred)["aji"] == pytest.approx(slow_reference(true, pred)["aji"])


@given(label_maps, label_maps, st.permutations([4, 70, 900]))
def test_relabelling_changes_nothing(true, pred, new_labels):
    table = np.array([0, *new_labels])
    before, after = evaluate_pair(true, pred), evaluate_pair(table[true], pred)
    # The best of two equal IoUs depends on the order of the labels, here as in every implementation.
    for name in set(before) - {"aji", "aji_plus"}:
        assert after[name] == pytest.approx(before[name]), name


def test_relabelling_keeps_aji():
    rng = np.random.default_rng(0)
    true = np.kron(np.arange(1, 17).reshape(4, 4), np.ones((9, 9), int)) * (rng.random((36, 36)) > 0.1)
    pred = np.roll(true, (1, 2), axis=(0, 1))
    table = np.concatenate([[0], rng.permutation(np.arange(100, 116))])
    assert evaluate_pair(table[true], table[pred])["aji"] == pytest.approx(evaluate_pair(true, pred)["aji"])


@given(label_maps, label_maps)
def test_symmetric_scores(true, pred):
    one, other = evaluate_pair(true, pred), evaluate_pair(pred, true)
    for name in ("dice", "dice2", "dq", "sq", "pq", "f1", "foreground_iou"):
        assert one[name] == pytest.approx(other[name]), name
    assert one["precision"] == pytest.approx(other["recall"])


@given(label_maps)
def test_perfect_prediction_scores_one(true):
    found = evaluate_pair(true, true)
    for name in set(SCORES) - {"sq", "pq", "dice2"}:
        assert found[name] == 1.0, name
    assert found["sq"] == pytest.approx(1, abs=2e-6) and found["dice2"] == pytest.approx(1)


def test_both_empty_scores_one():
    found = evaluate_pair(EMPTY, EMPTY, np.zeros(0))
    assert (
        all(found[name] == 1.0 for name in (*SCORES, "ap50", "coco_ap50", "coco_map"))
        and found["n_true"] == found["n_pred"] == 0
    )


@pytest.mark.parametrize("swap", [False, True])
def test_one_side_empty_scores_zero(swap):
    full = EMPTY.copy()
    full[1:3, 1:3] = 4
    pair, confidence = ((EMPTY, full), np.ones(1)) if swap else ((full, EMPTY), np.zeros(0))
    found = evaluate_pair(*pair, confidence)
    assert all(found[name] == 0.0 for name in (*SCORES, "ap50", "coco_ap50", "coco_map"))


def test_one_prediction_over_two_nuclei_counts_twice_in_aji_and_once_in_aji_plus():
    true, pred = np.array([[1, 1, 1, 2, 2]]), np.array([[1, 1, 1, 1, 1]])
    found = evaluate_pair(true, pred)
    assert found["aji"] == pytest.approx((3 + 2) / (5 + 5))
    assert found["aji_plus"] == pytest.approx(3 / (5 + 2))


def test_trap_of_published_scripts_aji_of_merged_binary_masks_is_foreground_iou():
    true, pred = np.zeros((30, 30), int), np.zeros((30, 30), int)
    true[2:12, 2:12], true[2:12, 13:23] = 1, 2
    pred[2:12, 2:23] = 1
    instances = evaluate_pair(true, pred)
    merged = evaluate_pair((true > 0).astype(int), (pred > 0).astype(int))
    assert merged["aji"] == pytest.approx(instances["foreground_iou"]) == pytest.approx(200 / 210)
    assert instances["aji"] < 0.5


@given(label_maps, label_maps)
def test_aji_of_binary_masks_is_foreground_iou(true, pred):
    assert evaluate_pair(true > 0, pred > 0)["aji"] == pytest.approx(evaluate_pair(true, pred)["foreground_iou"])


def test_ap50_rewards_confidence_in_the_right_nuclei():
    true = np.array([[1, 1, 0, 2, 2, 0, 0, 0]])
    pred = np.array([[5, 5, 0, 6, 6, 0, 9, 9]])
    assert evaluate_pair(true, pred, np.array([0.9, 0.8, 0.1]))["ap50"] == pytest.approx(1.0)
    assert evaluate_pair(true, pred, np.array([0.8, 0.7, 0.9]))["ap50"] == pytest.approx(2 / 3)
    assert evaluate_pair(true, pred, np.array([0.9, 0.7, 0.8]))["ap50"] == pytest.approx(0.5 + 0.5 * 2 / 3)
    assert evaluate_pair(true, pred, np.array([0.5, 0.5, 0.5]))["ap50"] == pytest.approx(2 / 3)
    assert "ap50" not in evaluate_pair(true, pred)


def test_confidence_of_wrong_length():
    with pytest.raises(ValueError, match="2 predicted"):
        evaluate_pair(np.array([[1, 1]]), np.array([[1, 2]]), np.ones(3))


def test_400_nuclei_with_every_metric():
    rng = np.random.default_rng(1)
    true = np.zeros((1000, 1000), np.int32)
    yy, xx = np.mgrid[:50, :50]
    for i in range(400):
        y, x = 50 * (i // 20), 50 * (i % 20)
        true[y : y + 50, x : x + 50][(yy - 25) ** 2 + (xx - 25) ** 2 < rng.integers(100, 500)] = i + 1
    pred = np.roll(true, (3, 4), axis=(0, 1))
    found = evaluate_pair(true, pred, rng.random(400))
    assert found["n_true"] == 400 and found["hausdorff"] > 0 and found["coco_map"] > 0


@given(label_maps, label_maps, st.sampled_from([0.0, 0.3, 0.5, 0.8]))
def test_iou_threshold_concerns_matched_nuclei_alone(true, pred, threshold):
    found, usual = evaluate_pair(true, pred, iou_threshold=threshold), evaluate_pair(true, pred)
    for name in ("aji", "aji_plus", "dice", "dice2", "foreground_iou"):
        assert found[name] == usual[name]
    order = (found, usual) if threshold > 0.5 else (usual, found)
    assert order[0]["f1"] <= order[1]["f1"]


def test_threshold_of_ap_stays():
    true, pred = np.array([[1, 1, 1, 1]]), np.array([[2, 2, 0, 0]])
    found = evaluate_pair(true, pred, np.ones(1), iou_threshold=0.4)
    assert found["f1"] == 1 and found["ap50"] == 0
