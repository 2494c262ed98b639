"""Weights files of keras.applications (ResNet-50, ResNet-101, VGG16), converted to weights of our backbones.

What differs, and how it is converted:
- Layer names of the ResNets: `conv2_block1_1_conv` is `res2a_branch2a`.
- Keras' networks take BGR images, ours RGB: the first kernel's input channels are reversed. The mean pixel to subtract
  is (123.68, 116.779, 103.939), RGB; `Config.MEAN_PIXEL` is that, rounded.
- The ResNets' batch normalisation has an epsilon of 1.001e-5, ours 1e-3: gamma is scaled so that, with the stored
  statistics, the output is the same.
- Strides sit in the same convolutions. The stem's max-pooling does not pad alike: Keras' windows lie one pixel of the
  stride-2 map further up and left, so that features are those of an image shifted by two pixels.
"""

import re

import numpy as np

from cyclic.backbones.norm import EPSILON

KERAS_EPSILON = 1.001e-5
_BRANCHES = {"0": "1", "1": "2a", "2": "2b", "3": "2c"}
_RESNET_LAYER = re.compile(r"conv([2-5])_block(\d+)_([0-3])_(conv|bn)")
_VGG_LAYER = re.compile(r"input.*|block\d_(conv\d|pool)|flatten|fc\d|predictions|top_level_model_weights")


def convert_weights(stored, layer_names):
    """Convert the weights of a keras.applications file to ours; weights of any other file are returned unchanged.

    Args:
        stored: `{layer name: [array or h5 dataset, ...]}`.
        layer_names: all layers the file lists, also those without weights.
    """
    if "conv1_conv" in stored and "conv1_bn" in stored:
        renamed = {_our_name(name): arrays for name, arrays in stored.items()}
        layers = {name: _rescale_gamma(arrays) if name.startswith("bn") else arrays for name, arrays in renamed.items()}
        return {**layers, "conv1": _reverse_input_channels(layers["conv1"])}
    # Our VGG16 has Keras' layer names. Keras' own file lists layers without weights, too, and none of another network.
    if "block5_pool" in layer_names and all(_VGG_LAYER.fullmatch(name) for name in layer_names):
        return {**stored, "block1_conv1": _reverse_input_channels(stored["block1_conv1"])}
    return stored


def _our_name(name):
    """Return our name of a ResNet layer of Keras: `conv2_block1_1_conv` is `res2a_branch2a`."""
    if name in ("conv1_conv", "conv1_bn"):
        return {"conv1_conv": "conv1", "conv1_bn": "bn_conv1"}[name]
    match = _RESNET_LAYER.fullmatch(name)
    if match is None:
        return name
    stage, block, branch, kind = match.groups()
    prefix = "res" if kind == "conv" else "bn"
    return f"{prefix}{stage}{chr(96 + int(block))}_branch{_BRANCHES[branch]}"


def _reverse_input_channels(arrays):
    """Return the weights of a convolution for RGB from those for BGR."""
    kernel, *rest = arrays
    return [kernel[()][:, :, ::-1], *rest]


def _rescale_gamma(arrays):
    """Return batch normalisation's weights that give with our epsilon what the stored ones give with Keras'."""
    gamma, beta, mean, variance = (array[()] for array in arrays)
    return [gamma * np.sqrt((variance + EPSILON) / (variance + KERAS_EPSILON)), beta, mean, variance]
