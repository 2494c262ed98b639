"""Box and mask head: shapes, ranges, and that every size of them sees its input."""

import keras
import numpy as np
import pytest

from cyclic.mrcnn.layers.heads import build_box_head, build_mask_head

ROIS = np.random.default_rng(0).normal(size=(6, 7, 7, 8)).astype("float32")


@pytest.mark.parametrize("norm", ["batch", "frozen", "group"])
@pytest.mark.parametrize("fc_size", [4, 32, 48, 1024])
def test_box_head_tells_rois_apart(fc_size, norm):
    logits, probabilities, deltas = build_box_head(3, 7, 8, norm, fc_size).predict_on_batch(ROIS)
    assert logits.shape == probabilities.shape == (6, 3) and deltas.shape == (6, 3, 4)
    np.testing.assert_allclose(probabilities.sum(axis=-1), 1, rtol=1e-5)
    assert logits.std(axis=0).min() > 1e-3 and deltas.std(axis=0).min() > 1e-3


@pytest.mark.parametrize("norm", ["batch", "frozen", "group"])
def test_mask_head_doubles_the_side_and_gives_probabilities(norm):
    masks = build_mask_head(2, 7, 8, norm, width=16).predict_on_batch(ROIS)
    assert masks.shape == (6, 14, 14, 2) and masks.min() > 0 and masks.max() < 1
    assert masks.std(axis=0).min() > 1e-4


def test_outputs_are_float32_under_half_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        heads = build_box_head(2, 7, 8, "group", 16), build_mask_head(2, 7, 8, "group", 16)
    finally:
        keras.config.set_dtype_policy("float32")
    dtypes = [keras.backend.standardize_dtype(output.dtype) for head in heads for output in head.outputs]
    assert dtypes == ["float32"] * 4
    assert heads[0].get_layer("mrcnn_class_conv1").compute_dtype == "bfloat16"
