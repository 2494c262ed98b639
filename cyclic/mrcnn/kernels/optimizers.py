"""Optimizers that begin when the gradients are there."""

import keras

from cyclic.mrcnn.kernels.devices import sum_of_replicas


def after_gradients(optimizer):
    """Return `optimizer`, whose `apply` on TensorFlow now runs nothing before all gradients are known.

    Keras' weight decay needs no gradient, so TensorFlow computes it while the forward pass still holds the old weights:
    through most of the step every weight is in memory twice, and its decay beside it. Results are the same. The method
    of this one object is replaced, not its class: a saved model names an optimizer that Keras knows.

    Devices that share a batch add up their gradients here. Keras would do so after it has clipped those of each device.

    Args:
        optimizer: `keras.optimizers.Optimizer`.
    """
    if keras.backend.backend() != "tensorflow":
        return optimizer
    import tensorflow as tf

    apply_at_once = optimizer.apply

    def apply(grads, trainable_variables=None):
        grads = [grad if grad is None else sum_of_replicas(grad) for grad in grads]
        with tf.control_dependencies([grad for grad in grads if grad is not None]):
            apply_at_once(grads, trainable_variables)

    optimizer.apply = apply
    optimizer._all_reduce_sum_gradients = list
    return optimizer
