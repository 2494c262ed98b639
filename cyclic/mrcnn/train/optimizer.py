"""Optimizer, learning-rate schedule and the choice of layers of Mask R-CNN training."""

import re

import keras
import numpy as np
from keras import ops

from cyclic import fitting
from cyclic.mrcnn.kernels.optimizers import after_gradients

# Matterport's names for parts of the network: the heads with FPN and RPN, or all layers from a backbone stage up.
_HEADS = r"(mrcnn\_.*)|(rpn\_.*)|(fpn\_.*)"
LAYER_GROUPS = {
    "heads": _HEADS,
    "3+": r"(res3.*)|(bn3.*)|(res4.*)|(bn4.*)|(res5.*)|(bn5.*)|(block[345]_.*)|" + _HEADS,
    "4+": r"(res4.*)|(bn4.*)|(res5.*)|(bn5.*)|(block[45]_.*)|" + _HEADS,
    "5+": r"(res5.*)|(bn5.*)|(block5_.*)|" + _HEADS,
    "all": ".*",
}


@keras.saving.register_keras_serializable(package="cyclic")
class WarmupSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """Linear rise to `peak` over `warmup_steps`, then constant, or cosine fall to a hundredth at `total_steps`.

    Args:
        peak: highest learning rate.
        warmup_steps: steps (batches) of the rise.
        total_steps: step at which the cosine ends; None keeps the rate constant.
    """

    def __init__(self, peak, warmup_steps=0, total_steps=None):
        self.peak, self.warmup_steps, self.total_steps = float(peak), int(warmup_steps), total_steps

    def __call__(self, step):
        step = ops.cast(step, "float32")
        rate = ops.convert_to_tensor(self.peak, "float32")
        if self.total_steps is not None:
            span = max(self.total_steps - self.warmup_steps, 1)
            share = ops.clip((step - self.warmup_steps) / span, 0.0, 1.0)
            rate = rate * (0.01 + 0.99 * 0.5 * (1.0 + ops.cos(np.pi * share)))
        if self.warmup_steps:
            rate = rate * ops.minimum((step + 1.0) / self.warmup_steps, 1.0)
        return rate

    def get_config(self):
        return {"peak": self.peak, "warmup_steps": self.warmup_steps, "total_steps": self.total_steps}


def build_optimizer(config, learning_rate, momentum, total_steps):
    """Return the optimizer of `config.OPTIMIZER`; weight decay spares norm parameters and biases.

    With GRADIENT_ACCUMULATION_STEPS = k it steps at every k-th batch, by the mean of k gradients, which is clipped; the
    learning rate is the schedule's at that batch.

    Args:
        config: `cyclic.mrcnn.config.Config`.
        learning_rate: peak learning rate.
        momentum: momentum of SGD.
        total_steps: batches the cosine schedule spans.

    Raises:
        ValueError: OPTIMIZER or GRADIENT_ACCUMULATION_STEPS is none that can be used.
    """
    accumulated = config.GRADIENT_ACCUMULATION_STEPS
    if not isinstance(accumulated, int) or accumulated < 1:
        raise ValueError(f"GRADIENT_ACCUMULATION_STEPS = {accumulated!r}: use a whole number, 1 or more")
    cosine = total_steps if config.LR_SCHEDULE == "cosine" else None
    # A rate that nothing changes stays a number, which callbacks such as ReduceLROnPlateau can set.
    changing = cosine is not None or config.WARMUP_STEPS > 0
    rate = WarmupSchedule(learning_rate, config.WARMUP_STEPS, cosine) if changing else float(learning_rate)
    if config.OPTIMIZER not in fitting.OPTIMIZERS:
        raise ValueError(f"OPTIMIZER = {config.OPTIMIZER!r}: use sgd or adamw")
    optimizer = fitting.build_optimizer(
        config.OPTIMIZER,
        rate,
        config.WEIGHT_DECAY,
        momentum,
        global_clipnorm=config.GRADIENT_CLIP_NORM,
        gradient_accumulation_steps=accumulated if accumulated > 1 else None,
    )
    return after_gradients(optimizer)


def jit_compile(setting):
    """Return whether to compile the training step, from `Config.JIT_COMPILE`.

    Raises:
        ValueError: the setting is neither a bool nor "auto".
    """
    if setting == "auto":
        return keras.backend.backend() == "jax"
    if not isinstance(setting, bool):
        raise ValueError(f'JIT_COMPILE = {setting!r}: use True, False or "auto"')
    return setting


def set_trainable(model, pattern):
    """Train the leaf layers whose name matches the regular expression `pattern`, freeze the others.

    `pattern` may also be a key of `LAYER_GROUPS`. Layers frozen by design, such as frozen batch norm, stay frozen.

    Raises:
        ValueError: no layer with weights matches.
    """
    expression = re.compile(LAYER_GROUPS.get(pattern, pattern))
    matched = 0

    def visit(layer):
        nonlocal matched
        children = getattr(layer, "layers", None)
        if children is not None:
            for child in children:
                visit(child)
        elif layer.weights:
            layer.trainable = bool(expression.fullmatch(layer.name))
            matched += layer.trainable

    visit(model)
    if not matched:
        raise ValueError(
            f"layers = {pattern!r} matches no layer; use {', '.join(LAYER_GROUPS)} or a regular expression"
        )
