"""Sums of gradients that lose nothing, and come out the same each time."""

import secrets

import keras


def add_in_one_order():
    """Have TensorFlow add up gradients in one order, where it computes on processors alone.

    Otherwise the threads of its gradient of `crop_and_resize` add to one place at once. The sum then differs from call
    to call, and some of what is to be added gets lost.

    It holds for the process and is not taken back. TensorFlow then refuses random numbers without a seed, so this draws
    one where none was set. Nothing changes on other backends, or beside a GPU: its operations add without losses, and
    have no such order.
    """
    if keras.backend.backend() != "tensorflow":
        return
    import tensorflow as tf

    if tf.config.get_visible_devices("GPU"):
        return
    if tf.compat.v1.get_seed(None) == (None, None):
        tf.random.set_seed(secrets.randbits(31))
    tf.config.experimental.enable_op_determinism()
