"""Boxes in NumPy: overlaps against painted boxes, the change of coordinates, refinement, suppression."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from painted import box_lists, paint_boxes

from cyclic.mrcnn import utils
from cyclic.mrcnn.geometry.boxes_numpy import enlarge_boxes


@given(box_lists, box_lists)
def test_overlaps_equal_those_of_painted_boxes(boxes1, boxes2):
    painted = utils.compute_overlaps_masks(paint_boxes(*boxes1, shape=(70, 70)), paint_boxes(*boxes2, shape=(70, 70)))
    overlaps = utils.compute_overlaps(boxes1, boxes2)
    np.testing.assert_allclose(overlaps, painted, rtol=1e-6)
    area = np.prod(boxes1[0, 2:] - boxes1[0, :2])
    areas = np.prod(boxes2[:, 2:] - boxes2[:, :2], axis=1)
    np.testing.assert_allclose(utils.compute_iou(boxes1[0], boxes2, area, areas), overlaps[0])


@given(box_lists, st.integers(80, 200), st.integers(80, 200))
def test_denorm_undoes_norm(boxes, height, width):
    normalized = utils.norm_boxes(boxes, (height, width))
    assert normalized.dtype == np.float32
    np.testing.assert_array_equal(utils.denorm_boxes(normalized, (height, width)), boxes)


def test_the_whole_image_is_the_unit_box():
    np.testing.assert_array_equal(utils.norm_boxes(np.array([[0, 0, 50, 80]]), (50, 80)), [[0, 0, 1, 1]])


@given(box_lists, st.floats(0, 1))
def test_enlarged_boxes_hold_the_boxes_and_stay_in_their_window(boxes, margin):
    window = np.array([[0, 0, 70, 70]])
    enlarged = enlarge_boxes(boxes, margin, window)
    assert (enlarged[:, :2] <= boxes[:, :2]).all() and (enlarged[:, 2:] >= boxes[:, 2:]).all()
    assert (enlarged >= 0).all() and (enlarged <= 70).all()
    free = enlarge_boxes(boxes, margin, np.array([[-100, -100, 200, 200]]))
    np.testing.assert_allclose(free[:, 2:] - free[:, :2], (1 + margin) * (boxes[:, 2:] - boxes[:, :2]))
    np.testing.assert_allclose(free[:, 2:] + free[:, :2], boxes[:, 2:] + boxes[:, :2])


@given(box_lists)
def test_deltas_undo_refinement(boxes):
    target = boxes[::-1]
    deltas = utils.box_refinement(boxes, target)
    np.testing.assert_allclose(utils.apply_box_deltas(boxes, deltas), target, atol=1e-3)


def test_suppression_keeps_the_best_of_each_cluster():
    boxes = np.array([[0, 0, 10, 10], [0, 1, 10, 11], [20, 20, 30, 30], [0, 5, 10, 15]])
    scores = np.array([0.8, 0.9, 0.3, 0.5])
    assert utils.non_max_suppression(boxes, scores, 0.5).tolist() == [1, 3, 2]
    assert utils.non_max_suppression(boxes, scores, 0.1).tolist() == [1, 2]
