"""Anchors made inside the network equal those of the data loader."""

import keras
import numpy as np
import pytest
from keras import ops

from cyclic.mrcnn.config import Config
from cyclic.mrcnn.geometry.anchors_numpy import pyramid_anchors_normalized
from cyclic.mrcnn.layers.anchors import PyramidAnchors


class SmallConfig(Config):
    RPN_ANCHOR_SCALES = (8, 16, 32, 64, 128)


def layer_of(config):
    return PyramidAnchors(
        config.RPN_ANCHOR_SCALES, config.RPN_ANCHOR_RATIOS, config.BACKBONE_STRIDES, config.RPN_ANCHOR_STRIDE
    )


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("shape", [(128, 128), (64, 192), (100, 70)])
def test_anchors_equal_the_loaders(shape, stride):
    config = SmallConfig()
    config.RPN_ANCHOR_STRIDE = stride
    anchors = ops.convert_to_numpy(layer_of(config)(np.zeros((2, *shape, 3), "float32")))
    assert anchors.dtype == np.float32
    np.testing.assert_allclose(anchors[0], pyramid_anchors_normalized(config, shape), atol=1e-6)


def test_one_model_serves_images_of_any_size():
    image = keras.Input((None, None, 3))
    model = keras.Model(image, layer_of(SmallConfig())(image))
    assert model.output_shape == (1, None, 4)
    for side in (64, 128, 128, 64):
        found = ops.convert_to_numpy(model(np.zeros((1, side, side, 3), "float32")))[0]
        np.testing.assert_allclose(found, pyramid_anchors_normalized(SmallConfig(), (side, side)), atol=1e-6)


def test_half_precision_policy_leaves_anchors_exact():
    images = ops.cast(np.zeros((1, 64, 64, 3)), "bfloat16")
    anchors = ops.convert_to_numpy(layer_of(SmallConfig())(images))[0]
    np.testing.assert_allclose(anchors, pyramid_anchors_normalized(SmallConfig(), (64, 64)), atol=1e-6)


def test_layer_survives_its_config():
    layer = layer_of(SmallConfig())
    again = PyramidAnchors.from_config(layer.get_config())
    image = np.zeros((1, 64, 64, 3), "float32")
    np.testing.assert_array_equal(ops.convert_to_numpy(again(image)), ops.convert_to_numpy(layer(image)))
