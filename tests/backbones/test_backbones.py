"""Backbones: shapes, names, Matterport parity, frozen normalisation."""

import json
import pathlib
import subprocess
import sys

import h5py
import keras
import numpy as np
import pytest
from keras import ops

from cyclic.backbones import BACKBONES, FrozenBatchNormalization, build_backbone
from cyclic.errors import InputError

SHARED = pathlib.Path(__file__).resolve().parents[2].parent / "shared"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="shared data not present")


@pytest.mark.parametrize(
    "name, norm",
    [*((name, "batch") for name in BACKBONES), ("resnet18", "frozen"), ("vgg16", "frozen"), ("vgg16", "group")],
)
def test_strides_and_channels(name, norm):
    backbone = build_backbone(name, norm, (64, 96, 3))
    assert backbone.name == "backbone"
    last = {"resnet50": 2048, "resnet101": 2048}.get(name, 512)
    assert [level.shape[1:3] for level in backbone.outputs] == [(16, 24), (8, 12), (4, 6), (2, 3)]
    assert backbone.outputs[-1].shape[-1] == last


def test_names_follow_matterport():
    names = {layer.name for layer in build_backbone("resnet101").layers}
    assert {"conv1", "bn_conv1", "res2c_out", "res3d_out", "res4w_out", "bn4w_branch2c", "res5c_out"} <= names
    assert "res4x_out" not in names


@needs_shared
def test_resnet50_has_the_weights_of_the_manifest():
    manifest = json.loads((SHARED / "parity" / "manifest.json").read_text())
    expected = {
        name: [tuple(shape) for _, shape in weights]
        for name, weights in manifest.items()
        if name.startswith(("conv1", "bn_conv1", "res", "bn2", "bn3", "bn4", "bn5"))
    }
    layers = build_backbone("resnet50").layers
    assert {layer.name: [tuple(w.shape) for w in layer.weights] for layer in layers if layer.weights} == expected


@needs_shared
def test_resnet50_features_equal_matterports(tmp_path):
    weights = tmp_path / "weights.h5"
    subprocess.run([sys.executable, SHARED / "parity" / "make_weights.py", weights], check=True)
    backbone = build_backbone("resnet50", "frozen")
    with h5py.File(weights) as file:
        for layer in backbone.layers:
            if layer.weights:
                group = file[layer.name]
                layer.set_weights([group[name][()] for name in group.attrs["weight_names"]])
    golden = np.load(SHARED / "parity" / "golden_infer.npz")
    outputs = backbone.predict_on_batch(golden["molded"].astype("float32"))
    for name, output in zip(["res2c_out", "res3d_out", "res4f_out", "res5c_out"], outputs, strict=True):
        difference = np.abs(output[:, ::4, ::4, ::16] - golden[name])
        assert difference.max() < 1e-3 * golden[name].std(), name


def test_vgg16_frozen_is_keras_vgg16():
    ours = build_backbone("vgg16", "frozen")
    theirs = keras.applications.VGG16(include_top=False, weights=None)
    for layer in theirs.layers:
        if layer.weights:
            ours.get_layer(layer.name).set_weights(layer.get_weights())
    image = np.random.default_rng(0).normal(0, 50, (1, 64, 64, 3)).astype("float32")
    np.testing.assert_allclose(ours.predict_on_batch(image)[-1], theirs.predict_on_batch(image), rtol=1e-4, atol=1e-4)


def test_features_depend_on_the_image():
    backbone = build_backbone("resnet18", "group")
    rng = np.random.default_rng(0)
    images = rng.normal(0, 50, (2, 64, 64, 3)).astype("float32")
    for level in backbone.predict_on_batch(images):
        assert level.min() >= 0
        assert np.abs(level[0] - level[1]).max() > 0.01


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_frozen_batch_normalization_is_keras_with_stored_statistics(dtype):
    rng = np.random.default_rng(0)
    weights = [rng.uniform(0.5, 2.0, 6).astype("float32") for _ in range(4)]
    x, outputs = rng.normal(3.0, 2.0, (2, 4, 5, 6)).astype("float32"), []
    for cls in (FrozenBatchNormalization, keras.layers.BatchNormalization):
        layer = cls(epsilon=1e-3, dtype=dtype)
        layer.build(x.shape)
        layer.set_weights(weights)
        output = layer(x, training=False)
        assert keras.backend.standardize_dtype(output.dtype) == layer.compute_dtype
        outputs.append(ops.convert_to_numpy(ops.cast(output, "float32")))
    np.testing.assert_allclose(*outputs, atol=1e-5 if dtype == "float32" else 0.1)


def test_frozen_batch_normalization_never_trains():
    layer = FrozenBatchNormalization()
    model = keras.Sequential([keras.Input((4, 4, 3)), layer, keras.layers.Conv2D(2, 1)])
    model.trainable = True
    layer.trainable = True
    assert len(model.trainable_weights) == 2
    assert [weight.name for weight in layer.weights] == ["gamma", "beta", "moving_mean", "moving_variance"]
    before = layer.get_weights()
    x = np.random.default_rng(0).normal(5, 3, (8, 4, 4, 3)).astype("float32")
    model.compile("sgd", "mse")
    model.train_on_batch(x, np.zeros((8, 4, 4, 2), "float32"))
    for old, new in zip(before, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    # Stored statistics are 0 and 1, so in inference mode the layer is the identity up to epsilon.
    np.testing.assert_allclose(keras.ops.convert_to_numpy(layer(x, training=True)), x, rtol=1e-3, atol=1e-3)


def test_frozen_batch_normalization_round_trips(tmp_path):
    model = keras.Sequential([keras.Input((4, 4, 3)), FrozenBatchNormalization(name="bn")])
    model.get_layer("bn").set_weights([np.full(3, value, "float32") for value in (2, 1, 0.5, 4)])
    model.save(tmp_path / "model.keras")
    x = np.random.default_rng(0).normal(size=(2, 4, 4, 3)).astype("float32")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert isinstance(loaded.get_layer("bn"), FrozenBatchNormalization)
    np.testing.assert_allclose(loaded.predict_on_batch(x), model.predict_on_batch(x), rtol=1e-6)


def test_mixed_precision_follows_the_global_policy():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        backbone = build_backbone("resnet18", "group", (64, 64, 3))
    finally:
        keras.config.set_dtype_policy(policy)
    assert keras.backend.standardize_dtype(backbone.outputs[0].dtype) == "bfloat16"
    assert all(weight.dtype == "float32" for weight in backbone.weights)


@pytest.mark.parametrize(
    "arguments, message",
    [(("resnet51",), "resnet50"), (("resnet18", "layer"), "group"), (("vgg16", "batch", (100, 64, 3)), "32")],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(InputError, match=message):
        build_backbone(*arguments)
