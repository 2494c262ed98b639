"""The mask head's doubling of resolution as a matrix product.

Shape shorthand: N maps, P their side, C channels in, F channels out, K any number of channels.
"""

import keras
from keras import ops

FACTOR = 2


@keras.saving.register_keras_serializable(package="cyclic")
class DoublingConv2D(keras.layers.Conv2DTranspose):
    """`Conv2DTranspose` of kernel 2 and stride 2 whose four pixels for each input pixel stay side by side.

    Kernel and stride are equal, so no two input pixels reach the same output pixel, and the layer is one matrix
    product. `arrange_pixels` moves the four pixels to their places. Layers that treat each pixel alone, such as a 1 x 1
    convolution, can come before that; then fewer channels are moved. The weights are those of `Conv2DTranspose`, so
    Matterport's files load.

    Args:
        filters: F.

    Call arguments:
        inputs: `[N, P, P, C]`.

    Returns:
        `[N, P, 4 P, F]`.

    Example:
        >>> tuple(DoublingConv2D(8)(keras.random.normal((2, 14, 14, 4))).shape)
        (2, 14, 56, 8)
    """

    def __init__(self, filters, **kwargs):
        super().__init__(filters, **{**kwargs, "kernel_size": FACTOR, "strides": FACTOR, "padding": "valid"})

    def call(self, inputs):
        height, width, channels = inputs.shape[1:]
        kernel = ops.transpose(ops.reshape(self.kernel, (-1, channels)))
        # Bias and activation come before the reshape: TensorFlow joins all three to one operation.
        product = ops.matmul(ops.reshape(inputs, (-1, channels)), kernel)
        if self.use_bias:
            product = product + ops.tile(self.bias, FACTOR * FACTOR)
        return ops.reshape(self.activation(product), (-1, height, width * FACTOR * FACTOR, self.filters))

    def compute_output_shape(self, input_shape):
        return (*input_shape[:2], input_shape[2] * FACTOR * FACTOR, self.filters)


def arrange_pixels(pixels):
    """Return the map `[N, 2 P, 2 P, K]` from the pixels `[N, P, 4 P, K]` that `DoublingConv2D` leaves side by side."""
    height, width, channels = pixels.shape[1], pixels.shape[2] // FACTOR**2, pixels.shape[3]
    blocks = ops.reshape(pixels, (-1, height, width, FACTOR, FACTOR, channels))
    return ops.reshape(ops.transpose(blocks, (0, 1, 3, 2, 4, 5)), (-1, height * FACTOR, width * FACTOR, channels))
