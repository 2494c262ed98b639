"""Overlaps and one-to-one matching, against masks and loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cyclic.evaluation.matching import contingency, match, median_area_ratio

label_maps = arrays(np.int32, (6, 7), elements=st.sampled_from([0, 0, 1, 2, 5, 9]))


@given(label_maps, label_maps)
def test_contingency_equals_counting_masks(true, pred):
    overlaps = contingency(true, pred)
    assert overlaps.true_ids.tolist() == sorted(set(true.ravel().tolist()) - {0})
    assert overlaps.true_areas.tolist() == [np.sum(true == i) for i in overlaps.true_ids]
    assert overlaps.pred_areas.tolist() == [np.sum(pred == j) for j in overlaps.pred_ids]
    expected = {
        (r, c): np.sum((true == i) & (pred == j))
        for r, i in enumerate(overlaps.true_ids)
        for c, j in enumerate(overlaps.pred_ids)
        if np.any((true == i) & (pred == j))
    }
    found = dict(
        zip(zip(overlaps.rows.tolist(), overlaps.cols.tolist(), strict=True), overlaps.intersections, strict=True)
    )
    assert found == expected
    assert list(found) == sorted(found)


def test_huge_gaps_between_ids_cost_nothing():
    true = np.zeros((20, 20), np.int64)
    true[:5], true[10:] = 2**40, 7
    overlaps = contingency(true, true)
    assert overlaps.true_ids.tolist() == [7, 2**40]
    assert overlaps.intersections.tolist() == [200, 100]


def test_noise_of_one_pixel_nuclei_is_no_pixels_times_nuclei_problem():
    true = np.arange(1, 300 * 300 + 1).reshape(300, 300)
    assert match(contingency(true, true[::-1, ::-1])).tp == 300 * 300
    assert match(contingency(true, (true + 2) // 3), 0.2).tp == 300 * 300 // 3


def test_empty_image():
    assert match(contingency(np.zeros((0, 5), int), np.zeros((0, 5), int)))[2:] == (0, 0, 0)


@pytest.mark.parametrize(
    ("true", "pred", "message"),
    [
        (np.zeros((2, 2), int), np.zeros((2, 3), int), "shape"),
        (np.zeros((2, 2)), np.zeros((2, 2), int), "float64"),
        (np.zeros((2, 2), int), np.full((2, 2), -1), "negative"),
    ],
)
def test_wrong_input_is_named(true, pred, message):
    with pytest.raises(ValueError, match=message):
        contingency(true, pred)


def test_iou_of_exactly_the_threshold_is_no_match():
    true, pred = np.array([[1, 1, 0, 0]]), np.array([[1, 0, 0, 0]])
    assert match(contingency(true, pred), 0.5).tp == 0
    assert match(contingency(true, pred), 0.49).tp == 1


def test_threshold_outside_range():
    with pytest.raises(ValueError, match="1.0"):
        match(contingency(np.ones((1, 1), int), np.ones((1, 1), int)), 1.0)


@settings(max_examples=200)
@given(label_maps, label_maps, st.sampled_from([0.0, 0.2, 0.4]))
def test_low_threshold_matching_has_the_largest_sum_of_iou(true, pred, threshold):
    overlaps = contingency(true, pred)
    pairs = [
        (r, c, iou) for r, c, iou in zip(overlaps.rows, overlaps.cols, overlaps.ious, strict=True) if iou > threshold
    ]

    def best(rest):
        if not rest:
            return 0.0
        (row, col, iou), others = rest[0], rest[1:]
        return max(best(others), iou + best([p for p in others if p[0] != row and p[1] != col]))

    found = match(overlaps, threshold)
    assert len(set(overlaps.rows[found.pairs])) == len(set(overlaps.cols[found.pairs])) == found.tp
    assert found.ious.sum() == pytest.approx(best(pairs))
    assert (found.tp + found.fn, found.tp + found.fp) == (len(overlaps.true_ids), len(overlaps.pred_ids))


def test_a_mask_that_is_too_large_shows_in_the_ratio():
    true, pred = np.zeros((2, 40, 40), np.int32)
    true[10:20, 10:20], pred[10:22, 10:20] = 1, 7
    true[30:, 30:], pred[35:, 30:] = 2, 9  # half of it: IoU 0.5 is no match
    assert median_area_ratio([(true, pred)]) == 1.2
    assert median_area_ratio([(true, np.zeros_like(true))]) is None and median_area_ratio([]) is None


def test_areas_count_by_nucleus_and_not_by_image():
    same, grown = np.repeat([[1, 1, 2, 2, 3, 3]], 2, axis=0), (np.array([[5, 5, 5, 0]]), np.array([[5, 5, 5, 5]]))
    assert median_area_ratio([(same, same), grown]) == 1
