"""From anchors to proposals, and from classified ROIs to detections."""

import numpy as np
import pytest
from keras import ops

from cyclic.mrcnn.layers.detections import DetectionLayer
from cyclic.mrcnn.layers.proposals import ProposalLayer

STD_DEV = (0.1, 0.1, 0.2, 0.2)
WHOLE = np.float32([[0, 0, 1, 1]])
ROIS = np.float32([[0.1, 0.1, 0.3, 0.3], [0.5, 0.5, 0.9, 0.8], [0.1, 0.6, 0.2, 0.9]])


def detect(rois, probabilities, deltas=None, window=WHOLE, slots=5, confidence=0.5, threshold=0.3):
    """Run the layer on one image and return its `[slots, 6]` detections."""
    probabilities = np.float32(probabilities)
    deltas = np.zeros((*probabilities.shape, 4)) if deltas is None else deltas
    layer = DetectionLayer(slots, confidence, threshold, STD_DEV)
    return ops.convert_to_numpy(layer(rois[None], probabilities[None], np.float32(deltas)[None], window))[0]


def test_detections_are_sorted_and_padded():
    found = detect(ROIS, [[0.4, 0.6], [0.1, 0.9], [0.2, 0.8]])
    np.testing.assert_allclose(found[:3, :4], ROIS[[1, 2, 0]], atol=1e-6)
    np.testing.assert_allclose(found[:3, 4:], [[1, 0.9], [1, 0.8], [1, 0.6]])
    assert found.shape == (5, 6) and not found[3:].any()


def test_background_and_unsure_rois_are_dropped():
    found = detect(ROIS, [[0.9, 0.1, 0.0], [0.1, 0.5, 0.4], [0.3, 0.3, 0.4]])
    np.testing.assert_allclose(found[0, 4:], [1, 0.5])
    assert not found[1:].any()


def test_nothing_found_is_all_zero():
    assert not detect(ROIS, [[1, 0]] * 3).any()


def test_padding_rois_are_dropped():
    assert not detect(np.zeros((2, 4), "float32"), [[0, 1]] * 2, confidence=0).any()


def test_more_detections_than_slots_keeps_the_best():
    found = detect(ROIS, [[0.4, 0.6], [0.1, 0.9], [0.2, 0.8]], slots=2)
    np.testing.assert_allclose(found[:, 5], [0.9, 0.8])


def test_suppression_is_within_a_class():
    rois = np.float32([[0.1, 0.1, 0.5, 0.5], [0.1, 0.1, 0.5, 0.48], [0.12, 0.1, 0.5, 0.5]])
    found = detect(rois, [[0, 0.9, 0.1], [0, 0.8, 0.2], [0, 0.3, 0.7]])
    np.testing.assert_allclose(found[:3, 4:], [[1, 0.9], [2, 0.7], [0, 0]])


def test_deltas_of_the_detected_class_move_the_box():
    deltas = np.zeros((1, 3, 4))
    deltas[0, 1] = 50
    deltas[0, 2] = [1, -2, np.log(2) / 0.2, 0]  # down by 0.1, left by 0.2 of the size, twice as tall
    found = detect(ROIS[:1], [[0, 0.1, 0.9]], deltas)
    np.testing.assert_allclose(found[0, :4], [0.02, 0.06, 0.42, 0.26], atol=1e-5)


def test_boxes_are_clipped_to_the_window():
    window = np.float32([[0.15, 0, 1, 0.85]])
    found = detect(ROIS, [[0, 1]] * 3, window=window)
    for box, roi in zip(found, ROIS, strict=False):
        np.testing.assert_allclose(box[:4], np.clip(roi, [0.15, 0, 0.15, 0], [1, 0.85, 1, 0.85]), atol=1e-6)


def test_images_of_a_batch_are_separate():
    layer = DetectionLayer(2, 0.5, 0.3, STD_DEV)
    probabilities = np.float32([[[0, 1], [1, 0], [1, 0]], [[1, 0], [1, 0], [0.2, 0.8]]])
    windows = np.concatenate([WHOLE, WHOLE])
    found = layer(np.stack([ROIS, ROIS]), probabilities, np.zeros((2, 3, 2, 4), "float32"), windows)
    found = ops.convert_to_numpy(found)
    np.testing.assert_allclose(found[:, 0, :4], ROIS[[0, 2]], atol=1e-6)
    assert not found[:, 1].any()


# --- proposals ---


def propose(anchors, scores, deltas=None, count=4, threshold=0.7, limit=100):
    scores = np.float32(scores)
    deltas = np.zeros((len(scores), 4)) if deltas is None else deltas
    layer = ProposalLayer(count, threshold, limit, STD_DEV)
    probabilities = np.stack([1 - scores, scores], axis=-1)[None]
    return ops.convert_to_numpy(layer(probabilities, np.float32(deltas)[None], anchors[None]))[0]


def test_proposals_are_the_best_anchors_in_order():
    found = propose(ROIS, [0.2, 0.9, 0.5])
    np.testing.assert_allclose(found[:3], ROIS[[1, 2, 0]], atol=1e-6)
    assert found.shape == (4, 4) and not found[3].any()


def test_proposals_are_moved_and_clipped():
    found = propose(ROIS[:1], [0.9], [[-10, 5, 0, np.log(2) / 0.2]], count=1)
    np.testing.assert_allclose(found[0], [0, 0.1, 0.1, 0.5], atol=1e-5)


def test_near_duplicates_are_suppressed():
    anchors = np.concatenate([ROIS[:1], ROIS[:1] + 0.005, ROIS[1:2]])
    np.testing.assert_allclose(propose(anchors, [0.8, 0.9, 0.1])[:3], [*anchors[1:], np.zeros(4)], atol=1e-6)


def test_only_the_best_anchors_enter():
    found = propose(ROIS, [0.2, 0.9, 0.5], limit=2)
    np.testing.assert_allclose(found[:2], ROIS[[1, 2]], atol=1e-6)
    assert not found[2:].any()


@pytest.mark.parametrize("layer", [DetectionLayer(7, 0.5, 0.3, STD_DEV), ProposalLayer(7, 0.5, 90, STD_DEV)])
def test_layers_survive_their_config(layer):
    config = layer.get_config()
    assert type(layer).from_config(config).get_config() == config


def test_any_foreground_lets_the_threshold_alone_decide():
    rois = np.array([[[0.1, 0.1, 0.3, 0.3], [0.5, 0.5, 0.7, 0.7], [0.1, 0.6, 0.2, 0.8]]], "float32")
    probabilities = np.array([[[0.6, 0.4], [0.3, 0.7], [0.8, 0.2]]], "float32")
    arguments = rois, probabilities, np.zeros((1, 3, 2, 4), "float32"), np.array([[0, 0, 1, 1]], "float32")
    usual = np.asarray(DetectionLayer(5, 0.3, 0.3, [0.1] * 4)(*arguments))[0]
    eager = np.asarray(DetectionLayer(5, 0.3, 0.3, [0.1] * 4, any_foreground=True)(*arguments))[0]
    np.testing.assert_allclose(usual[:, 5], [0.7, 0, 0, 0, 0], atol=1e-6)
    np.testing.assert_allclose(eager[:, 5], [0.7, 0.4, 0, 0, 0], atol=1e-6)
    np.testing.assert_allclose(eager[:2, 4], 1)
