"""Equal scores: the first one comes first on every backend, as in a stable sort by NumPy."""

import sys
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from keras import ops

from cyclic.mrcnn.geometry.boxes_numpy import compute_overlaps
from cyclic.mrcnn.geometry.boxes_numpy import non_max_suppression as numpy_nms
from cyclic.mrcnn.kernels import nms as kernels
from cyclic.mrcnn.kernels.nms import non_max_suppression, reference_nms, tiled_nms
from cyclic.mrcnn.kernels.top_k import top_k
from cyclic.mrcnn.layers.detections import DetectionLayer
from cyclic.mrcnn.layers.proposals import ProposalLayer

STD_DEV = (0.1, 0.1, 0.2, 0.2)
COUNT = 600


def stable_order(scores):
    return np.argsort(-scores, kind="stable")


def stable_nms(boxes, scores, threshold):
    """Suppression by a plain loop over a stable order."""
    overlaps, kept = compute_overlaps(boxes, boxes), []
    for index in stable_order(scores):
        if not (overlaps[index, kept] > threshold).any():
            kept.append(index)
    return np.array(kept)


def boxes_of_tied_scores(seed, levels=4):
    rng = np.random.default_rng(seed)
    corner, size = rng.uniform(0, 0.8, (COUNT, 2)), rng.uniform(0.05, 0.2, (COUNT, 2))
    scores = rng.integers(1, levels + 1, COUNT) / levels
    return np.concatenate([corner, corner + size], axis=1).astype("float32"), scores.astype("float32")


@pytest.mark.parametrize("dtype", ["float32", "int32"])
@pytest.mark.parametrize("k", [1, 50, COUNT])
def test_top_k_takes_the_first_of_equal_values(dtype, k):
    values = np.random.default_rng(0).integers(-2, 3, (3, COUNT)).astype(dtype)
    found, indices = map(ops.convert_to_numpy, top_k(ops.convert_to_tensor(values), k))
    expected = np.stack([stable_order(row)[:k] for row in values])
    np.testing.assert_array_equal(indices, expected)
    np.testing.assert_array_equal(found, np.take_along_axis(values, expected, axis=1))
    assert found.dtype == values.dtype and indices.dtype == np.int32


@pytest.mark.parametrize("nms", [non_max_suppression, reference_nms, tiled_nms], ids=["kernel", "reference", "tiled"])
@pytest.mark.parametrize("levels", [1, 4])
def test_suppression_keeps_the_first_of_equal_boxes(nms, levels, monkeypatch):
    monkeypatch.setattr(kernels, "TILE", 128)
    boxes, scores = boxes_of_tied_scores(1, levels)
    tensors = ops.convert_to_tensor(boxes[None]), ops.convert_to_tensor(scores[None])
    indices, valid = map(ops.convert_to_numpy, nms(*tensors, 100, 0.3))
    expected = stable_nms(boxes, scores, 0.3)[:100]
    np.testing.assert_array_equal(indices[0][valid[0]], expected)


def test_suppression_by_numpy_keeps_the_first_of_equal_boxes():
    boxes, scores = boxes_of_tied_scores(2)
    np.testing.assert_array_equal(numpy_nms(boxes, scores, 0.3), stable_nms(boxes, scores, 0.3))


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="only PyTorch suppresses with torchvision")
def test_suppression_by_torchvision_keeps_the_first_of_equal_boxes(monkeypatch):
    """torchvision may take any of equal scores first; this stand-in takes the last."""
    import torch

    def last_first(boxes, scores, threshold):
        count, boxes, scores = len(boxes), boxes.numpy(), scores.numpy()
        kept = stable_nms(boxes[::-1], scores[::-1], threshold)
        return torch.from_numpy(count - 1 - kept)

    monkeypatch.setitem(sys.modules, "torchvision", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "torchvision.ops", SimpleNamespace(nms=last_first))
    boxes, scores = boxes_of_tied_scores(3)
    tensors = ops.convert_to_tensor(boxes[None]), ops.convert_to_tensor(scores[None])
    indices, valid = map(ops.convert_to_numpy, non_max_suppression(*tensors, 100, 0.3))
    np.testing.assert_array_equal(indices[0][valid[0]], stable_nms(boxes, scores, 0.3)[:100])


def test_proposals_of_tied_scores_are_the_first_anchors():
    anchors, scores = boxes_of_tied_scores(4)
    layer = ProposalLayer(50, 0.7, 200, STD_DEV)
    probabilities = np.stack([1 - scores, scores], axis=-1)[None]
    found = ops.convert_to_numpy(layer(probabilities, np.zeros((1, COUNT, 4), "float32"), anchors[None]))[0]
    entering = stable_order(scores)[:200]
    kept = entering[stable_nms(anchors[entering], scores[entering], 0.7)][:50]
    np.testing.assert_allclose(found, anchors[kept], atol=1e-6)


def test_detections_of_tied_scores_are_the_first_rois():
    rois, scores = boxes_of_tied_scores(5)
    layer = DetectionLayer(50, 0.3, 0.5, STD_DEV)
    probabilities = np.stack([1 - scores, scores], axis=-1)[None]
    window = np.float32([[0, 0, 1, 1]])
    found = ops.convert_to_numpy(layer(rois[None], probabilities, np.zeros((1, COUNT, 2, 4), "float32"), window))[0]
    sure = np.flatnonzero(scores > 0.5)  # at 0.5 and below, background is as likely
    kept = sure[stable_nms(rois[sure], scores[sure], 0.5)][:50]
    np.testing.assert_allclose(found[:, :4], rois[kept], atol=1e-6)
    np.testing.assert_allclose(found[:, 5], scores[kept])
