"""Hausdorff distances of known shapes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cyclic.evaluation.distances import boxes, hausdorff_distances
from cyclic.evaluation.matching import contingency
from cyclic.evaluation.metrics import evaluate_pair

label_maps = arrays(np.int64, (6, 7), elements=st.sampled_from([0, 0, 1, 2, 5, 2**40]))


@given(label_maps)
def test_boxes_equal_looking_at_each_mask(labels):
    ids = np.unique(labels[labels > 0])
    if not len(ids):
        return
    for found, label in zip(boxes(labels, ids), ids, strict=True):
        y, x = np.nonzero(labels == label)
        assert found.tolist() == [y.min(), x.min(), y.max() + 1, x.max() + 1]


def test_squares_moved_by_three_and_four():
    true, pred = np.zeros((60, 60), int), np.zeros((60, 60), int)
    true[5:25, 5:25], pred[8:28, 9:29] = 3, 7
    assert evaluate_pair(true, pred)["hausdorff"] == pytest.approx(5.0)


def test_mean_over_matched_nuclei_alone():
    true, pred = np.zeros((40, 90), int), np.zeros((40, 90), int)
    true[5:25, 5:25], pred[5:25, 5:25] = 1, 1
    true[5:25, 35:55], pred[5:25, 37:57] = 2, 2
    pred[30:40, 80:90] = 3
    assert evaluate_pair(true, pred)["hausdorff"] == pytest.approx((0 + 2) / 2)


def test_a_speck_far_away_counts():
    true, pred = np.zeros((20, 50), int), np.zeros((20, 50), int)
    true[2:12, 2:12] = pred[2:12, 2:12] = 1
    pred[2, 41] = 1
    assert evaluate_pair(true, pred)["hausdorff"] == pytest.approx(30.0)
    assert evaluate_pair(pred, true)["hausdorff"] == pytest.approx(30.0)


def test_no_match_no_distance():
    true, pred = np.array([[1, 1, 0, 0]]), np.array([[0, 0, 2, 2]])
    assert evaluate_pair(true, pred)["hausdorff"] is None
    assert evaluate_pair(true, true * 0)["hausdorff"] is None
    assert hausdorff_distances(true, pred, contingency(true, pred), np.zeros(0, int)).shape == (0,)


def test_threshold_decides_who_is_matched():
    true, pred = np.zeros((10, 30), int), np.zeros((10, 30), int)
    true[:, :10], pred[:, 5:15] = 1, 1
    assert evaluate_pair(true, pred)["hausdorff"] is None
    assert evaluate_pair(true, pred, iou_threshold=0.3)["hausdorff"] == pytest.approx(5.0)
