"""Inference on the device: the model's numbers, with one trace for images of every size."""

import keras
import numpy as np
import pytest

from cyclic.mrcnn.kernels.on_device import on_device


class Counting(keras.layers.Layer):
    """Doubles its input, and counts how often Keras runs its Python."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def call(self, inputs):
        self.calls += 1
        return 2 * inputs


@pytest.fixture
def layer():
    return Counting()


def test_images_of_every_size_and_number_need_one_trace(layer):
    image, shift = keras.Input((None, None, 3), name="image"), keras.Input((3,), name="shift")
    model = keras.Model({"image": image, "shift": shift}, layer(image) + shift[:, None, None])
    call, traced = on_device(model), layer.calls
    for batch, height, width in ((1, 4, 6), (2, 4, 6), (1, 8, 6), (3, 5, 7), (1, 4, 6)):
        inputs = {
            "image": np.full((batch, height, width, 3), 2, "float32"),
            "shift": np.ones((batch, 3), "float32"),
        }
        output = keras.ops.convert_to_numpy(call(inputs))
        np.testing.assert_array_equal(output, np.full((batch, height, width, 3), 5, "float32"))
    if keras.backend.backend() == "tensorflow":
        assert layer.calls == traced + 1


@pytest.mark.parametrize("several", [False, True])
def test_models_of_one_array_and_of_a_list(layer, several):
    inputs = [keras.Input((None, 2)) for _ in range(1 + several)]
    model = keras.Model(inputs if several else inputs[0], layer(inputs[-1]))
    arrays = [np.full((1, 3, 2), value, "float32") for value in range(1 + several)]
    output = on_device(model)(arrays if several else arrays[0])
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(output), 2 * arrays[-1])


def test_it_uses_the_weights_of_the_moment():
    image = keras.Input((None, 2))
    dense = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")
    call = on_device(keras.Model(image, dense(image)))
    ones = np.ones((1, 1, 2), "float32")
    before = keras.ops.convert_to_numpy(call(ones)).item()
    dense.set_weights([np.full((2, 1), 3, "float32")])
    assert (before, keras.ops.convert_to_numpy(call(ones)).item()) == (2, 6)
