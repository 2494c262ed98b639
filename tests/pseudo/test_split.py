"""Foreground into nuclei: touching ones split, holes filled, outlines smoothed."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.morphology import reconstruction
from skimage.segmentation import watershed

from cyclic.labels import disk
from cyclic.pseudo.split import MARKER_HEIGHT, OPENING, _basins, _rises, fill_small_holes
from cyclic.pseudo.split import split_components as split_into_components


def split_components(mask, min_area=40, max_area=None, split=True, max_hole=200):
    return split_into_components(mask, min_area, max_area, split=split, max_hole=max_hole)


def disks(shape, *circles):
    """Return the `[H, W]` bool union of (y, x, radius) disks."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    return np.any([(y - cy) ** 2 + (x - cx) ** 2 <= r**2 for cy, cx, r in circles], axis=0)


def test_touching_nuclei_are_split_between_their_centres():
    labels = split_components(disks((60, 80), (30, 25, 13), (30, 47, 13)))
    assert labels.dtype == np.int32 and labels.max() == 2
    assert labels[30, 25] != labels[30, 47]
    areas = np.bincount(labels.ravel())[1:]
    assert areas.min() > 0.9 * areas.max()


def test_single_nucleus_and_ellipse_stay_whole():
    y, x = np.mgrid[:80, :80]
    ellipse = ((y - 40) / 24) ** 2 + ((x - 40) / 10) ** 2 <= 1
    assert split_components(ellipse).max() == 1
    assert split_components(disks((60, 60), (30, 30, 12))).max() == 1


def test_no_split_keeps_connected_components():
    mask = disks((60, 80), (30, 25, 13), (30, 47, 13))
    labels = split_components(mask, split=False, max_hole=0)
    assert labels.max() == 1 and np.array_equal(labels > 0, mask)


def test_area_limits():
    mask = disks((100, 100), (15, 15, 4), (15, 60, 10), (65, 50, 28))
    kept = split_components(mask, min_area=100, max_area=1000)
    assert kept.max() == 1 and kept[15, 60] == 1


def test_small_hole_is_filled_large_hole_and_border_bay_are_not():
    mask = disks((80, 80), (40, 40, 30))
    mask[40:45, 30:35] = False
    mask[35:55, 45:60] = False
    corner = np.ones((80, 80), bool)
    corner[:5, :5] = False
    filled = fill_small_holes(mask, 50)
    assert filled[42, 32] and not filled[45, 50]
    assert not fill_small_holes(corner, 50)[2, 2]
    assert split_components(mask, split=False, max_hole=50)[42, 32] > 0


def test_smoothed_outline_shrinks_by_about_a_pixel():
    mask = disks((60, 60), (30, 30, 13))
    plain, smoothed = (split_components(mask, split=split) for split in (False, True))
    radius = [np.sqrt((labels > 0).sum() / np.pi) for labels in (plain, smoothed)]
    assert 0.3 < radius[0] - radius[1] < 1.5


@pytest.mark.parametrize("empty", [np.zeros((20, 30), bool)])
def test_empty_mask(empty):
    labels = split_components(empty)
    assert labels.shape == (20, 30) and labels.dtype == np.int32 and not labels.any()


def test_full_mask_and_image_border_component():
    assert split_components(np.ones((30, 30), bool)).max() == 1
    cut = disks((60, 60), (0, 30, 14))
    labels = split_components(cut)
    assert labels.max() == 1 and labels[0, 30] == 1


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_labels_are_connected_dense_and_inside_the_filled_mask(seed):
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal((64, 64)), 4)
    mask = noise > 0
    labels = split_components(mask, min_area=10)
    assert set(np.unique(labels)) == set(range(labels.max() + 1)) or labels.all()
    assert not ((labels > 0) & ~fill_small_holes(mask, 200)).any()
    for label in range(1, labels.max() + 1):
        assert ndimage.label(labels == label)[1] == 1
        assert (labels == label).sum() >= 10


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), sigma=st.sampled_from([1, 3, 8]))
def test_markers_and_basins_are_those_of_the_plain_reconstruction_and_watershed(seed, sigma):
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal((90, 80)), sigma)
    mask = cv2.morphologyEx((noise > 0).astype(np.uint8), cv2.MORPH_OPEN, disk(OPENING)) > 0
    distance = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    domes = distance - reconstruction(distance - MARKER_HEIGHT, distance)
    high = _rises(distance, MARKER_HEIGHT)
    np.testing.assert_array_equal(high, domes >= MARKER_HEIGHT - 1e-3)
    markers = ndimage.label(high & mask)[0]
    # The watershed of pixels that two markers reach at once depends on how many markers there are elsewhere.
    surface = -distance - np.random.default_rng(seed).random(distance.shape)
    np.testing.assert_array_equal(_basins(surface, markers, mask), watershed(surface, markers, mask=mask))


def test_a_hole_at_its_largest_area_is_filled_and_one_pixel_more_is_not():
    mask = np.ones((20, 20), bool)
    mask[5:8, 5:9] = False
    assert fill_small_holes(mask, 12).all() and not fill_small_holes(mask, 11)[6, 6]
