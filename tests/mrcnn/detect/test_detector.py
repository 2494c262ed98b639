"""Boxes, masks of some of them, and the number of boxes that the mask head runs on.

Whole detections are tested with `MaskRCNN`.
"""

import keras
import numpy as np
import pytest
from tiny_model import InferenceConfig, small_network

from cyclic.mrcnn.data.molding import compose_image_meta
from cyclic.mrcnn.detect import detector


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return detector.Detector("inference", InferenceConfig(), small_network(InferenceConfig()))


@pytest.fixture(scope="module")
def inputs():
    """Return two molded images and their metas."""
    images = np.random.default_rng(0).uniform(-99, 99, (2, 64, 64, 3)).astype("float32")
    return images, np.stack([compose_image_meta(0, (64, 64, 3), (64, 64, 3), (0, 0, 64, 64), 1, [0, 0])] * 2)


def test_masks_of_some_boxes_are_those_among_all(model, inputs):
    detections, masks = model.predict_molded(*inputs)
    some, pyramid = model.predict_boxes(*inputs)
    np.testing.assert_allclose(some, detections, atol=1e-6)
    chosen = [np.array([2, 0]), np.array([], int)]
    first, second = model.predict_masks([rows[each] for rows, each in zip(some, chosen, strict=True)], pyramid)
    np.testing.assert_allclose(first, masks[0][[2, 0]], atol=1e-5)
    assert len(masks[0]) > 2 and second.shape == (0, *first.shape[1:])


def test_the_mask_head_does_not_run_without_boxes(model, inputs, monkeypatch):
    _, pyramid = model.predict_boxes(*inputs)
    monkeypatch.setattr(model, "_mask", None)
    masks = model.predict_masks([np.zeros((0, 6), np.float32)] * 2, pyramid)
    assert [(each.shape, each.dtype) for each in masks] == [((0, 28, 28), np.float32)] * 2


@pytest.mark.parametrize(("count", "slots", "on_jax"), [(0, 16, 16), (16, 16, 16), (33, 48, 64), (65, 80, 100)])
def test_mask_head_runs_on_few_different_numbers_of_boxes(count, slots, on_jax):
    assert detector._mask_slots(count, 100) == (on_jax if keras.backend.backend() == "jax" else slots)
