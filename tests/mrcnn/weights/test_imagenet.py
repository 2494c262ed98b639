"""Files of keras.applications give our backbones the features of Keras' own networks."""

import h5py
import keras
import numpy as np
import pytest
from keras import ops
from keras.src.legacy.saving import legacy_h5_format

from cyclic.backbones import build_backbone
from cyclic.mrcnn.weights import h5 as weights
from cyclic.mrcnn.weights import imagenet


def randomized(network, seed=0):
    """Give every weight of a model random values, variances and scales around 1."""
    rng = np.random.default_rng(seed)
    for weight in network.weights:
        if weight.name in ("gamma", "moving_variance"):
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
        else:
            fan = max(np.prod(weight.shape[:-1]), 1)
            weight.assign(rng.normal(0, (2 / fan) ** 0.5 if weight.name == "kernel" else 0.1, weight.shape))
    return network


def keras_file(path, network):
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, network)
    return path


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_resnet50_of_keras_gives_its_features(tmp_path):
    """Stem and stages apart, for Keras pads the max-pooling between them in another way."""
    reference = randomized(keras.applications.ResNet50(weights=None, include_top=False, input_shape=(64, 64, 3)))
    backbone = build_backbone("resnet50", norm="frozen")
    report = weights.load_weights(keras_file(tmp_path / "resnet50.h5", reference), backbone)
    assert not report.missing and not report.unused
    rgb = np.random.default_rng(1).normal(0, 50, (1, 64, 64, 3)).astype("float32")
    stem, pooled = (backbone.get_layer(name).output for name in ("conv1_relu", "pool1"))
    stem, pooled = keras.Model(backbone.input, [stem, pooled]).predict_on_batch(rgb)
    expected = keras.Model(reference.input, reference.get_layer("conv1_relu").output).predict_on_batch(rgb[..., ::-1])
    np.testing.assert_allclose(stem, expected, rtol=1e-4, atol=1e-3)
    ends = ("conv2_block3_out", "conv3_block4_out", "conv4_block6_out", "conv5_block3_out")
    outputs = [reference.get_layer(name).output for name in ends]
    stages = keras.Model(reference.get_layer("pool1_pool").output, outputs)
    for ours, keras_own in zip(backbone(rgb), stages(pooled), strict=True):
        ours, keras_own = ops.convert_to_numpy(ours), ops.convert_to_numpy(keras_own)
        assert np.abs(ours - keras_own).max() < 1e-4 * np.abs(keras_own).max() > 0


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_vgg16_of_keras_gives_its_features(tmp_path):
    reference = randomized(keras.applications.VGG16(weights=None, include_top=False, input_shape=(32, 32, 3)))
    backbone = build_backbone("vgg16", norm="frozen")
    report = weights.load_weights(keras_file(tmp_path / "vgg16.h5", reference), backbone)
    assert not report.missing and not report.unused
    rgb = np.random.default_rng(1).normal(0, 50, (1, 32, 32, 3)).astype("float32")
    expected = ops.convert_to_numpy(reference(rgb[..., ::-1]))
    found = ops.convert_to_numpy(backbone(rgb)[-1])
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max() > 0


def test_own_vgg16_file_is_not_turned(tmp_path):
    backbone = build_backbone("vgg16", norm="frozen")
    kernel = backbone.get_layer("block1_conv1").kernel.numpy()
    weights.save_weights(tmp_path / "own.h5", backbone)
    weights.load_weights(tmp_path / "own.h5", backbone)
    np.testing.assert_array_equal(backbone.get_layer("block1_conv1").kernel.numpy(), kernel)


@pytest.mark.parametrize(
    "theirs, ours",
    [
        ("conv1_conv", "conv1"),
        ("conv1_bn", "bn_conv1"),
        ("conv2_block1_0_conv", "res2a_branch1"),
        ("conv3_block4_1_bn", "bn3d_branch2a"),
        ("conv4_block23_2_conv", "res4w_branch2b"),
        ("conv5_block3_3_bn", "bn5c_branch2c"),
        ("predictions", "predictions"),
    ],
)
def test_names_of_resnet_layers(theirs, ours):
    assert imagenet._our_name(theirs) == ours
