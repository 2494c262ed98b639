"""TensorFlow's own functions on Keras' symbolic tensors."""

import functools

import keras


@functools.cache
def let_identity_pass():
    """Let `tf.identity` take a symbolic tensor of Keras and return it, as it did in Keras 2; elsewhere do nothing.

    Matterport's notebooks call it on the output of a layer. Keras 3 alone raises ValueError there.
    """
    if keras.backend.backend() != "tensorflow":
        return
    import tensorflow as tf

    class Identity(tf.__internal__.dispatch.OpDispatcher):
        def handle(self, args, kwargs):
            given = args[0] if args else kwargs.get("input")
            return given if isinstance(given, keras.KerasTensor) else self.NOT_SUPPORTED

    Identity().register(tf.identity)
