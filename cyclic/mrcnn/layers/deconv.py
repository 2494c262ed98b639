"""The mask head's doubling of resolution as a matrix product.

Shape shorthand: N maps, P their side, C channels in, F channels out, K any number of channels.
"""

import keras
from keras import ops

FACTOR = 2


@keras.saving.register_keras_serializable(package="cyclic")
class DoublingConv2D(keras.layers.Conv2DTranspose):
    """`Conv2DTranspose` of kernel 2 and stride 2 whose four pixels for each input pixel stay side by side.

    No two places of the kernel meet in one pixel, so the layer is one matrix product. What comes after it pixel by
    pixel, such as a 1 x 1 convolution, need not wait for the pixels to be put in place: `in_place` does that at last,
    with fewer channels. The weights are those of `Conv2DTranspose`, so Matterport's files load.

    Args:
        filters: F.

    Returns (of a call):
        `[N, P, 4 P, F]` for an input of `[N, P, P, C]`.
    """

    def __init__(self, filters, **kwargs):
        super().__init__(filters, **{**kwargs, "kernel_size": FACTOR, "strides": FACTOR, "padding": "valid"})

    def call(self, inputs):
        height, width, channels = inputs.shape[1:]
        kernel = ops.transpose(ops.reshape(self.kernel, (-1, channels)))
        product = ops.matmul(ops.reshape(inputs, (-1, channels)), kernel)
        product = ops.reshape(product, (-1, height, width * FACTOR * FACTOR, self.filters))
        return self.activation(product + self.bias if self.use_bias else product)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:2], input_shape[2] * FACTOR * FACTOR, self.filters)


def in_place(pixels):
    """Return `[N, P, 4 P, K]`, four pixels for each one side by side, as `[N, 2 P, 2 P, K]`."""
    height, width, channels = pixels.shape[1], pixels.shape[2] // FACTOR**2, pixels.shape[3]
    blocks = ops.reshape(pixels, (-1, height, width, FACTOR, FACTOR, channels))
    return ops.reshape(ops.transpose(blocks, (0, 1, 3, 2, 4, 5)), (-1, height * FACTOR, width * FACTOR, channels))
