"""Scores of each class of nuclei."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cyclic.evaluation.classes import evaluate_classes, multi_class_pq, nucleus_classes
from cyclic.evaluation.matching import contingency, restrict
from cyclic.evaluation.metrics import evaluate_pair

label_maps = arrays(np.int32, (6, 7), elements=st.sampled_from([0, 0, 1, 2, 5, 9]))
class_maps = arrays(np.int32, (6, 7), elements=st.sampled_from([0, 1, 2]))


@given(label_maps, class_maps)
def test_class_is_that_of_most_pixels(labels, classes):
    ids = np.unique(labels[labels > 0])
    for label, found in zip(ids, nucleus_classes(labels, classes), strict=True):
        counts = np.bincount(classes[labels == label], minlength=3)[1:]
        assert found == (counts.argmax() + 1 if counts.any() else 0)


@given(label_maps, label_maps)
def test_part_of_the_table_equals_the_table_of_the_part(true, pred):
    overlaps = contingency(true, pred)
    part = restrict(overlaps, overlaps.true_ids > 1, overlaps.pred_ids < 9)
    expected = contingency(np.where(true > 1, true, 0), np.where(pred < 9, pred, 0))
    for found, wanted in zip(part, expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


@given(label_maps, label_maps, class_maps, class_maps)
def test_each_class_equals_scoring_its_nuclei_alone(true, pred, true_classes, pred_classes):
    def only(labels, classes, wanted):
        ids = np.unique(labels[labels > 0])
        return np.where(np.isin(labels, ids[nucleus_classes(labels, classes) == wanted]), labels, 0)

    found = evaluate_classes(true, pred, true_classes, pred_classes)
    for each in (1, 2):
        alone = [only(true, true_classes, each), only(pred, pred_classes, each)]
        assert (each in found) == bool(np.any(alone))
        if each in found:
            assert found[each] == evaluate_pair(*alone)


def test_multi_class_pq_of_a_confusion():
    true = np.array([[1, 1, 0, 2, 2, 0, 3, 3]])
    classes = np.array([[1, 1, 0, 1, 1, 0, 2, 2]])
    wrong = np.array([[1, 1, 0, 2, 2, 0, 2, 2]])
    right = evaluate_classes(true, true, classes, classes)
    assert multi_class_pq(right) == pytest.approx(1, abs=2e-6) and set(right) == {1, 2}
    confused = evaluate_classes(true, true, classes, wrong)
    # Class 1: one hit and one miss; class 2: one hit and one false alarm.
    assert confused[1]["pq"] == confused[2]["pq"] == pytest.approx(2 / 3, abs=2e-6)
    assert confused[1]["recall"] == 0.5 and confused[2]["precision"] == 0.5
    assert evaluate_pair(true, true)["pq"] == pytest.approx(1, abs=2e-6)


def test_class_on_one_side_alone_scores_zero():
    labels = np.array([[1, 1, 0, 2]])
    found = evaluate_classes(labels, labels, np.array([[1, 1, 0, 1]]), np.array([[1, 1, 0, 3]]))
    assert found[3]["pq"] == 0 and multi_class_pq(found) == pytest.approx(found[1]["pq"] / 2)


def test_no_classes():
    empty = np.zeros((3, 3), int)
    assert evaluate_classes(empty, empty, empty, empty) == {} and multi_class_pq({}) is None


def test_scores_follow_their_nuclei():
    labels = np.array([[1, 1, 0, 2, 2, 0, 3, 3]])
    true = np.where(labels == 2, 0, labels)
    classes = np.array([[1, 1, 0, 1, 1, 0, 2, 2]])
    found = evaluate_classes(true, labels, classes, classes, np.array([0.2, 0.9, 0.5]))
    assert found[1]["ap50"] == pytest.approx(0.5) and found[2]["ap50"] == 1.0
