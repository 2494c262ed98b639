"""Suppression: the backend's kernel, the two versions in `keras.ops` and a plain NumPy version agree."""

import numpy as np
import pytest
from keras import ops

from cyclic.mrcnn.geometry.boxes_numpy import non_max_suppression as numpy_nms
from cyclic.mrcnn.kernels import nms as kernels
from cyclic.mrcnn.kernels.nms import non_max_suppression, reference_nms, tiled_nms

every = pytest.mark.parametrize(
    "nms", [non_max_suppression, reference_nms, tiled_nms], ids=["kernel", "reference", "tiled"]
)


def random_boxes(seed, batch=2, count=120):
    rng = np.random.default_rng(seed)
    corner, size = rng.random((batch, count, 2)), rng.uniform(0.02, 0.4, (batch, count, 2))
    scores = rng.permutation(batch * count).reshape(batch, count) / (batch * count)
    return np.concatenate([corner, corner + size], axis=-1).astype("float32"), scores.astype("float32")


def run(nms, boxes, scores, max_boxes, threshold):
    indices, valid = nms(ops.convert_to_tensor(boxes), ops.convert_to_tensor(scores), max_boxes, threshold)
    indices, valid = ops.convert_to_numpy(indices), ops.convert_to_numpy(valid)
    assert indices.shape == valid.shape == (len(boxes), max_boxes)
    assert indices.dtype == np.int32 and valid.dtype == bool
    return indices, valid


@pytest.mark.parametrize("max_boxes", [10, 100])
@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.7])
def test_all_versions_agree(threshold, max_boxes, monkeypatch):
    monkeypatch.setattr(kernels, "TILE", 32)  # several tiles, the last one not full
    for seed in range(3):
        boxes, scores = random_boxes(seed)
        indices, valid = run(non_max_suppression, boxes, scores, max_boxes, threshold)
        for nms in (reference_nms, tiled_nms):
            expected, expected_valid = run(nms, boxes, scores, max_boxes, threshold)
            np.testing.assert_array_equal(valid, expected_valid)
            np.testing.assert_array_equal(indices[valid], expected[valid])
        for image in range(len(boxes)):
            plain = numpy_nms(boxes[image], scores[image], threshold)[:max_boxes]
            np.testing.assert_array_equal(indices[image][valid[image]], plain)


@every
def test_negative_scores_are_never_chosen(nms):
    boxes, scores = random_boxes(5)
    scores[:, ::2] = -scores[:, ::2] - 1e-6
    indices, valid = run(nms, boxes, scores, 100, 0.5)
    for image in range(len(boxes)):
        chosen = scores[image][indices[image][valid[image]]]
        assert len(chosen) and (chosen >= 0).all()


@every
def test_all_scores_negative_selects_nothing(nms):
    boxes, _ = random_boxes(6)
    indices, valid = run(nms, boxes, np.full(boxes.shape[:2], -1, "float32"), 5, 0.5)
    assert not valid.any() and not indices.any()


@every
def test_a_score_of_zero_still_counts(nms):
    indices, valid = run(nms, np.float32([[[0, 0, 1, 1]]]), np.zeros((1, 1), "float32"), 2, 0.5)
    assert valid.tolist() == [[True, False]] and indices.tolist() == [[0, 0]]


@every
def test_copies_of_one_box_leave_the_best(nms):
    boxes = np.tile(np.float32([0.1, 0.1, 0.6, 0.7]), (1, 20, 1))
    scores = np.linspace(0.1, 0.9, 20, dtype="float32")[None]
    indices, valid = run(nms, boxes, scores, 8, 0.5)
    assert valid.sum() == 1 and indices[0, 0] == 19


@every
def test_fewer_boxes_than_slots(nms):
    boxes = np.float32([[[0, 0, 0.2, 0.2], [0.5, 0.5, 0.9, 0.9]]])
    indices, valid = run(nms, boxes, np.float32([[0.3, 0.8]]), 6, 0.5)
    assert valid.tolist() == [[True, True, False, False, False, False]]
    assert indices.tolist() == [[1, 0, 0, 0, 0, 0]]


@every
def test_overlap_equal_to_the_threshold_is_kept(nms):
    boxes = np.float32([[[0, 0, 1, 1], [0, 0, 1, 0.5]]])
    scores = np.float32([[0.9, 0.8]])
    assert run(nms, boxes, scores, 2, 0.5)[1].sum() == 2
    assert run(nms, boxes, scores, 2, 0.49)[1].sum() == 1


@every
def test_equal_scores_keep_their_order(nms):
    boxes = np.float32([[[0, 0, 0.3, 0.3], [0.5, 0.5, 0.8, 0.8], [0, 0.5, 0.3, 0.8]]])
    indices, _ = run(nms, boxes, np.full((1, 3), 0.5, "float32"), 3, 0.5)
    assert indices.tolist() == [[0, 1, 2]]


@every
def test_boxes_without_area_neither_crash_nor_suppress(nms):
    boxes = np.float32([[[0.2, 0.2, 0.2, 0.2], [0, 0, 0.5, 0.5], [0.2, 0.2, 0.2, 0.2]]])
    _, valid = run(nms, boxes, np.float32([[0.9, 0.8, 0.7]]), 3, 0.5)
    assert valid.all()
