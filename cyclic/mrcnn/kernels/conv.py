"""A convolution over a large map whose gradients are matrix products, where that is faster."""

import itertools

import keras


@keras.saving.register_keras_serializable(package="cyclic")
class LargeMapConv2D(keras.layers.Conv2D):
    """`Conv2D` of stride 1 and padding "same" for the pyramid's large maps.

    On TensorFlow and a CPU, both gradients of such a layer run at half the speed of its forward pass. There the input's
    gradient is computed as a forward convolution with the turned kernel, the kernel's as one matrix product for each of
    its places; elsewhere this is `Conv2D`.
    """

    def convolution_op(self, inputs, kernel):
        if keras.backend.backend() == "tensorflow":
            return _tensorflow_convolution(inputs, kernel)
        return super().convolution_op(inputs, kernel)


def _tensorflow_convolution(inputs, kernel):
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        return tf.nn.conv2d(inputs, kernel, 1, "SAME")

    @tf.custom_gradient
    def convolve(inputs, kernel):
        def gradients(upstream):
            turned = tf.transpose(tf.reverse(kernel, [0, 1]), (0, 1, 3, 2))
            rows, columns, channels, filters = kernel.shape
            flat = tf.reshape(upstream, (-1, filters))
            top, left = rows // 2, columns // 2
            padded = tf.pad(inputs, [[0, 0], [top, rows - 1 - top], [left, columns - 1 - left], [0, 0]])
            height, width = tf.shape(inputs)[1], tf.shape(inputs)[2]
            products = []
            for y, x in itertools.product(range(rows), range(columns)):
                # One after the other: nine copies of the map at once would be the peak of the whole step's memory.
                with tf.control_dependencies(products[-1:]):
                    part = tf.reshape(padded[:, y : y + height, x : x + width], (-1, channels))
                products.append(tf.matmul(part, flat, transpose_a=True))
            return tf.nn.conv2d(upstream, turned, 1, "SAME"), tf.reshape(tf.stack(products), kernel.shape)

        return tf.nn.conv2d(inputs, kernel, 1, "SAME"), gradients

    return convolve(inputs, tf.convert_to_tensor(kernel))
