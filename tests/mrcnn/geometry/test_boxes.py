"""Box arithmetic of the network, against the NumPy version and against painted boxes."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from keras import ops

from cyclic.mrcnn.geometry import boxes
from cyclic.mrcnn.geometry import boxes_numpy as boxes_np

SIDE = 64
corners = st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(1, 24), st.integers(1, 24))
box_lists = st.lists(corners, min_size=1, max_size=6).map(
    lambda rows: np.array([(y, x, y + h, x + w) for y, x, h, w in rows], "float32")
)


def call(function, *arguments):
    """Call a function of the network with tensors in place of arrays, and return an array."""
    tensors = (ops.convert_to_tensor(value) if isinstance(value, np.ndarray) else value for value in arguments)
    return ops.convert_to_numpy(function(*tensors))


@given(box_lists)
def test_deltas_undo_refinement(rows):
    target = rows[::-1].copy()
    deltas = call(boxes.box_refinement, rows, target)
    np.testing.assert_allclose(deltas, boxes_np.box_refinement(rows, target), atol=1e-5)
    np.testing.assert_allclose(call(boxes.apply_box_deltas, rows, deltas), target, atol=1e-3)


def test_deltas_shift_by_the_size_and_scale_by_the_exponential():
    deltas = np.float32([[0.5, -0.25, np.log(2), np.log(0.5)]])
    moved = call(boxes.apply_box_deltas, np.float32([[10, 10, 20, 30]]), deltas)
    np.testing.assert_allclose(moved, [[10, 10, 30, 20]], atol=1e-4)


def test_refinement_of_an_empty_box_is_finite():
    empty, box = np.zeros((1, 4), "float32"), np.float32([[0.1, 0.1, 0.5, 0.5]])
    for first, second in ((empty, box), (box, empty), (empty, empty)):
        assert np.isfinite(call(boxes.box_refinement, first, second)).all()


def test_clip_keeps_each_box_in_its_own_window():
    rows = np.float32([[[-1, -1, 2, 2], [0.2, 0.3, 0.4, 0.5]], [[-1, 0.4, 0.3, 2], [2, 2, 3, 3]]])
    windows = np.float32([[[0, 0, 1, 1]], [[0.1, 0.2, 0.8, 0.9]]])
    expected = [[[0, 0, 1, 1], [0.2, 0.3, 0.4, 0.5]], [[0.1, 0.4, 0.3, 0.9], [0.8, 0.9, 0.8, 0.9]]]
    np.testing.assert_allclose(call(boxes.clip_boxes, rows, windows), expected)


@given(box_lists, box_lists)
def test_overlaps_equal_numpys(first, second):
    iou = call(boxes.overlaps, first[None], second[None])[0]
    np.testing.assert_allclose(iou, boxes_np.compute_overlaps(first, second), atol=1e-6)


def test_overlaps_of_a_batch_stay_within_the_image():
    first = np.float32([[[0, 0, 2, 2]], [[0, 0, 4, 4]]])
    second = np.float32([[[0, 0, 2, 1], [5, 5, 6, 6]], [[0, 0, 4, 4], [2, 2, 4, 4]]])
    np.testing.assert_allclose(call(boxes.overlaps, first, second), [[[0.5, 0]], [[1, 0.25]]])


def test_empty_boxes_overlap_nothing():
    rows = np.float32([[[0, 0, 0, 0], [1, 1, 1, 5], [0, 0, 2, 2]]])
    iou = call(boxes.overlaps, rows, rows)[0]
    np.testing.assert_array_equal(iou, np.diag([0, 0, 1]))


@given(box_lists)
def test_normalized_boxes_equal_numpys(rows):
    found = call(boxes.normalize_boxes, rows, (SIDE, SIDE + 16))
    np.testing.assert_allclose(found, boxes_np.norm_boxes(rows, (SIDE, SIDE + 16)), atol=1e-6)


@given(box_lists, st.integers(0, 2**32 - 1))
def test_ignored_share_equals_the_mean_under_the_box(rows, seed):
    ignore = np.random.default_rng(seed).random((SIDE, SIDE + 3)) < 0.4
    normalized = boxes_np.norm_boxes(rows, ignore.shape)[None]
    shares = call(boxes.ignored_share, normalized, ignore[None].astype("uint8"))
    expected = [ignore[y1:y2, x1:x2].mean() for y1, x1, y2, x2 in rows.astype(int)]
    np.testing.assert_allclose(shares[0], expected, atol=1e-6)


def test_ignored_share_of_each_image_and_of_boxes_without_area():
    ignore = np.stack([np.zeros((8, 8)), np.ones((8, 8))]).astype("uint8")
    rows = boxes_np.norm_boxes(np.array([[0, 0, 8, 8], [3, 3, 3, 6], [-4, -4, 4, 4]]), (8, 8))
    shares = call(boxes.ignored_share, np.stack([rows, rows]), ignore)
    np.testing.assert_array_equal(shares, [[0, 0, 0], [1, 0, 1]])
