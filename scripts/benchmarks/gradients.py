"""The loss of a training model and its gradients as functions of a batch, compiled where the backend compiles."""

from collections.abc import Callable

import keras


def loss_and_gradients(model) -> tuple[Callable, Callable]:
    """Return two functions of a batch: one computes the loss, the other the gradients of all trainable weights.

    What they return stays on the device; no weight changes.

    Args:
        model: compiled `cyclic.mrcnn.layers.network.TrainingModel`.
    """

    def loss(batch):
        return model.compute_loss(y_pred=model(batch, training=True))

    return {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}[keras.backend.backend()](model, loss)


def _tensorflow(model, loss):
    import tensorflow as tf

    def gradients(batch):
        with tf.GradientTape() as tape:
            value = loss(batch)
        return tape.gradient(value, model.trainable_variables)

    return tuple(tf.function(function, autograph=False) for function in (loss, gradients))


def _jax(model, loss):
    import jax

    def loss_of(trainable, others, batch):
        pairs = [*zip(model.trainable_variables, trainable, strict=True)]
        pairs += zip(model.non_trainable_variables, others, strict=True)
        with keras.StatelessScope(state_mapping=pairs):
            return loss(batch)

    def with_weights(function):
        kinds = model.trainable_variables, model.non_trainable_variables
        return lambda batch: function(*([variable.value for variable in kind] for kind in kinds), batch)

    return tuple(with_weights(jax.jit(function)) for function in (loss_of, jax.grad(loss_of)))


def _torch(model, loss):
    def gradients(batch):
        model.zero_grad()
        loss(batch).backward()

    return loss, gradients
