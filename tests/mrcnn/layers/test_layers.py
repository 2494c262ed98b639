"""What every layer of the network promises: its symbolic shapes and types, its config, and its precision."""

import doctest
import importlib
import pkgutil

import keras
import numpy as np
import pytest
from keras import ops

import cyclic.backbones
import cyclic.mrcnn.layers
from cyclic.backbones.norm import FoldedGroupNormalization, FrozenBatchNormalization
from cyclic.mrcnn.layers.anchors import PyramidAnchors
from cyclic.mrcnn.layers.detections import DetectionLayer
from cyclic.mrcnn.layers.losses import LossLayer
from cyclic.mrcnn.layers.named_model import NamedModel
from cyclic.mrcnn.layers.proposals import ProposalLayer
from cyclic.mrcnn.layers.roi_align import PyramidROIAlign
from cyclic.mrcnn.layers.roi_targets import DetectionTargetLayer
from cyclic.mrcnn.layers.rpn import PairSoftmax
from cyclic.mrcnn.layers.sampled_anchors import SampledAnchors
from cyclic.mrcnn.matterport.inference_graph import ROIAlignOfImages

STD_DEV = (0.1, 0.1, 0.2, 0.2)
RNG = np.random.default_rng(0)


def floats(*shape):
    return RNG.random(shape, "float32")


def boxes(*shape):
    corner = 0.6 * floats(*shape, 2)
    return np.concatenate([corner, corner + 0.1 + 0.3 * floats(*shape, 2)], axis=-1)


LOSS_INPUTS = {
    "rpn_match": RNG.integers(-1, 2, (2, 6, 1)).astype("int32"),
    "rpn_bbox": floats(2, 4, 4),
    "rpn_class_logits": floats(2, 6, 2),
    "rpn_deltas": floats(2, 6, 4),
    "class_ids": np.int32([[1, 0, 0, 0], [0, 1, 0, 0]]),
    "roi_weights": np.ones((2, 4), "float32"),
    "active_class_ids": np.ones((2, 2), "float32"),
    "class_logits": floats(2, 4, 2),
    "target_deltas": floats(2, 2, 4),
    "deltas": floats(2, 4, 2, 4),
    "target_masks": np.ones((2, 2, 4, 4), "float32"),
    "mask_weights": np.ones((2, 2, 4, 4), "float32"),
    "masks": 0.1 + 0.8 * floats(2, 2, 4, 4, 2),
}
PYRAMID = [floats(2, 16 >> level, 16 >> level, 8) for level in range(4)]
# Layer, its positional and its named inputs, and whether it computes in float32 under every policy.
CASES = {
    "PyramidAnchors": (PyramidAnchors((8, 16), (0.5, 1, 2), (4, 8)), [floats(2, 32, 48, 3)], {}, True),
    "ProposalLayer": (ProposalLayer(5, 0.7, 9, STD_DEV), [floats(2, 12, 2), floats(2, 12, 4), boxes(1, 12)], {}, True),
    "DetectionTargetLayer": (
        DetectionTargetLayer(6, 0.5, (28, 28), STD_DEV, True, 0.3, seed=3),
        [boxes(2, 8), np.ones((2, 3), "int32"), boxes(2, 3), np.ones((2, 3, 14, 14), "uint8")],
        {"ignore": np.zeros((2, 32, 32), "uint8")},
        True,
    ),
    "DetectionLayer": (
        DetectionLayer(4, 0.1, 0.3, STD_DEV, any_foreground=True),
        [boxes(2, 8), floats(2, 8, 3), floats(2, 8, 3, 4), np.float32([[0, 0, 1, 1]] * 2)],
        {},
        True,
    ),
    "PairSoftmax": (PairSoftmax(), [floats(2, 12, 2)], {}, False),
    "PyramidROIAlign": (PyramidROIAlign(7), [boxes(2, 5), PYRAMID], {}, False),
    "ROIAlignOfImages": (ROIAlignOfImages(7), [boxes(2, 5), PYRAMID], {}, False),
    "LossLayer": (LossLayer(), [], LOSS_INPUTS, True),
    "FoldedGroupNormalization": (FoldedGroupNormalization(4), [floats(2, 5, 7, 8)], {}, False),
    "FrozenBatchNormalization": (FrozenBatchNormalization(), [floats(2, 5, 7, 8)], {}, False),
}
every_layer = pytest.mark.parametrize("layer, inputs, named, exact", CASES.values(), ids=CASES)


def call(layer, inputs, named):
    """Return the layer's outputs as NumPy arrays; integers of every backend's width become int32."""
    outputs = keras.tree.map_structure(ops.convert_to_numpy, layer(*inputs, **named))
    return keras.tree.map_structure(lambda x: x.astype("int32") if x.dtype.kind == "i" else x, outputs)


def copy_of(layer, dtype=None):
    """Return the layer that Keras builds again from the serialised one, under the dtype policy `dtype`."""
    config = keras.saving.serialize_keras_object(layer)
    assert config["registered_name"] == f"cyclic>{type(layer).__name__}"
    again = keras.saving.deserialize_keras_object(config)
    assert again is not layer and type(again) is type(layer)
    return again if dtype is None else type(layer).from_config({**layer.get_config(), "dtype": dtype})


def assert_same(found, expected, **tolerance):
    for one, other in zip(keras.tree.flatten(found), keras.tree.flatten(expected), strict=True):
        np.testing.assert_allclose(one, other, **tolerance)


@every_layer
def test_symbolic_outputs_are_those_of_the_values(layer, inputs, named, exact):
    def symbol(array):
        return keras.Input(batch_shape=(None, *array.shape[1:]), dtype=array.dtype)

    named_symbols = {name: symbol(array) for name, array in named.items()}
    symbols = keras.tree.flatten(layer(*keras.tree.map_structure(symbol, inputs), **named_symbols))
    values = keras.tree.flatten(call(layer, inputs, named))
    assert len(symbols) == len(values) > 0
    for output, value in zip(symbols, values, strict=True):
        assert len(output.shape) == value.ndim and keras.backend.standardize_dtype(output.dtype) == str(value.dtype)
        assert all(side in (None, length) for side, length in zip(output.shape, value.shape, strict=True))
        assert output.shape[1:] == value.shape[1:] or type(layer) is PyramidAnchors


@every_layer
def test_serialised_layer_gives_the_same(layer, inputs, named, exact):
    first, second = copy_of(layer), copy_of(layer)
    assert first.get_config() == second.get_config() == layer.get_config()
    found = call(first, inputs, named)
    assert_same(call(second, inputs, named), found)
    assert any(np.any(value) for value in keras.tree.flatten(found))


@every_layer
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_precision(layer, inputs, named, exact, policy):
    """Coordinates, choices and losses stay in float32; feature maps take the policy's type and stay close."""
    half = policy.removeprefix("mixed_")
    low = copy_of(layer, dtype=policy)
    expected = call(copy_of(layer), inputs, named)
    maps = inputs if exact else keras.tree.map_structure(lambda x: ops.cast(x, half) if x.shape[-1] == 8 else x, inputs)
    outputs = keras.tree.flatten(low(*maps, **named))
    for output, value in zip(outputs, keras.tree.flatten(expected), strict=True):
        dtype = keras.backend.standardize_dtype(output.dtype)
        assert dtype in (("float32", "int32") if exact else (half,))
        output = ops.convert_to_numpy(ops.cast(output, "float32"))
        np.testing.assert_allclose(output, value, rtol=0, atol=1e-6 if exact else 0.03)
    assert all(weight.dtype == "float32" for weight in low.trainable_weights)


def test_every_custom_layer_is_here():
    """All but those that stand in for a layer with weights: their own tests compare them with what they replace."""
    registered = [item for item in keras.saving.get_custom_objects().values() if isinstance(item, type)]
    parts = {item for item in registered if item.__module__.startswith(("cyclic.mrcnn", "cyclic.backbones"))}
    apart = (NamedModel, SampledAnchors, keras.layers.Wrapper, keras.layers.Conv2D, keras.layers.Conv2DTranspose)
    layers = {part for part in parts if issubclass(part, keras.layers.Layer) and not issubclass(part, apart)}
    assert {layer.__name__ for layer in layers} == set(CASES)


MODULES = [
    f"{package.__name__}.{module.name}"
    for package in (cyclic.backbones, cyclic.mrcnn.layers)
    for module in pkgutil.iter_modules(package.__path__)
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0
