"""Convolutions that are faster than Keras' own on some backends, with the same weights and results.

Only this module, `norm.py`, `per_channel.py`, `mrcnn/kernels` and `activation/gradient.py` call a backend directly.
"""

import itertools

import keras

# With fewer channels the matrix products are too thin to be worth the copies they need.
MIN_CHANNELS = 128


def tensorflow_on_a_cpu() -> bool:
    """Return whether TensorFlow computes, and has no GPU."""
    return keras.backend.backend() == "tensorflow" and not keras.distribution.list_devices("gpu")


@keras.saving.register_keras_serializable(package="cyclic")
class Conv2D(keras.layers.Conv2D):
    """`keras.layers.Conv2D`, on PyTorch without Keras' copies of the map.

    On PyTorch, Keras copies the input to channels first before it convolves, and copies the result back. The backward
    pass keeps one of the copies. Here only the order of the axes changes, and no pixel is copied.

    Example:
        >>> tuple(Conv2D(8, 3, padding="same")(keras.random.normal((2, 16, 16, 4))).shape)
        (2, 16, 16, 8)
    """

    def call(self, inputs):
        padding = self._padding()
        if keras.backend.backend() != "torch" or padding is None or self.groups > 1:
            return super().call(inputs)
        from torch.nn.functional import conv2d

        kernel = keras.ops.convert_to_tensor(self.kernel).permute(3, 2, 0, 1)
        bias = keras.ops.convert_to_tensor(self.bias) if self.use_bias else None
        output = conv2d(inputs.permute(0, 3, 1, 2), kernel, bias, self.strides, padding, self.dilation_rate)
        return self.activation(output.permute(0, 2, 3, 1))

    def _padding(self):
        """Return the pixels added to each side of height and width, or None where the sides differ."""
        if self.padding == "valid" or set(self.kernel_size) == {1}:
            return (0, 0)
        if set(self.strides) == {1} and all(size % 2 for size in self.kernel_size):
            return tuple(size // 2 * rate for size, rate in zip(self.kernel_size, self.dilation_rate, strict=True))
        return None


@keras.saving.register_keras_serializable(package="cyclic")
class Conv2DSame(Conv2D):
    """`Conv2D` of stride 1 and padding "same".

    With TensorFlow on a CPU, in float32, the two gradients of Keras' layer are slow: half the speed of the forward pass
    for large maps, a tenth of it for a batch of small maps. There this layer computes the input's gradient as a forward
    convolution with the turned kernel, and the kernel's gradient as one matrix product for each of its positions.
    Elsewhere it is `Conv2D`.

    Args:
        filters, kernel_size: see `keras.layers.Conv2D`.

    Example:
        >>> tuple(Conv2DSame(8, 3)(keras.random.normal((2, 16, 16, 4))).shape)
        (2, 16, 16, 8)
    """

    def __init__(self, filters, kernel_size, **kwargs):
        super().__init__(filters, kernel_size, **{**kwargs, "strides": 1, "padding": "same"})

    def convolution_op(self, inputs, kernel):
        # Processors that compute in bfloat16 have fast gradients.
        slow = min(kernel.shape[2:]) >= MIN_CHANNELS and keras.backend.standardize_dtype(inputs.dtype) == "float32"
        if slow and tensorflow_on_a_cpu():
            return _tensorflow_convolution(inputs, kernel)
        return super().convolution_op(inputs, kernel)


def _tensorflow_convolution(inputs, kernel):
    import tensorflow as tf

    @tf.custom_gradient
    def convolve(inputs, kernel):
        def gradients(upstream):
            rows, columns, channels, filters = kernel.shape
            top, left = rows // 2, columns // 2
            # Neither copy depends on the gradient, so TensorFlow would make both in the forward pass and keep them.
            with tf.control_dependencies([upstream]):
                turned = tf.transpose(tf.reverse(kernel, [0, 1]), (0, 1, 3, 2))
                padded = tf.pad(inputs, [[0, 0], [top, rows - 1 - top], [left, columns - 1 - left], [0, 0]])
            flat = tf.reshape(upstream, (-1, filters))
            height, width = tf.shape(inputs)[1], tf.shape(inputs)[2]
            products: list[tf.Tensor] = []
            for y, x in itertools.product(range(rows), range(columns)):
                # One after the other: nine copies of the map at once would need the most memory of the whole step.
                with tf.control_dependencies(products[-1:]):
                    part = tf.reshape(padded[:, y : y + height, x : x + width], (-1, channels))
                products.append(tf.matmul(part, flat, transpose_a=True))
            return tf.nn.conv2d(upstream, turned, 1, "SAME"), tf.reshape(tf.stack(products), kernel.shape)

        return tf.nn.conv2d(inputs, kernel, 1, "SAME"), gradients

    return convolve(inputs, tf.convert_to_tensor(kernel))
