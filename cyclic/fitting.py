"""What the trainings of classifier and Mask R-CNN share: optimizers, and the guard against a loss that is no number."""

import keras
import numpy as np

from cyclic.errors import InputError

OPTIMIZERS = ("adamw", "sgd")
# Weights that do not decay: biases, and scale and shift of normalisation layers.
SPARED = ("bias", "gamma", "beta")


def build_optimizer(
    name: str,
    learning_rate: float | keras.optimizers.schedules.LearningRateSchedule,
    weight_decay: float | None,
    momentum: float,
    nesterov: bool = False,
    **options,
) -> keras.optimizers.Optimizer:
    """Return an optimizer whose weight decay is decoupled and spares biases and normalisation weights.

    Args:
        name: one of `OPTIMIZERS`.
        learning_rate: a number, or a schedule over the steps.
        weight_decay: share of a kernel, times the learning rate, that each step takes away; None for none, "sgd" only.
        momentum: of "sgd".
        nesterov: Nesterov momentum; "sgd" only.
        **options: passed to the optimizer of Keras, e.g. `global_clipnorm`.

    Raises:
        InputError: unknown optimizer.
    """
    if name == "adamw":
        optimizer = keras.optimizers.AdamW(learning_rate, weight_decay=weight_decay, **options)
    elif name == "sgd":
        optimizer = keras.optimizers.SGD(
            learning_rate, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay, **options
        )
    else:
        raise InputError(f"unknown optimizer {name!r}: use one of {', '.join(OPTIMIZERS)}")
    optimizer.exclude_from_weight_decay(var_names=list(SPARED))
    return optimizer


class LossGuard(keras.callbacks.Callback):
    """Stops the training with an error when the loss is no longer finite.

    A derived class writes the message (`describe`).

    Raises (in `fit`):
        FloatingPointError: the loss is NaN or infinite.
    """

    def on_train_batch_end(self, batch, logs=None):
        loss = float((logs or {}).get("loss", 0.0))
        if not np.isfinite(loss):
            raise FloatingPointError(self.describe(loss, batch))

    def describe(self, loss: float, batch: int) -> str:
        """Return the message of the error; `batch` is the step of the epoch, from 0."""
        return f"the loss is {loss} in step {batch + 1} of the epoch; lower the learning rate"
