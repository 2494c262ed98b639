"""VGG16 feature pyramid under Keras' layer names (Simonyan and Zisserman, ICLR 2015)."""

import keras

from cyclic.backbones.conv import Conv2D
from cyclic.backbones.norm import norm_layer

# (convolutions, channels) of the blocks 1 to 5.
BLOCKS = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))


def build_vgg16(norm: str, input_shape: tuple) -> keras.Model:
    """Return VGG16 as a functional model with the outputs [C2, C3, C4, C5].

    C2 to C4 are the last convolutions of the blocks 3 to 5, before their pooling; C5 is `block5_pool`.

    Args:
        norm: "frozen" builds the plain network of `keras.applications.VGG16`, which has no normalisation and whose
            weights load by name; "batch" and "group" put a layer `blockB_convC_bn` behind every convolution.
        input_shape: (height, width, channels) of the mean-subtracted float32 image; sides None or divisible by 32.
    """
    image = keras.Input(input_shape, name="image")
    x, outputs = image, []
    for block, (convolutions, channels) in enumerate(BLOCKS, start=1):
        for index in range(1, convolutions + 1):
            x = _convolution(x, channels, norm, f"block{block}_conv{index}")
        if block >= 3:
            outputs.append(x)
        x = keras.layers.MaxPooling2D(2, strides=2, name=f"block{block}_pool")(x)
    return keras.Model(image, [*outputs, x], name="backbone")


def _convolution(x, channels, norm, name):
    plain = norm == "frozen"
    x = Conv2D(
        channels,
        3,
        padding="same",
        activation="relu" if plain else None,
        use_bias=plain,
        kernel_initializer="he_normal",
        name=name,
    )(x)
    if plain:
        return x
    x = norm_layer(norm, channels, name + "_bn")(x)
    return keras.layers.Activation("relu", name=name + "_relu")(x)
