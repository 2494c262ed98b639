"""A convolution whose kernel covers its whole input, computed as the matrix product that it is."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="cyclic")
class FullConv2D(keras.layers.Conv2D):
    """`Conv2D` for inputs of the kernel's own size: `[N, k, k, C]` -> `[N, 1, 1, filters]`.

    The weights are those of `Conv2D`, so Matterport's files load. A convolution routine slides its window even where
    only one position is left: TensorFlow on a CPU then needs a hundred times as long for the gradient of the box head's
    7 x 7 layer as for this product.

    Args:
        filters: number of output channels.
        kernel_size: k, the height and width of the input.

    Example:
        >>> tuple(FullConv2D(8, 7)(keras.random.normal((3, 7, 7, 4))).shape)
        (3, 1, 1, 8)

    Raises:
        ValueError: the input is not `kernel_size` high and wide.
    """

    def __init__(self, filters, kernel_size, **kwargs):
        super().__init__(filters, kernel_size, **{**kwargs, "padding": "valid"})

    def build(self, input_shape):
        if tuple(input_shape[1:3]) != self.kernel_size:
            raise ValueError(f"input {input_shape}, kernel of size {self.kernel_size}: their sides have to agree")
        super().build(input_shape)

    def call(self, inputs):
        length = self.kernel.shape[0] * self.kernel.shape[1] * self.kernel.shape[2]
        product = ops.matmul(ops.reshape(inputs, (-1, length)), ops.reshape(self.kernel, (length, self.filters)))
        if self.use_bias:
            product = product + self.bias
        return ops.reshape(self.activation(product), (-1, 1, 1, self.filters))
