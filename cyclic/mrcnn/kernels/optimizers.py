"""Optimizers that begin when the gradients are there."""

import keras


def after_gradients(optimizer_class):
    """Return `optimizer_class`, on TensorFlow as a class whose `apply` runs nothing before all gradients are known.

    Keras' weight decay needs no gradient, so TensorFlow computes it while the forward pass still holds the old weights:
    through most of the step every weight is in memory twice, and its decay beside it. Results are the same.

    Args:
        optimizer_class: a class of `keras.optimizers`.
    """
    if keras.backend.backend() != "tensorflow":
        return optimizer_class
    import tensorflow as tf

    class AfterGradients(optimizer_class):
        def apply(self, grads, trainable_variables=None):
            grads = list(grads)
            with tf.control_dependencies([grad for grad in grads if grad is not None]):
                super().apply(grads, trainable_variables)

    return AfterGradients
