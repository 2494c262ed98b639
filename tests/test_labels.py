"""Arithmetic of label maps."""

import numpy as np
import pytest
import scipy.ndimage as ndi
from hypothesis import given
from hypothesis import strategies as st

from cyclic.labels import (
    areas,
    ellipse_fit,
    ellipse_fits,
    hull_mask,
    keep_largest_parts,
    mean_within,
    paint_largest_part,
    relabel,
    widen,
)


def test_relabel_closes_gaps():
    labels = np.array([[0, 1, 2], [3, 3, 5]], np.int32)
    assert relabel(labels, np.array([True, False, True, True, False, True])).tolist() == [[0, 0, 1], [2, 2, 3]]


def test_areas_count_labels_without_pixels():
    labels = np.array([[0, 1, 1], [3, 3, 3]], np.int32)
    assert areas(labels).tolist() == [2, 0, 3] and areas(labels, 5).tolist() == [2, 0, 3, 0, 0]
    assert areas(np.zeros((2, 2), np.int32)).tolist() == []


def test_mean_within():
    labels = np.array([[1, 1, 0], [3, 0, 0]], np.int32)
    values = np.array([[0.2, 0.4, 1.0], [0.5, 1.0, 1.0]])
    np.testing.assert_allclose(mean_within(values, labels), [0.3, 0.0, 0.5])
    assert mean_within(np.ones((2, 2)), np.zeros((2, 2), np.int32)).shape == (0,)
    np.testing.assert_allclose(mean_within(values, labels, 5), [0.3, 0.0, 0.5, 0.0, 0.0])


def test_widen_is_a_disk():
    mask = np.zeros((11, 11), bool)
    mask[5, 5] = True
    assert widen(mask, 3)[5, 2:9].all() and not widen(mask, 3)[5, 1] and not widen(mask, 3)[2, 2]


def test_hull_mask_fills_a_notch():
    notched = np.ones((10, 10), bool)
    notched[:5, 4:6] = False
    assert hull_mask(notched).all()


def test_an_ellipse_fits_itself_and_a_cross_does_not():
    y, x = np.mgrid[:60, :60] - 30
    assert ellipse_fit((y / 25) ** 2 + (x / 12) ** 2 <= 1) > 0.99
    assert ellipse_fit((np.abs(y) < 3) | (np.abs(x) < 3)) < 0.5


def test_ellipse_fits_of_a_map_are_those_of_its_parts_wherever_they_lie():
    y, x = np.mgrid[:60, :60] - 30
    disk_, cross = y**2 + x**2 <= 15**2, (np.abs(y) < 3) | (np.abs(x) < 3)
    labels = np.zeros((5000, 130), np.int32)
    labels[4930:4990, 5:65][disk_], labels[4930:4990, 70:130][cross] = 1, 3
    np.testing.assert_allclose(ellipse_fits(labels), [ellipse_fit(disk_), 0, ellipse_fit(cross)], rtol=1e-9)
    assert ellipse_fits(np.zeros((4, 4), np.int32)).shape == (0,)


def test_hull_mask_spans_all_parts():
    parts = np.zeros((9, 30), bool)
    parts[:, :4] = parts[:, 26:] = True
    assert hull_mask(parts).all()


@pytest.mark.parametrize(("min_area", "painted"), [(1, True), (6, True), (7, False)])
def test_only_the_largest_free_part_is_painted_if_it_is_large_enough(min_area, painted):
    labels = np.zeros((3, 9), np.int32)
    labels[:, 5] = 1  # parts what is free into 2 x 3 and 2 x 2 pixels
    mask = np.zeros((3, 9), bool)
    mask[:2, 2:8] = True
    assert paint_largest_part(labels, mask, 7, min_area) is painted
    expected = np.zeros((3, 9), bool)
    expected[:2, 2:5] = painted
    np.testing.assert_array_equal(labels == 7, expected)
    assert (labels[:, 5] == 1).all()


def test_pixels_that_touch_at_a_corner_alone_are_not_one_part():
    labels = np.zeros((4, 4), np.int32)
    assert paint_largest_part(labels, np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]], bool), 3, 1)
    assert labels.tolist() == [[3, 3, 0, 0], [3, 3, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]


@given(st.integers(0, 10_000), st.integers(0, 6))
def test_the_largest_part_of_each_label_stays(seed, count):
    labels = np.random.default_rng(seed).integers(0, count + 1, (12, 15)).astype(np.int32)
    kept = keep_largest_parts(labels)
    assert kept.dtype == labels.dtype and ((kept == labels) | (kept == 0)).all()
    for label in np.unique(labels[labels > 0]):
        parts, _ = ndi.label(labels == label)
        assert ndi.label(kept == label)[1] == 1
        assert (kept == label).sum() == np.bincount(parts.ravel())[1:].max()


def test_whole_labels_stay_as_they_are():
    labels = np.array([[1, 1, 0, 7], [0, 0, 0, 7]], np.uint8)
    np.testing.assert_array_equal(keep_largest_parts(labels), labels)
    assert not keep_largest_parts(np.zeros((3, 3), np.int32)).any()
