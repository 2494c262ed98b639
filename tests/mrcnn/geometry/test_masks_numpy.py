"""Masks in NumPy: their boxes, overlaps, mini-masks, and the way back to the full image."""

import numpy as np
import pytest
from golden import golden_file, needs_parity
from hypothesis import given
from painted import box_lists, paint_boxes

from cyclic.mrcnn import utils


@given(box_lists)
def test_boxes_of_painted_boxes(boxes):
    found = utils.extract_bboxes(paint_boxes(*boxes, shape=(70, 70)))
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, boxes)


def test_empty_mask_has_a_zero_box():
    assert utils.extract_bboxes(paint_boxes((2, 3, 9, 8), (0, 0, 0, 0))).tolist() == [[2, 3, 9, 8], [0, 0, 0, 0]]
    assert utils.extract_bboxes(np.zeros((5, 5, 0), bool)).shape == (0, 4)


def test_mask_overlaps_of_nothing_are_zero_not_nan():
    assert utils.compute_overlaps_masks(paint_boxes((0, 0, 0, 0)), paint_boxes((0, 0, 0, 0))).tolist() == [[0]]
    assert utils.compute_overlaps_masks(paint_boxes(), paint_boxes((0, 0, 3, 3))).shape == (0, 1)


def test_expanding_mini_masks_gives_the_masks_back():
    yy, xx = np.mgrid[:64, :64]
    masks = np.stack([(yy - 20) ** 2 + (xx - 25) ** 2 < 200, (yy - 45) ** 2 + 2 * (xx - 40) ** 2 < 300], axis=-1)
    boxes = utils.extract_bboxes(masks)
    mini = utils.minimize_mask(boxes, masks, (28, 28))
    assert mini.shape == (28, 28, 2) and mini.dtype == bool
    overlaps = utils.compute_overlaps_masks(utils.expand_mask(boxes, mini, (64, 64, 3)), masks)
    assert np.diag(overlaps).min() > 0.9


def test_a_box_without_area_is_refused():
    with pytest.raises(ValueError, match="no area"):
        utils.minimize_mask(np.array([[3, 3, 3, 8]]), paint_boxes((2, 2, 9, 9)), (28, 28))


def test_unmold_mask_fills_the_box_only():
    full = utils.unmold_mask(np.ones((28, 28), np.float32), np.array([4, 6, 12, 20]), (20, 24, 3))
    np.testing.assert_array_equal(full, paint_boxes((4, 6, 12, 20))[..., 0])
    half = np.zeros((28, 28), np.float32)
    half[14:] = 1
    assert utils.unmold_mask(half, (4, 6, 12, 20), (20, 24)).nonzero()[0].min() == 8


@needs_parity
def test_unmolded_masks_equal_matterports():
    golden = golden_file("infer")
    shape = golden["detect_masks_shape"]
    expected = np.unpackbits(golden["detect_masks_packed"])[: np.prod(shape)].reshape(shape).astype(bool)
    for i in range(shape[-1]):
        mask = golden["mrcnn_mask"][0, i, :, :, golden["detect_class_ids"][i]]
        full = utils.unmold_mask(mask, golden["detect_rois"][i], golden["image"].shape)
        np.testing.assert_array_equal(full, expected[..., i])
