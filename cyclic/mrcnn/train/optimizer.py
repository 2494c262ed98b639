"""Optimizer and choice of layers of Mask R-CNN training."""

import re

import keras

from cyclic import fitting
from cyclic.errors import InputError
from cyclic.mrcnn.kernels.optimizers import after_gradients, in_one_pass

# Matterport's names for parts of the network: the heads with FPN and RPN, or all layers from a backbone stage up.
_HEADS = r"(mrcnn\_.*)|(rpn\_.*)|(fpn\_.*)"
LAYER_GROUPS = {
    "heads": _HEADS,
    "3+": r"(res3.*)|(bn3.*)|(res4.*)|(bn4.*)|(res5.*)|(bn5.*)|(block[345]_.*)|" + _HEADS,
    "4+": r"(res4.*)|(bn4.*)|(res5.*)|(bn5.*)|(block[45]_.*)|" + _HEADS,
    "5+": r"(res5.*)|(bn5.*)|(block5_.*)|" + _HEADS,
    "all": ".*",
}
# Share of the learning rate that is left at the end of the cosine.
FLOOR = 0.01


def compile_model(model, config, peak, momentum, total_steps=None):
    """Give a training model its optimizer in its first step. With settings as before, the compiled step is kept.

    Args:
        model: training model; the losses are part of it.
        config: `cyclic.mrcnn.config.Config`.
        peak: highest learning rate.
        momentum: momentum of SGD.
        total_steps: batches the cosine schedule spans.

    Raises:
        ValueError: OPTIMIZER or GRADIENT_ACCUMULATION_STEPS is none that can be used.
    """
    fitting.compile_once(
        model,
        (
            config.OPTIMIZER,
            config.WEIGHT_DECAY,
            momentum,
            config.GRADIENT_CLIP_NORM,
            config.GRADIENT_ACCUMULATION_STEPS,
        ),
        lambda rate: build_optimizer(config, rate, momentum),
        peak,
        config.WARMUP_STEPS,
        total_steps if config.LR_SCHEDULE == "cosine" else None,
        FLOOR,
        jit_compile=jit_compile(config.JIT_COMPILE),
    )


def check_rate_callbacks(config, callbacks):
    """Refuse callbacks that set the learning rate where the configuration's schedule does: Keras fails hours later.

    Raises:
        ValueError: names the callback.
    """
    if config.LR_SCHEDULE != "cosine" and not config.WARMUP_STEPS:
        return
    for callback in callbacks:
        if isinstance(callback, keras.callbacks.LearningRateScheduler | keras.callbacks.ReduceLROnPlateau):
            raise ValueError(
                f"{type(callback).__name__} and the schedule of the configuration both set the learning rate; "
                'leave out one of them (LR_SCHEDULE = "constant" and WARMUP_STEPS = 0 leave out the schedule)'
            )


def check_devices(model, config):
    """Refuse several devices of TensorFlow where gradients are accumulated: Keras can't.

    Raises:
        InputError: names the cure.
    """
    strategy = getattr(model, "distribute_strategy", None)
    if strategy is not None and strategy.num_replicas_in_sync > 1 and config.GRADIENT_ACCUMULATION_STEPS != 1:
        raise InputError(
            f"GRADIENT_ACCUMULATION_STEPS = {config.GRADIENT_ACCUMULATION_STEPS} on {strategy.num_replicas_in_sync} "
            "devices of TensorFlow: use 1 and larger batches, or KERAS_BACKEND=jax"
        )


def build_optimizer(config, rate, momentum):
    """Return the optimizer of `config.OPTIMIZER`; weight decay spares norm parameters and biases.

    With GRADIENT_ACCUMULATION_STEPS = k it steps at every k-th batch, by the mean of k gradients, which is clipped; the
    learning rate is the schedule's at that batch.

    Args:
        config: `cyclic.mrcnn.config.Config`.
        rate: learning rate, see `fitting.learning_rate`.
        momentum: momentum of SGD.

    Raises:
        ValueError: OPTIMIZER or GRADIENT_ACCUMULATION_STEPS is none that can be used.
    """
    accumulated = config.GRADIENT_ACCUMULATION_STEPS
    if not isinstance(accumulated, int) or accumulated < 1:
        raise ValueError(f"GRADIENT_ACCUMULATION_STEPS = {accumulated!r}: use a whole number, 1 or more")
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
    return after_gradients(in_one_pass(optimizer) if config.OPTIMIZER == "adamw" else optimizer)


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
    try:
        expression = re.compile(LAYER_GROUPS.get(pattern, pattern))
    except re.error as error:
        raise ValueError(f"layers = {pattern!r}: no regular expression ({error}); see `train` for names") from error
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
