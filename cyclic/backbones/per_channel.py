"""Moments of each channel of each image, and a scale and shift for each: each takes one pass over the map.

Written with Keras' operations, these cost more than the convolutions between them on a CPU: squares, means, products
and sums are passes of their own, and bfloat16 is turned into float32 first. TensorFlow has both in one operation, as
the two halves of batch normalisation. It does not tell images apart, so they stand side by side there, as further
channels.
"""

import keras
from keras import ops

# What TensorFlow's batch normalisation takes.
DTYPES = ("float32", "bfloat16", "float16")


def moments(x):
    """Return mean and variance of each channel of each image, `[B, C]` float32.

    Args:
        x: `[B, H, W, C]`, float of any width.
    """
    if _has_one_pass(x):
        return tuple(ops.reshape(each, (-1, x.shape[-1])) for each in _tensorflow_moments(_side_by_side(x)))
    x = ops.cast(x, "float32")
    mean, square = (ops.mean(each, axis=(1, 2)) for each in (x, ops.square(x)))
    return mean, ops.maximum(square - mean * mean, 0.0)


def scale_and_shift(x, scale, shift):
    """Return `x * scale + shift` in the dtype of x.

    Args:
        x: `[B, H, W, C]`, float of any width.
        scale, shift: `[B, C]` float32.
    """
    if not _has_one_pass(x):
        scale, shift = (ops.cast(each[:, None, None], x.dtype) for each in (scale, shift))
        return x * scale + shift
    height, width, channels = ops.shape(x)[1], ops.shape(x)[2], x.shape[-1]
    moved = _tensorflow_scale_and_shift(_side_by_side(x), ops.ravel(scale), ops.ravel(shift))
    return ops.transpose(ops.reshape(moved, (height, width, -1, channels)), (2, 0, 1, 3))


def _has_one_pass(x) -> bool:
    """Return whether TensorFlow runs on a CPU, and takes x."""
    if keras.backend.backend() != "tensorflow" or keras.backend.standardize_dtype(x.dtype) not in DTYPES:
        return False
    return not keras.distribution.list_devices("gpu")


def _side_by_side(x):
    """Return `[B, H, W, C]` as one image of B * C channels, `[1, H, W, B C]`. For one image no pixel is copied."""
    height, width = ops.shape(x)[1], ops.shape(x)[2]
    return ops.reshape(ops.transpose(x, (1, 2, 0, 3)), (1, height, width, -1))


def _tensorflow_moments(image):
    """Return mean and variance of each channel of `[1, H, W, N]`, `[N]` float32."""
    import tensorflow as tf

    @tf.custom_gradient
    def both(image):
        ones, count = tf.ones(tf.shape(image)[-1:]), tf.cast(tf.shape(image)[1] * tf.shape(image)[2], "float32")
        of_batch = {"scale": ones, "offset": ones, "mean": ones, "variance": ones, "epsilon": 1e-3}
        _, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(x=image, **of_batch, is_training=True)
        # TensorFlow's own variance is that of a sample.
        variance = variance * (tf.maximum(count - 1.0, 1.0) / count)

        def gradient(of_mean, of_variance):
            scale = 2.0 * of_variance / count
            return _tensorflow_scale_and_shift(image, scale, of_mean / count - scale * mean)

        return (mean, variance), gradient

    return both(image)


def _tensorflow_scale_and_shift(image, scale, shift):
    """Return `[1, H, W, N]` times a scale plus a shift, `[N]` float32 each."""
    import tensorflow as tf

    ones = tf.ones_like(scale)
    of_batch = {"scale": scale, "offset": shift, "mean": tf.zeros_like(scale), "variance": ones, "epsilon": 0.0}
    return tf.raw_ops.FusedBatchNormV3(x=image, **of_batch, is_training=False).y
