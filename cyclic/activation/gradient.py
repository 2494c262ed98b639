"""Gradients on any Keras backend: the one thing `keras.ops` has no function for."""

from collections.abc import Callable, Sequence

import keras


def value_and_gradients(function: Callable, inputs: Sequence) -> tuple:
    """Return (value, gradients): `function(*inputs)` and the gradient of its sum with respect to each input.

    Args:
        function: differentiable, made of `keras.ops` and Keras layers; returns one tensor of any shape.
        inputs: arrays or tensors; gradients come in their order and shapes.
    """
    backend = keras.backend.backend()
    inputs = [keras.ops.convert_to_tensor(x) for x in inputs]
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(inputs)
            value = function(*inputs)
        return value, tape.gradient(value, inputs)
    if backend == "jax":
        import jax

        value, pull_back = jax.vjp(function, *inputs)
        return value, list(pull_back(jax.numpy.ones_like(value)))
    import torch

    inputs = [x.detach().requires_grad_(True) for x in inputs]
    with torch.enable_grad():
        value = function(*inputs)
        gradients = torch.autograd.grad(value.sum(), inputs)
    return value.detach(), list(gradients)
