"""Average precision as Matterport computes it: matches, the curve, and images without instances."""

import numpy as np
import pytest
from painted import paint_boxes

from cyclic.mrcnn import utils
from cyclic.mrcnn.geometry.masks_numpy import compute_overlaps_masks
from cyclic.mrcnn.matterport import average_precision


def _instances(*boxes):
    return np.array(boxes).reshape(-1, 4), np.ones(len(boxes), int), paint_boxes(*boxes)


def test_perfect_predictions_have_ap_one():
    truth = _instances((0, 0, 8, 8), (10, 10, 18, 18))
    boxes, ids, masks = truth
    ap, precisions, recalls, _ = utils.compute_ap(*truth, boxes, ids, np.array([0.9, 0.8]), masks)
    assert ap == 1 and recalls.tolist() == [0, 0.5, 1, 1] and precisions.tolist() == [1, 1, 1, 0]
    assert utils.compute_ap_range(*truth, boxes, ids, np.array([0.9, 0.8]), masks, verbose=0) == 1


def test_a_better_scored_false_positive_costs_half():
    truth = _instances((0, 0, 8, 8))
    boxes, ids, masks = _instances((10, 10, 18, 18), (0, 0, 8, 8))
    assert utils.compute_ap(*truth, boxes, ids, np.array([0.9, 0.8]), masks)[0] == 0.5
    assert utils.compute_ap(*truth, boxes, ids, np.array([0.8, 0.9]), masks)[0] == 1


def test_matches_need_class_and_overlap_and_happen_once():
    gt_boxes, gt_ids, gt_masks = _instances((0, 0, 8, 8), (10, 10, 18, 18))
    boxes, ids, masks = _instances((0, 0, 8, 8), (0, 0, 8, 7), (10, 10, 18, 18), (10, 10, 18, 13))
    ids[2] = 2
    gt_match, pred_match, overlaps = utils.compute_matches(
        gt_boxes, gt_ids, gt_masks, boxes, ids, np.array([0.9, 0.8, 0.7, 0.6]), masks
    )
    assert gt_match.tolist() == [0, -1] and pred_match.tolist() == [0, -1, -1, -1]
    assert overlaps.shape == (4, 2)


def test_padding_rows_are_no_instances():
    assert utils.trim_zeros(np.array([[0, 0, 2, 2], [0, 0, 0, 0]])).tolist() == [[0, 0, 2, 2]]


@pytest.mark.parametrize(
    ("truth", "predicted", "ap"), [((), (), 1), ((), ((0, 0, 3, 3),), 0), (((0, 0, 3, 3),), (), 0)]
)
def test_ap_without_instances(truth, predicted, ap):
    boxes, ids, masks = _instances(*predicted)
    assert utils.compute_ap(*_instances(*truth), boxes, ids, np.ones(len(ids)), masks)[0] == ap


def test_ap_range_is_the_mean_over_thresholds_from_one_table_of_overlaps(monkeypatch):
    rng = np.random.default_rng(0)
    corners = rng.integers(0, 14, (12, 2))
    truth = _instances(*np.hstack([corners, corners + 6]))
    boxes, ids, masks = _instances(*np.hstack([corners, corners + 6 + rng.integers(-2, 1, (12, 2))]))
    scores = rng.random(12)
    apart = [utils.compute_ap(*truth, boxes, ids, scores, masks, threshold)[0] for threshold in np.arange(0.5, 1, 0.05)]
    tables = []
    monkeypatch.setattr(
        average_precision,
        "compute_overlaps_masks",
        lambda *stacks: tables.append(compute_overlaps_masks(*stacks)) or tables[-1],
    )
    assert utils.compute_ap_range(*truth, boxes, ids, scores, masks, verbose=0) == np.mean(apart)
    assert len(tables) == 1 and len(set(apart)) > 2


def test_ap_range_prints_each_threshold(capsys):
    boxes, ids, masks = _instances((0, 0, 8, 8))
    near = _instances((0, 0, 8, 6))
    value = utils.compute_ap_range(*near, boxes, ids, np.ones(1), masks, iou_thresholds=[0.5, 0.9])
    assert value == 0.5 and "AP @0.90:\t 0.000" in capsys.readouterr().out


def test_recall_counts_boxes_found():
    gt = np.array([[0, 0, 10, 10], [20, 20, 30, 30]])
    recall, positive = utils.compute_recall(np.array([[0, 0, 10, 9], [50, 50, 60, 60]]), gt, 0.5)
    assert recall == 0.5 and positive.tolist() == [0]
    assert utils.compute_recall(np.zeros((0, 4)), gt, 0.5)[0] == 0
