"""The weights of the five losses, and backbones that a program brings along."""

import keras
import numpy as np
import pytest
from tiny_model import TinyConfig

from cyclic.mrcnn.layers.losses import LOSS_NAMES
from cyclic.mrcnn.layers.network import Network, TrainingModel


def test_loss_weights_left_out_are_one():
    x = keras.Input((1,))
    scale = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones", name="scale")(x)
    model = TrainingModel(
        x, dict.fromkeys(LOSS_NAMES, scale), loss_weights={"rpn_class_loss": 3.0, "mrcnn_mask_loss": 0}
    )
    model.compile(optimizer=keras.optimizers.SGD(0.0))
    logs = model.train_on_batch(np.ones((1, 1), "float32"), return_dict=True)
    assert logs["loss"] == pytest.approx(6.0) and logs["mrcnn_bbox_loss"] == pytest.approx(1.0)


def test_callable_backbone_is_given_the_norm():
    def build(norm):
        image = keras.Input((None, None, 3))
        levels = [keras.layers.Conv2D(side, 3, strides=side, name=f"{norm}{side}")(image) for side in (4, 8, 16, 32)]
        return keras.Model(image, levels, name="backbone")

    class CallableConfig(TinyConfig):
        BACKBONE = staticmethod(build)

    assert [output.shape[-1] for output in Network(CallableConfig()).backbone.outputs] == [4, 8, 16, 32]
    assert Network(CallableConfig()).backbone.get_layer("group4")
