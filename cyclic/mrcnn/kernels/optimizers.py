"""Optimizers of Keras that cost less on TensorFlow, with the same results."""

import keras
from keras import ops

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


def in_one_pass(optimizer):
    """Return `optimizer`, `keras.optimizers.AdamW`, whose step on TensorFlow is one operation for each weight.

    Keras writes a step as a dozen operations, each of which reads and writes every weight. On a CPU that
    is a large part of a small step. The method of this one object is replaced, see `after_gradients`.
    """
    if keras.backend.backend() != "tensorflow":
        return optimizer
    import tensorflow as tf

    step_of_keras = optimizer.update_step

    def handle(variable):
        return (variable.value if isinstance(variable, keras.Variable) else variable).handle

    def update_step(gradient, variable, learning_rate):
        if keras.backend.standardize_dtype(variable.dtype) != "float32" or tf.distribute.has_strategy():
            return step_of_keras(gradient, variable, learning_rate)
        index, step = optimizer._get_variable_index(variable), ops.cast(optimizer.iterations + 1, "float32")
        return tf.raw_ops.ResourceApplyAdam(
            var=handle(variable),
            m=handle(optimizer._momentums[index]),
            v=handle(optimizer._velocities[index]),
            beta1_power=ops.power(ops.cast(optimizer.beta_1, "float32"), step),
            beta2_power=ops.power(ops.cast(optimizer.beta_2, "float32"), step),
            lr=ops.cast(learning_rate, "float32"),
            beta1=optimizer.beta_1,
            beta2=optimizer.beta_2,
            epsilon=optimizer.epsilon,
            grad=ops.cast(gradient, "float32"),
        )

    optimizer.update_step = update_step
    return optimizer
