"""ResNet-18/34/50/101 feature pyramids under Matterport's layer names.

ResNet-50 and -101 are Matterport's `resnet_graph` weight for weight, so that its h5 files load by name. ResNet-18 and
-34 use the basic block of He et al. (CVPR 2016) under the same naming scheme: stage, block letter, branch
(`res3a_branch2b` with `bn3a_branch2b`, block output `res3a_out`).
"""

import keras

from cyclic.backbones.conv import Conv2D, Conv2DSame
from cyclic.backbones.norm import norm_layer

# Blocks in the stages 2 to 5, and whether a block is a bottleneck (1x1, 3x3, 1x1) or basic (3x3, 3x3).
DEPTHS = {
    "resnet18": ((2, 2, 2, 2), False),
    "resnet34": ((3, 4, 6, 3), False),
    "resnet50": ((3, 4, 6, 3), True),
    "resnet101": ((3, 4, 23, 3), True),
}
STAGE_CHANNELS = (64, 128, 256, 512)


def build_resnet(name: str, norm: str, input_shape: tuple) -> keras.Model:
    """Return the ResNet `name` as a functional model with the outputs [C2, C3, C4, C5].

    Args:
        name: a key of `DEPTHS`.
        norm: see `cyclic.backbones.norm.norm_layer`.
        input_shape: (height, width, channels) of the mean-subtracted float32 image; sides None or divisible by 32.
    """
    depths, bottleneck = DEPTHS[name]
    block = _bottleneck_block if bottleneck else _basic_block
    image = keras.Input(input_shape, name="image")
    x = build_stem(image, norm, use_bias=bottleneck)
    outputs = []
    for stage, (blocks, channels) in enumerate(zip(depths, STAGE_CHANNELS, strict=True), start=2):
        for index in range(blocks):
            strides = 2 if stage > 2 and index == 0 else 1
            x = block(x, channels, norm, label=f"{stage}{chr(97 + index)}", strides=strides)
        outputs.append(x)
    return keras.Model(image, outputs, name="backbone")


def build_stem(image, norm, use_bias):
    """Return the features `[B, H / 4, W / 4, 64]` before the first block."""
    x = keras.layers.ZeroPadding2D(3, name="conv1_pad")(image)
    x = conv_norm(x, 64, 7, norm, "conv1", "bn_conv1", strides=2, padding="valid", use_bias=use_bias)
    x = keras.layers.Activation("relu", name="conv1_relu")(x)
    return keras.layers.MaxPooling2D(3, strides=2, padding="same", name="pool1")(x)


def conv_norm(x, channels, kernel, norm, conv_name, norm_name, strides=1, padding="same", use_bias=True):
    """Return `x` after a convolution and its normalisation, see `cyclic.backbones.norm.norm_layer`."""
    options = {"use_bias": use_bias, "kernel_initializer": "he_normal", "name": conv_name}
    if kernel == 3 and strides == 1:
        x = Conv2DSame(channels, kernel, **options)(x)
    else:
        x = Conv2D(channels, kernel, strides=strides, padding=padding, **options)(x)
    return norm_layer(norm, channels, norm_name)(x)


def _bottleneck_block(x, channels, norm, label, strides):
    """1x1, 3x3, 1x1; the stride sits in the first 1x1, as in Matterport and Caffe's ResNet."""
    shortcut, res, bn = x, f"res{label}_branch", f"bn{label}_branch"
    x = conv_norm(x, channels, 1, norm, res + "2a", bn + "2a", strides=strides)
    x = keras.layers.Activation("relu", name=res + "2a_relu")(x)
    x = conv_norm(x, channels, 3, norm, res + "2b", bn + "2b")
    x = keras.layers.Activation("relu", name=res + "2b_relu")(x)
    x = conv_norm(x, 4 * channels, 1, norm, res + "2c", bn + "2c")
    if label.endswith("a"):
        shortcut = conv_norm(shortcut, 4 * channels, 1, norm, res + "1", bn + "1", strides=strides)
    x = keras.layers.Add(name=f"res{label}_add")([x, shortcut])
    return keras.layers.Activation("relu", name=f"res{label}_out")(x)


def _basic_block(x, channels, norm, label, strides):
    """3x3, 3x3 without bias; the shortcut is projected only where the shape changes."""
    shortcut, res, bn = x, f"res{label}_branch", f"bn{label}_branch"
    projected = strides > 1 or x.shape[-1] != channels
    x = conv_norm(x, channels, 3, norm, res + "2a", bn + "2a", strides=strides, use_bias=False)
    x = keras.layers.Activation("relu", name=res + "2a_relu")(x)
    x = conv_norm(x, channels, 3, norm, res + "2b", bn + "2b", use_bias=False)
    if projected:
        shortcut = conv_norm(shortcut, channels, 1, norm, res + "1", bn + "1", strides=strides, use_bias=False)
    x = keras.layers.Add(name=f"res{label}_add")([x, shortcut])
    return keras.layers.Activation("relu", name=f"res{label}_out")(x)
