"""Group normalisation folded into one scale and shift equals Keras' own layer."""

import keras
import numpy as np
import pytest
from keras import ops

from cyclic.backbones.norm import FoldedGroupNormalization


@pytest.mark.parametrize("shape", [(2, 5, 7, 64), (3, 1, 1, 32)])
def test_equals_keras_group_normalization(shape):
    rng = np.random.default_rng(0)
    x = rng.normal(3.0, 2.0, shape).astype("float32")
    ours, theirs = (cls(groups=16, epsilon=1e-3) for cls in (FoldedGroupNormalization, keras.layers.GroupNormalization))
    for layer in (ours, theirs):
        layer.build(shape)
        layer.gamma.assign(np.linspace(0.5, 2.0, shape[-1]))
        layer.beta.assign(np.linspace(-1.0, 1.0, shape[-1]))
    ours, theirs = (ops.convert_to_numpy(layer(x)) for layer in (ours, theirs))
    np.testing.assert_allclose(ours, theirs, atol=2e-5)


def test_bfloat16_in_bfloat16_out():
    layer = FoldedGroupNormalization(groups=4, dtype="mixed_bfloat16")
    output = layer(np.ones((1, 4, 4, 8), "float32"))
    assert keras.backend.standardize_dtype(output.dtype) == "bfloat16"


def test_survives_config_round_trip():
    layer = FoldedGroupNormalization(groups=8, epsilon=1e-3, name="bn")
    again = FoldedGroupNormalization.from_config(layer.get_config())
    assert (again.groups, again.epsilon, again.name) == (8, 1e-3, "bn")
