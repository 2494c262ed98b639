"""The RPN on sampled anchors gives the numbers and gradients of the RPN on whole maps."""

import keras
import numpy as np
import pytest
from keras import ops

from cyclic.mrcnn.layers.losses import rpn_bbox_loss, rpn_class_loss
from cyclic.mrcnn.layers.rpn import build_rpn
from cyclic.mrcnn.layers.sampled_anchors import SampledAnchors

SIDES, CHANNELS, SAMPLES, BATCH = (16, 8, 4, 2, 1), 8, 32, 2


def pyramid(rng, sides=SIDES):
    return [rng.normal(size=(BATCH, side, side, CHANNELS)).astype("float32") for side in sides]


def outputs(rpn, levels):
    return [ops.concatenate([rpn(level)[index] for level in levels], axis=1) for index in (0, 2)]


def drawn_match(rng, anchors, count=20):
    """Some anchors of each image, the first and the last among them: their cells lie on the border."""
    match = np.zeros((BATCH, anchors, 1), "int32")
    for image in match[..., 0]:
        image[rng.choice(anchors, count, replace=False)] = rng.choice([-1, 1], count)
        image[[0, -1]] = 1
    return match


@pytest.mark.parametrize("stride", [1, 2])
def test_outputs_are_those_of_whole_maps(stride):
    rng = np.random.default_rng(stride)
    rpn, levels = build_rpn(stride, 3, CHANNELS, 16), pyramid(rng)
    logits, deltas = map(ops.convert_to_numpy, outputs(rpn, levels))
    match = drawn_match(rng, logits.shape[1])
    found = [ops.convert_to_numpy(each) for each in SampledAnchors(rpn, SAMPLES)(levels, match)]
    for image in range(BATCH):
        anchors = np.flatnonzero(match[image, :, 0])
        count = len(anchors)
        np.testing.assert_array_equal(found[0][image, :count], match[image, anchors])
        assert not found[0][image, count:].any()
        np.testing.assert_allclose(found[1][image, :count], logits[image, anchors], atol=1e-5)
        np.testing.assert_allclose(found[2][image, :count], deltas[image, anchors], atol=1e-5)


def test_losses_and_trained_weights_are_those_of_whole_maps():
    rng = np.random.default_rng(0)
    levels, target = pyramid(rng), rng.normal(size=(BATCH, SAMPLES, 4)).astype("float32")
    rpn = build_rpn(1, 3, CHANNELS, 16)
    match = drawn_match(rng, outputs(rpn, levels)[0].shape[1])
    start = rpn.get_weights()

    def train(sampled):
        """Return loss and weights after one step of SGD."""
        rpn.set_weights(start)
        inputs = [keras.Input(level.shape[1:]) for level in levels]
        given, wanted = keras.Input(match.shape[1:], dtype="int32"), keras.Input(target.shape[1:])
        if sampled:
            found, logits, deltas = SampledAnchors(rpn, SAMPLES)(inputs, given)
        else:
            found, (logits, deltas) = given, outputs(rpn, inputs)
        values = keras.layers.Lambda(
            lambda x: ops.reshape(rpn_class_loss(*x[:2]) + rpn_bbox_loss(x[3], x[0], x[2]), (1, 1)),
            output_shape=(1,),
        )([found, logits, deltas, wanted])
        model = keras.Model([*inputs, given, wanted], values)
        model.compile(keras.optimizers.SGD(0.5), loss=lambda truth, value: ops.sum(value))
        loss = model.train_on_batch([*levels, match, target], np.zeros((1, 1), "float32"))
        return float(loss), rpn.get_weights()

    dense_loss, dense_weights = train(False)
    loss, weights = train(True)
    assert loss == pytest.approx(dense_loss, rel=1e-5)
    for before, one, other in zip(start, dense_weights, weights, strict=True):
        assert np.abs(one - before).max() > 1e-4
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_no_anchor_bears_loss():
    rng = np.random.default_rng(0)
    rpn, levels = build_rpn(1, 3, CHANNELS, 16), pyramid(rng)
    match = np.zeros((BATCH, outputs(rpn, levels)[0].shape[1], 1), "int32")
    found, logits, _ = SampledAnchors(rpn, SAMPLES)(levels, match)
    assert not ops.convert_to_numpy(found).any() and np.isfinite(ops.convert_to_numpy(logits)).all()


def test_config_round_trip():
    layer = SampledAnchors(build_rpn(1, 3, CHANNELS, 16), SAMPLES)
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    copy.rpn.set_weights(layer.rpn.get_weights())
    levels = pyramid(np.random.default_rng(0))
    match = np.zeros((BATCH, outputs(layer.rpn, levels)[0].shape[1], 1), "int32")
    match[:, 7] = 1
    for one, other in zip(layer(levels, match), copy(levels, match), strict=True):
        np.testing.assert_allclose(ops.convert_to_numpy(one), ops.convert_to_numpy(other), atol=1e-6)
