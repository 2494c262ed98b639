"""Layer-wise relevance propagation through one linear layer: the epsilon and the alpha-beta rule (Bach et al. 2015).

Both rules conserve relevance exactly. What a layer cannot attribute to its inputs (the share of biases, normalisation
shifts and the stabiliser, and outputs no input contributes to) is spread evenly over the output's field of view.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras

from cyclic.activation.gradient import value_and_gradients

TINY = 1e-12
Tensor = Any  # of the Keras backend


@dataclasses.dataclass(frozen=True)
class LinearLayer:
    """One linear layer at one input.

    Attributes:
        apply: function (input, kernel) -> output without bias, linear in both.
        kernel: weights, any shape `apply` takes.
        inputs: the layer's input.
        output: the layer's output with bias and shift, before any activation.
        spread: function (relevance of the output) -> relevance of the input, evenly over each output's field of view.
    """

    apply: Callable
    kernel: Tensor
    inputs: Tensor
    output: Tensor
    spread: Callable


def epsilon_rule(layer: LinearLayer, relevance, epsilon: float = 0.1):
    """Return the relevance of the layer's input under the epsilon rule (Bach et al. 2015, equation 58).

    Args:
        layer: the layer, at its input.
        relevance: relevance of the layer's output, in its shape.
        epsilon: stabiliser in units of the output's root mean square.
    """
    ops = keras.ops
    stabiliser = epsilon * ops.sqrt(ops.mean(ops.square(layer.output))) + TINY
    ratio = relevance / (layer.output + ops.where(layer.output >= 0, stabiliser, -stabiliser))
    handed, (gradient,) = value_and_gradients(lambda x: layer.apply(x, layer.kernel) * ratio, [layer.inputs])
    return layer.inputs * gradient + layer.spread(relevance - handed)


def alphabeta_rule(layer: LinearLayer, relevance, alpha: float = 1.0, beta: float = 0.0):
    """Return the relevance of the layer's input under the alpha-beta rule (Bach et al. 2015, equation 60).

    Args:
        layer: the layer, at its input; its bias takes no part.
        relevance: relevance of the layer's output, in its shape.
        alpha: weight of the positive contributions.
        beta: weight of the negative contributions, alpha - 1; above 0 the relevance gets noisier with every layer.
    """
    ops = keras.ops
    kernels = [ops.relu(layer.kernel), -ops.relu(-layer.kernel)]
    parts = [ops.relu(layer.inputs)]
    if ops.any(layer.inputs < 0):  # as the image has; what comes out of a ReLU has none, and costs half
        parts.append(-ops.relu(-layer.inputs))

    def contributed(parts, kernels):
        return sum(layer.apply(part, kernel) for part, kernel in zip(parts, kernels, strict=False))

    alpha_ratio = alpha * _divide(relevance, contributed(parts, kernels))
    beta_ratio = beta * _divide(relevance, contributed(parts, kernels[::-1])) if beta else None

    def attributed(*parts):
        positive = contributed(parts, kernels) * alpha_ratio
        return positive if beta_ratio is None else positive - contributed(parts, kernels[::-1]) * beta_ratio

    handed, gradients = value_and_gradients(attributed, parts)
    shares = [part * gradient for part, gradient in zip(parts, gradients, strict=True)]
    return sum(shares) + layer.spread(relevance - handed)


def absolute_shares(inputs: list, relevance) -> list:
    """Split the relevance of a sum between its summands, at each position in proportion to their absolute values.

    The plain rule divides by the sum, which explodes where two branches of a residual block cancel.
    """
    sizes = [keras.ops.abs(x) + TINY for x in inputs]
    total = sum(sizes)
    return [relevance * (size / total) for size in sizes]


def dense_layer(inputs, kernel, bias) -> LinearLayer:
    """Return a dense layer as a `LinearLayer`: inputs `[B, N]`, kernel `[N, K]`, bias `[K]` or a number."""
    count = kernel.shape[0]

    def spread(rest):
        return keras.ops.broadcast_to(keras.ops.sum(rest, -1, keepdims=True) / count, inputs.shape)

    return LinearLayer(keras.ops.matmul, kernel, inputs, keras.ops.matmul(inputs, kernel) + bias, spread)


def average_layer(inputs, pool: Callable) -> LinearLayer:
    """Return an average pooling `pool` (a function or layer) of inputs `[B, H, W, C]` as a `LinearLayer`."""
    kernel = keras.ops.ones((1, 1, 1, inputs.shape[-1]))

    def spread(rest):
        return value_and_gradients(lambda x: pool(x) * rest, [keras.ops.zeros_like(inputs)])[1][0]

    return LinearLayer(lambda x, weight: pool(x * weight), kernel, inputs, pool(inputs), spread)


def conv_layer(conv: keras.layers.Conv2D, inputs, gain=None, factor=1.0, output=None) -> LinearLayer:
    """Return a convolution, with the normalisation behind it folded in, as a `LinearLayer`.

    Args:
        conv: the convolution.
        inputs: `[B, H, W, C]` its input.
        gain: `[K]` gamma of the normalisation layer; None without one.
        factor: `[K]` or `[B, 1, 1, K]` 1 / standard deviation of the normalisation layer.
        output: `[B, h, w, K]` what the normalisation layer returned; None without one.
    """
    kernel = keras.ops.convert_to_tensor(conv.kernel) * (1.0 if gain is None else gain)

    def apply(x, weights):
        y = keras.ops.conv(x, weights, conv.strides, conv.padding, dilation_rate=conv.dilation_rate)
        return y * factor

    def mean_over_kernel(x):
        return keras.ops.average_pool(_pad_as(conv, x), conv.kernel_size, conv.strides)

    def spread(rest):
        nothing = keras.ops.zeros_like(inputs[..., :1])
        # The share of the kernel that lies within the image: zeros beyond it take no part.
        in_view = mean_over_kernel(nothing + 1.0)
        rest = keras.ops.sum(rest, -1, keepdims=True) / in_view
        even = value_and_gradients(lambda x: mean_over_kernel(x) * rest, [nothing])[1][0]
        return keras.ops.broadcast_to(even / inputs.shape[-1], inputs.shape)

    if output is None:
        output = apply(inputs, kernel) + (conv.bias if conv.use_bias else 0.0)
    return LinearLayer(apply, kernel, inputs, output, spread)


def _pad_as(conv, x):
    """Return `x` (`[B, H, W, C]`) with the zeros around it that the convolution's padding stands for.

    Keras' average pooling pads by itself, but on PyTorch with copies of the edge.
    """
    if conv.padding == "valid":
        return x
    margins = [(0, 0)]
    for side, kernel, stride in zip(x.shape[1:3], conv.kernel_size, conv.strides, strict=True):
        missing = max((-(-side // stride) - 1) * stride + kernel - side, 0)
        margins.append((missing // 2, missing - missing // 2))
    return keras.ops.pad(x, [*margins, (0, 0)])


def _divide(numerator, denominator):
    """Return numerator / denominator, 0 where the denominator vanishes."""
    safe = keras.ops.abs(denominator) > TINY
    return keras.ops.where(safe, numerator / keras.ops.where(safe, denominator, 1.0), 0.0)
