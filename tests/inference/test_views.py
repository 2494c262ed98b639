"""Flips and turns of an image vote on its nuclei."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.measure import label as components

from cyclic.inference.views import detect_in_views, merge_views


def squares(*corners, side=6, shape=(40, 50)):
    labels = np.zeros(shape, np.int32)
    for label, (y, x) in enumerate(corners, 1):
        labels[y : y + side, x : x + side] = label
    return labels


@pytest.mark.parametrize("views", range(1, 9))
def test_a_detector_that_turns_with_the_image_gives_one_answer(views):
    rng = np.random.default_rng(views)
    image = (rng.random((40, 50, 3)) * 40).astype(np.uint8)
    image[5:12, 3:9] = image[20:30, 30:40] = 255

    def detect(view):
        pieces = components(view[..., 0] > 128)
        areas = np.bincount(pieces.ravel())[1:]
        order = np.argsort(-areas)
        new = np.zeros(len(areas) + 1, np.int32)
        new[order + 1] = np.arange(1, len(areas) + 1)
        return new[pieces], (areas[order] / 100).astype(np.float32)

    labels, scores = detect_in_views(detect, image, views, min_area=1)
    expected, expected_scores = detect(image)
    np.testing.assert_array_equal(labels, expected)
    np.testing.assert_allclose(scores, expected_scores)


def test_a_nucleus_that_one_of_four_views_sees_has_a_quarter_of_its_score():
    seen, missed = squares((5, 5), (20, 20)), squares((5, 5))
    labels, scores = merge_views([(seen, np.float32([0.9, 0.8]))] + 3 * [(missed, np.float32([0.9]))], 1)
    np.testing.assert_array_equal(labels, seen)
    np.testing.assert_allclose(scores, [0.9, 0.2], rtol=1e-6)


def test_the_outline_is_that_of_the_majority():
    narrow, wide = squares((5, 5)), squares((5, 5), side=8)
    labels, _ = merge_views([(narrow, np.float32([0.9])), (wide, np.float32([0.95])), (wide, np.float32([0.5]))], 1)
    np.testing.assert_array_equal(labels > 0, wide > 0)


def test_best_view_first_where_two_nuclei_compete_for_one():
    whole = squares((10, 10), side=10)
    halves = np.where(np.arange(50) < 14, whole, 2 * whole)
    labels, scores = merge_views([(whole, np.float32([0.9])), (halves, np.float32([0.7, 0.6]))], 1)
    # The larger half joins the whole; the other is left alone, and what the first took is no longer free.
    assert labels.max() == 1 and (labels > 0).sum() == 100
    np.testing.assert_allclose(scores, [0.75], rtol=1e-6)


def test_nothing_found_anywhere():
    labels, scores = merge_views(2 * [(squares(), np.zeros(0, np.float32))], 1)
    assert not labels.any() and len(scores) == 0


@given(st.integers(0, 2**32 - 1), st.integers(1, 5))
def test_labels_and_scores_belong_together(seed, views):
    rng = np.random.default_rng(seed)
    detections = []
    for _ in range(views):
        labels = components(rng.random((16, 16)) > 0.6).astype(np.int32)
        detections.append((labels, np.sort(rng.random(labels.max()))[::-1].astype(np.float32)))
    labels, scores = merge_views(detections, 1)
    assert set(np.unique(labels)) <= set(range(len(scores) + 1)) and len(np.unique(labels[labels > 0])) == len(scores)
    assert (np.diff(scores) <= 1e-6).all() and (scores >= 0).all() and (scores <= 1).all()
