"""Layers that compute a convolution or crops in a faster way give what the plain way gives."""

import platform
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import ops
from tiny_model import InferenceConfig, OneImage, small_network

from cyclic.allocator import keep_freed_memory
from cyclic.backbones.conv import Conv2D, Conv2DSame
from cyclic.mrcnn.detect import detector
from cyclic.mrcnn.layers.deconv import DoublingConv2D, arrange_pixels
from cyclic.mrcnn.layers.full_conv import FullConv2D
from cyclic.mrcnn.layers.roi_align import PyramidROIAlign, crop_pyramid_reference, pyramid_levels
from cyclic.mrcnn.model import MaskRCNN


class Doubled(DoublingConv2D):
    """The layer with its pixels put in place."""

    def call(self, inputs):
        return arrange_pixels(super().call(inputs))

    def compute_output_shape(self, shape):
        return (shape[0], 2 * shape[1], 2 * shape[2], self.filters)


def trained(layer, inputs, weights=None):
    """Return output, and weights before and after one step of SGD on the mean square of the output."""
    first = keras.layers.Conv2D(inputs.shape[-1], 1)  # its weights show the gradient of the input
    model = keras.Sequential([keras.Input(inputs.shape[1:]), first, layer])
    if weights is not None:
        model.set_weights(weights)
    before = model.get_weights()
    output = model.predict_on_batch(inputs)
    model.compile(keras.optimizers.SGD(0.3), loss=lambda truth, found: ops.mean(ops.square(found)))
    model.train_on_batch(inputs, np.zeros_like(output))
    return output, before, model.get_weights()


@pytest.mark.parametrize(
    ("fast", "plain", "shape"),
    [
        (FullConv2D(6, 7, activation="relu"), keras.layers.Conv2D(6, 7, activation="relu"), (5, 7, 7, 4)),
        (FullConv2D(6, 1, use_bias=False), keras.layers.Conv2D(6, 1, use_bias=False), (5, 1, 1, 4)),
        (Doubled(6, activation="relu"), keras.layers.Conv2DTranspose(6, 2, strides=2, activation="relu"), (2, 5, 7, 4)),
        (Conv2DSame(6, 3), keras.layers.Conv2D(6, 3, padding="same"), (2, 9, 12, 4)),
        (Conv2D(6, 3, activation="relu"), keras.layers.Conv2D(6, 3, activation="relu"), (2, 9, 12, 4)),
        (Conv2D(6, 1, 2, "same", use_bias=False), keras.layers.Conv2D(6, 1, 2, "same", use_bias=False), (2, 9, 12, 4)),
        (Conv2D(6, 3, 2, padding="same"), keras.layers.Conv2D(6, 3, 2, padding="same"), (2, 10, 12, 4)),
    ],
)
def test_output_and_gradients_of_a_convolution(fast, plain, shape):
    inputs = np.random.default_rng(0).normal(size=shape).astype("float32")
    output, before, after = trained(plain, inputs)
    fast_output, _, fast_after = trained(fast, inputs, before)
    assert fast_output.shape == output.shape and output.any()
    np.testing.assert_allclose(fast_output, output, atol=1e-5)
    for start, one, other in zip(before, after, fast_after, strict=True):
        assert np.abs(one - start).max() > 1e-5
        np.testing.assert_allclose(other, one, atol=1e-5)


@pytest.mark.parametrize("layer", [FullConv2D(6, 7), DoublingConv2D(6), Conv2D(6, 3, 2), Conv2DSame(6, 3)])
def test_config_round_trip(layer):
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert type(copy) is type(layer) and copy.get_config() == layer.get_config()


def test_full_convolution_needs_its_kernel_size():
    with pytest.raises(ValueError, match="have to agree"):
        FullConv2D(6, 7)(np.zeros((1, 8, 8, 3), "float32"))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_crops_equal_the_reference_and_keep_its_order(dtype):
    rng = np.random.default_rng(0)
    maps = [ops.cast(rng.normal(size=(2, side, side, 3)), dtype) for side in (64, 32, 16, 8)]
    corner, side = rng.random((2, 40, 2)) * 0.9, np.exp(rng.uniform(-4, 0, (2, 40, 2)))
    rois = np.concatenate([corner, corner + side], axis=-1).astype("float32")
    layer = PyramidROIAlign(7)
    level = ops.reshape(pyramid_levels(ops.convert_to_tensor(rois), 256, 256), (-1,))
    assert len(np.unique(ops.convert_to_numpy(level))) > 2
    image = np.repeat(np.arange(2, dtype="int32"), 40)
    exact = [ops.cast(each, "float32") for each in maps]
    expected = crop_pyramid_reference(exact, ops.reshape(rois, (-1, 4)), ops.convert_to_tensor(image), level, 7)
    found = layer(rois, maps)
    assert keras.backend.standardize_dtype(found.dtype) == dtype
    # The kernel rounds its result alone, the reference each product and sum as well.
    rounded = {"rtol": 2**-8} if keras.backend.backend() == "tensorflow" else {"atol": 0.05}
    tolerance = {"atol": 1e-4} | (rounded if dtype == "bfloat16" else {})
    np.testing.assert_allclose(
        ops.convert_to_numpy(ops.cast(found, "float32")), ops.convert_to_numpy(expected), **tolerance
    )


def test_rois_that_are_no_numbers_do_not_stop_the_step():
    maps = [np.ones((1, side, side, 3), "float32") for side in (64, 32, 16, 8)]
    found = PyramidROIAlign(7)(np.full((1, 2, 4), np.nan, "float32"), maps)
    assert found.shape == (2, 7, 7, 3)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_the_c_library_takes_the_settings():
    assert keep_freed_memory()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_a_freed_block_is_used_again_without_page_faults():
    program = """
import resource
from cyclic.allocator import keep_freed_memory
keep_freed_memory()
import numpy as np
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
before = faults()
np.ones(2**26, np.uint8)
first = faults() - before
np.ones(2**26, np.uint8)
second = faults() - before - first
assert second < first / 10, (first, second)
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_command_sets_the_allocator_before_numpy_starts_threads():
    # Threads that run already keep heaps of their own; two fifths of a training then go to page faults.
    program = """
import sys
import cyclic.allocator
seen = []
cyclic.allocator.keep_freed_memory = lambda: seen.append({"numpy", "tensorflow", "keras"} & sys.modules.keys())
import cyclic.cli
assert seen[0] == set(), "imported before"
assert "numpy" in sys.modules, "nothing to come before"
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_memory_is_given_back_before_images_of_another_size(monkeypatch):
    released = []
    monkeypatch.setattr(detector, "release_freed_memory", lambda: released.append(True))
    model = MaskRCNN("inference", InferenceConfig(), network=small_network(InferenceConfig()))
    image = OneImage().image
    for shape in ((64, 64), (64, 64), (96, 64), (64, 64)):
        model.detect([image[: shape[0], : shape[1]]])
    assert len(released) == 3
