"""Moments of each channel of each image, and a scale and shift for each: each takes one pass over the map.

Written with Keras' operations, these cost more than the convolutions between them on a CPU: squares, means, products
and sums are passes of their own, and bfloat16 is turned into float32 first. TensorFlow has both in one operation, as
the two halves of batch normalisation. It does not tell images apart, so they stand side by side there, as further
channels.
"""

import keras
from keras import ops

from cyclic.backbones.conv import tensorflow_on_a_cpu

# What TensorFlow's batch normalisation takes.
DTYPES = ("float32", "bfloat16", "float16")


def normalise(x, weigh):
    """Return `x * scale + shift` in the dtype of x, of which each channel of each image has its own.

    Args:
        x: `[B, H, W, C]`, float of any width.
        weigh: mean and variance of the channels -> scale and shift, each `[B, C]` float32.
    """
    if tensorflow_on_a_cpu() and keras.backend.standardize_dtype(x.dtype) in DTYPES:
        return _tensorflow_normalise(x, weigh)
    wide = ops.cast(x, "float32")
    mean, square = (ops.mean(each, axis=(1, 2)) for each in (wide, ops.square(wide)))
    scale, shift = weigh(mean, ops.maximum(square - mean * mean, 0.0))
    return x * ops.cast(scale[:, None, None], x.dtype) + ops.cast(shift[:, None, None], x.dtype)


def _tensorflow_normalise(x, weigh):
    """Do what `normalise` says. Images stand side by side as one, `[1, H W, 1, B C]`; of one image no pixel is copied.

    Functions of TensorFlow, and few of them: a network is traced each time that a program starts.
    """
    import tensorflow as tf

    channels = x.shape[-1]
    turned = tf.transpose(x, (1, 2, 0, 3))
    together = tf.reshape(turned, (1, -1, 1, tf.shape(x)[0] * channels))
    scale, shift = weigh(*(tf.reshape(each, (-1, channels)) for each in _tensorflow_moments(together)))
    moved = _tensorflow_scale_and_shift(together, tf.reshape(scale, (-1,)), tf.reshape(shift, (-1,)))
    return tf.transpose(tf.reshape(moved, tf.shape(turned)), (2, 0, 1, 3))


def _tensorflow_moments(image):
    """Return mean and variance of each channel of `[1, P, 1, N]`, `[N]` float32."""
    import tensorflow as tf

    @tf.custom_gradient
    def both(image):
        shape = tf.shape(image)
        ones, count = tf.ones(shape[3:]), tf.cast(shape[1], "float32")
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
    """Return `[1, P, 1, N]` times a scale plus a shift, `[N]` float32 each."""
    import tensorflow as tf

    ones = tf.ones_like(scale)
    of_batch = {"scale": scale, "offset": shift, "mean": tf.zeros_like(scale), "variance": ones, "epsilon": 0.0}
    return tf.raw_ops.FusedBatchNormV3(x=image, **of_batch, is_training=False).y
