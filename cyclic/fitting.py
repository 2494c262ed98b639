"""What the trainings of classifier and Mask R-CNN share: optimizers, rates, and a compiled step that is used again."""

import weakref
from collections.abc import Callable, Hashable

import keras
import numpy as np
from keras import ops

from cyclic.errors import InputError

OPTIMIZERS = ("adamw", "sgd")
# Weights that do not decay: biases, and scale and shift of normalisation layers.
SPARED = ("bias", "gamma", "beta")
# Variables of an optimizer that say how it is to train, and not how far it has come.
RATES = ("learning_rate", "peak", "warmup_steps", "total_steps")


@keras.saving.register_keras_serializable(package="cyclic")
class WarmupSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """Linear rise to `peak` over `warmup_steps`, then constant, or cosine fall to `floor` at `total_steps`.

    The numbers are variables: `set` changes them, and a training step that has been compiled follows.

    Args:
        peak: highest learning rate.
        warmup_steps: steps (batches) of the rise.
        total_steps: step at which the cosine ends; None keeps the rate constant.
        floor: last rate of the cosine, as a share of `peak`, 0 to 1.

    Example:
        >>> schedule = WarmupSchedule(0.4, warmup_steps=4, total_steps=104)
        >>> [round(float(schedule(step)), 3) for step in (0, 3, 54, 104)]
        [0.1, 0.4, 0.2, 0.0]
    """

    def __init__(self, peak, warmup_steps=0, total_steps=None, floor=0.0):
        self.cosine, self.floor = total_steps is not None, float(floor)
        self.peak, self.warmup_steps, self.total_steps = (
            keras.Variable(float(value or 0), trainable=False, dtype="float32", name=name)
            for value, name in ((peak, "peak"), (warmup_steps, "warmup_steps"), (total_steps, "total_steps"))
        )

    @property
    def variables(self):
        """The variables. An optimizer has to track them, or a step compiled by JAX takes them as constants."""
        return [self.peak, self.warmup_steps, self.total_steps]

    def set(self, peak, warmup_steps=0, total_steps=None):
        """Change the numbers; see the arguments of the class.

        Raises:
            ValueError: a cosine would become constant, or the other way round.
        """
        if (total_steps is not None) != self.cosine:
            raise ValueError("a schedule stays what it is, cosine or constant; build a new optimizer")
        for variable, value in zip(self.variables, (peak, warmup_steps, total_steps), strict=True):
            variable.assign(float(value or 0))

    def __call__(self, step):
        step, rate, warmup = ops.cast(step, "float32"), ops.convert_to_tensor(self.peak), self.warmup_steps
        if self.cosine:
            share = ops.clip((step - warmup) / ops.maximum(self.total_steps - warmup, 1.0), 0.0, 1.0)
            rate = rate * (self.floor + (1 - self.floor) * 0.5 * (1.0 + ops.cos(np.pi * share)))
        return rate * ops.minimum((step + 1.0) / ops.maximum(warmup, 1.0), 1.0)

    def get_config(self):
        peak, warmup, total = (float(ops.convert_to_numpy(variable)) for variable in self.variables)
        return {
            "peak": peak,
            "warmup_steps": int(warmup),
            "total_steps": int(total) if self.cosine else None,
            "floor": self.floor,
        }


def learning_rate(
    peak: float, warmup_steps: int = 0, total_steps: int | None = None, floor: float = 0.0
) -> float | WarmupSchedule:
    """Return the schedule of these arguments of `WarmupSchedule`; or the number where nothing changes it.

    A number is what callbacks such as ReduceLROnPlateau can set.
    """
    if total_steps is None and not warmup_steps:
        return float(peak)
    return WarmupSchedule(peak, warmup_steps, total_steps, floor)


def build_optimizer(
    name: str,
    rate: float | WarmupSchedule,
    weight_decay: float | None,
    momentum: float,
    nesterov: bool = False,
    **options,
) -> keras.optimizers.Optimizer:
    """Return an optimizer whose weight decay is decoupled and spares biases and normalisation weights.

    Args:
        name: one of `OPTIMIZERS`.
        rate: learning rate, constant or over the steps.
        weight_decay: share of a kernel, times the learning rate, that each step takes away; None for none, "sgd" only.
        momentum: of "sgd".
        nesterov: Nesterov momentum; "sgd" only.
        **options: passed to the optimizer of Keras, e.g. `global_clipnorm`.

    Raises:
        InputError: unknown optimizer.
    """
    if name == "adamw":
        optimizer = keras.optimizers.AdamW(rate, weight_decay=weight_decay, **options)
    elif name == "sgd":
        optimizer = keras.optimizers.SGD(
            rate, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay, **options
        )
    else:
        raise InputError(f"unknown optimizer {name!r}: use one of {', '.join(OPTIMIZERS)}")
    optimizer.exclude_from_weight_decay(var_names=list(SPARED))
    if isinstance(rate, WarmupSchedule):
        # Keras tracks the variables among an optimizer's attributes; those of a schedule it does not look for.
        optimizer.schedule_variables = rate.variables
    return optimizer


# For each model: the settings that it was compiled with, and its optimizer and schedule.
_COMPILED: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def compile_once(
    model: keras.Model,
    settings: Hashable,
    build: Callable[[float | WarmupSchedule], keras.optimizers.Optimizer],
    peak: float,
    warmup_steps: int = 0,
    total_steps: int | None = None,
    floor: float = 0.0,
    **options,
) -> None:
    """Compile `model`; or, where that was done with the same settings, put its optimizer back to its first step.

    So a run traces the training step of a network once, and not anew in each cycle, whose graphs add up in memory.

    Args:
        model: the model; which of its variables are trainable counts as a setting.
        settings: what the optimizer is built from, but for the rate.
        build: returns a new optimizer with the learning rate that it is given.
        peak, warmup_steps, total_steps, floor: see `learning_rate`.
        **options: passed to `model.compile`.
    """
    constant = total_steps is None and not warmup_steps
    trainable = tuple(id(variable) for variable in model.trainable_variables)
    settings = settings, trainable, constant, total_steps is None, floor, tuple(sorted(options.items()))
    known, optimizer, rate = _COMPILED.get(model, (None, None, None))
    if known == settings and model.optimizer is optimizer:
        restart(optimizer)
        if constant:
            optimizer.learning_rate = float(peak)
        else:
            rate.set(peak, warmup_steps, total_steps)
        return
    rate = learning_rate(peak, warmup_steps, total_steps, floor)
    model.compile(optimizer=build(rate), **options)
    # If the first step had to create the optimizer's variables, TensorFlow would trace the step twice.
    model.optimizer.build(model.trainable_variables)
    _COMPILED[model] = settings, model.optimizer, rate


def restart(optimizer: keras.optimizers.Optimizer) -> None:
    """Put a built optimizer back to before its first step; its learning rate stays."""
    for variable in optimizer.variables:
        if variable.name not in RATES:
            variable.assign(ops.zeros(variable.shape, variable.dtype))
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        optimizer.dynamic_scale.assign(optimizer.initial_scale)


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
