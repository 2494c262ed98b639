"""Matterport's ResNet, block by block, for programs that put a network together themselves.

Layers have Matterport's names, so its weights load by name. `train_bn` means what `Config.TRAIN_BN` does: False freezes
statistics, scale and shift of the batch normalisation; None and True train them.
"""

import keras

from cyclic.backbones.resnet import DEPTHS, STAGE_CHANNELS, build_stem, conv_norm


def identity_block(input_tensor, kernel_size, filters, stage, block, use_bias=True, train_bn=True):
    """Return the output of a bottleneck block whose shortcut is its input.

    Args:
        input_tensor: `[B, h, w, filters[2]]`.
        kernel_size: side of the middle convolution.
        filters: channels of the three convolutions.
        stage, block: number and letter in the names of the layers, such as 4 and "b".
        use_bias: whether the convolutions have biases.
        train_bn: see above.

    Returns:
        `[B, h, w, filters[2]]`.
    """
    x = _main_path(input_tensor, kernel_size, filters, f"{stage}{block}", 1, use_bias, train_bn)
    return _join(x, input_tensor, f"{stage}{block}")


def conv_block(input_tensor, kernel_size, filters, stage, block, strides=(2, 2), use_bias=True, train_bn=True):
    """Return the output of a bottleneck block with a convolution in its shortcut.

    Args:
        input_tensor: `[B, h, w, C]`.
        strides: of the first convolution and of the shortcut.
        kernel_size, filters, stage, block, use_bias, train_bn: see `identity_block`.

    Returns:
        `[B, h / strides[0], w / strides[1], filters[2]]`.
    """
    label = f"{stage}{block}"
    x = _main_path(input_tensor, kernel_size, filters, label, strides, use_bias, train_bn)
    names = f"res{label}_branch1", f"bn{label}_branch1"
    shortcut = conv_norm(input_tensor, filters[2], 1, norm_kind(train_bn), *names, strides=strides, use_bias=use_bias)
    return _join(x, shortcut, label)


def resnet_graph(input_image, architecture, stage5=False, train_bn=True):
    """Return the features [C1, C2, C3, C4, C5] of an image, strides 4, 4, 8, 16 and 32.

    Args:
        input_image: `[B, H, W, C]` float32, mean subtracted.
        architecture: "resnet50" or "resnet101".
        stage5: False leaves the last stage out, and C5 is None.
        train_bn: see above.

    Raises:
        ValueError: another architecture.
    """
    if architecture not in ("resnet50", "resnet101"):
        raise ValueError(f"architecture = {architecture!r}: use resnet50 or resnet101")
    x = build_stem(input_image, norm_kind(train_bn), use_bias=True)
    outputs = [x]
    for stage, (blocks, channels) in enumerate(zip(DEPTHS[architecture][0], STAGE_CHANNELS, strict=True), start=2):
        if stage == 5 and not stage5:
            return [*outputs, None]
        filters = [channels, channels, 4 * channels]
        strides = (1, 1) if stage == 2 else (2, 2)
        x = conv_block(x, 3, filters, stage, "a", strides=strides, train_bn=train_bn)
        for index in range(1, blocks):
            x = identity_block(x, 3, filters, stage, chr(ord("a") + index), train_bn=train_bn)
        outputs.append(x)
    return outputs


def norm_kind(train_bn):
    """Return the kind of normalisation, see `backbones.norm.norm_layer`, that Matterport's `train_bn` means."""
    return "frozen" if train_bn is False else "batch"


def _main_path(x, kernel_size, filters, label, strides, use_bias, train_bn):
    sizes = (1, kernel_size, 1)
    for part, channels, size in zip(("2a", "2b", "2c"), filters, sizes, strict=True):
        names = f"res{label}_branch{part}", f"bn{label}_branch{part}"
        step = strides if part == "2a" else 1
        x = conv_norm(x, channels, size, norm_kind(train_bn), *names, strides=step, use_bias=use_bias)
        if part != "2c":
            x = keras.layers.Activation("relu")(x)
    return x


def _join(x, shortcut, label):
    return keras.layers.Activation("relu", name=f"res{label}_out")(keras.layers.Add()([x, shortcut]))
