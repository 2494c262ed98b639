"""Group normalisation folded into one scale and shift equals Keras' own layer."""

import keras
import numpy as np
import pytest
from keras import ops

from cyclic.backbones.norm import FoldedGroupNormalization


def layers_of(shape):
    """Return ours and Keras' layer with the same weights."""
    layers = [cls(groups=16, epsilon=1e-3) for cls in (FoldedGroupNormalization, keras.layers.GroupNormalization)]
    for layer in layers:
        layer.build(shape)
        layer.gamma.assign(np.linspace(0.5, 2.0, shape[-1]))
        layer.beta.assign(np.linspace(-1.0, 1.0, shape[-1]))
    return layers


def values(shape, seed=0):
    return np.random.default_rng(seed).normal(3.0, 2.0, shape).astype("float32")


@pytest.mark.parametrize("shape", [(1, 9, 6, 64), (2, 5, 7, 64), (3, 1, 1, 32)])
def test_equals_keras_group_normalization(shape):
    ours, theirs = (ops.convert_to_numpy(layer(values(shape))) for layer in layers_of(shape))
    np.testing.assert_allclose(ours, theirs, atol=2e-5)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="gradients of ours are written for TensorFlow")
@pytest.mark.parametrize("shape", [(1, 9, 6, 64), (2, 5, 7, 64), (3, 1, 1, 32)])
def test_its_gradients_are_those_of_keras_group_normalization(shape):
    import tensorflow as tf

    found = []
    for layer in layers_of(shape):
        x = tf.constant(values(shape))
        with tf.GradientTape() as tape:
            tape.watch(x)
            total = tf.reduce_sum(layer(x) * values(shape, seed=1))
        weights = [x, layer.gamma.value, layer.beta.value]
        found.append([tf.convert_to_tensor(gradient).numpy() for gradient in tape.gradient(total, weights)])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4 * np.abs(theirs).max())


@pytest.mark.parametrize("images", [1, 3])
def test_each_image_has_the_moments_of_its_own(images):
    x = values((images, 8, 4, 32))
    layer, _ = layers_of(x.shape)
    together = ops.convert_to_numpy(layer(x))
    alone = np.concatenate([ops.convert_to_numpy(layer(image[None])) for image in x])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_bfloat16_in_bfloat16_out():
    layer = FoldedGroupNormalization(groups=4, dtype="mixed_bfloat16")
    output = layer(np.ones((1, 4, 4, 8), "float32"))
    assert keras.backend.standardize_dtype(output.dtype) == "bfloat16"


def test_survives_config_round_trip():
    layer = FoldedGroupNormalization(groups=8, epsilon=1e-3, name="bn")
    again = FoldedGroupNormalization.from_config(layer.get_config())
    assert (again.groups, again.epsilon, again.name) == (8, 1e-3, "bn")
