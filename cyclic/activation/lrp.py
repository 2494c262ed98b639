"""Layer-wise relevance propagation from a level's head down to the image (Bach et al., PLoS ONE 2015).

The backbone's layers are walked from the level back to the input. ReLU passes relevance on unchanged, max pooling gives
it to the winner, a residual sum splits it by absolute value; convolutions, dense layers and average pooling follow the
chosen rule, of which "composite" is one for dense layers and another for the rest. Batch and group normalisation are
folded into the convolution before them (for a group norm with the statistics of the image at hand, taken as constants).
"""

import functools
from collections.abc import Callable

import keras
import numpy as np

from cyclic.activation.gradient import value_and_gradients
from cyclic.activation.head import LevelHead
from cyclic.activation.lrp_rules import (
    absolute_shares,
    alphabeta_rule,
    average_layer,
    conv_layer,
    dense_layer,
    epsilon_rule,
)
from cyclic.activation.networks import level_network, trace_network
from cyclic.backbones import LEVELS
from cyclic.classifier.model import head_layers
from cyclic.errors import InputError

# The rule of dense layers, and that of convolutions and average pooling. The composite is the paper's: its stabiliser
# only keeps the division finite, and convolutions hand on what speaks for the score alone.
RULES: dict[str, tuple[Callable, Callable]] = {
    "epsilon": (epsilon_rule, epsilon_rule),
    "alphabeta": (alphabeta_rule, alphabeta_rule),
    "composite": (functools.partial(epsilon_rule, epsilon=1e-6), alphabeta_rule),
}


def lrp(
    classifier: keras.Model,
    images: np.ndarray,
    level: str,
    target_class: int | None = 1,
    rule: str = "epsilon",
    to: str = "image",
    **options,
) -> np.ndarray:
    """Return the relevance `[B, h, w]` float32 of each position for the score of `level`'s head; its sum is the score.

    Args:
        classifier: what `cyclic.classifier.build_classifier` returned.
        images: `[B, H, W, 3]` float32 after `preprocess`, H and W divisible by 32.
        level: pyramid level whose head is explained.
        target_class: class whose score (see `LevelHead`) is explained; None explains the logit of the class that the
            head predicts for each image, as the paper does. Where that is negative, it explains the score.
        rule: "epsilon", "alphabeta", or "composite" (epsilon for dense layers, alpha-beta for convolutions).
        to: where relevance is read: "image" (h, w = H, W) or a pyramid level not above `level`.
        **options: passed to both parts of the rule: `epsilon`, or `alpha` and `beta`; none for the composite.

    Raises:
        InputError: unknown rule, a level without head, a target above the level, or a layer without a rule.
    """
    if rule not in RULES:
        raise InputError(f"unknown LRP rule {rule!r}: use one of {', '.join(RULES)}")
    if to != "image" and (to not in LEVELS or LEVELS[to] > LEVELS.get(level, LEVELS["C2"])):
        raise InputError(f"LRP from {level!r} cannot reach {to!r}: use image or a pyramid level not above the head's")
    dense, convolution = (functools.partial(part, **options) for part in RULES[rule])
    if target_class is not None:
        head = LevelHead(classifier, level, target_class)
        return _relevance(classifier, images, level, head, dense, convolution, to)
    heads = _predicted_heads(classifier, images, level)
    each = [
        _relevance(classifier, image[None], level, head, dense, convolution, to)
        for image, head in zip(images, heads, strict=True)
    ]
    return np.concatenate(each)


def _predicted_heads(classifier, images, level):
    """Return the head of the class that `level` predicts, for each image.

    It gives the logit of that class. Both logits may be negative, since a softmax knows their difference alone. Then
    all of its relevance would be negative as well, and it gives the difference.
    """
    pooled = level_network(classifier, level).predict_on_batch(images).astype(np.float32).mean((1, 2))
    classes = range(head_layers(classifier, level)[1].units)
    logits = np.array([LevelHead(classifier, level, each, contrast=False).score(pooled) for each in classes])
    return [
        LevelHead(classifier, level, predicted, contrast=bool(logit <= 0))
        for predicted, logit in zip(logits.argmax(axis=0), logits.max(axis=0), strict=True)
    ]


def _relevance(classifier, images, level, head, dense, convolution, to):
    """Return the relevance for the score of one head, see `lrp`."""
    network, backbone = level_network(classifier, level), classifier.get_layer("backbone")
    target = backbone.input if to == "image" else backbone.outputs[LEVELS[to][0]]
    outputs = trace_network(classifier, level).predict_on_batch(images)
    values = {
        id(layer.output): keras.ops.convert_to_tensor(np.asarray(value, np.float32))
        for layer, value in zip(network.layers, outputs, strict=True)
    }
    makers = {id(layer.output): layer for layer in network.layers}
    relevance = {id(network.output): _propagate_through_head(head, values[id(network.output)], dense, convolution)}
    for layer in reversed(network.layers):
        if layer.output is target:
            break
        # A convolution folded into its normalisation layer has handed on its relevance already.
        if id(layer.output) in relevance:
            received = relevance.pop(id(layer.output))
            for tensor, share in _propagate_through_layer(layer, values, makers, received, convolution):
                relevance[id(tensor)] = relevance.get(id(tensor), 0.0) + share
    return keras.ops.convert_to_numpy(keras.ops.sum(relevance[id(target)], -1))


def _propagate_through_head(head, features, dense, average):
    """Return the relevance `[B, h, w, C]` of the level's features; it starts as the head's score."""
    pooling = average_layer(features, lambda x: keras.ops.mean(x, (1, 2)))
    kernel = head.kernel[:, None]
    if head.hidden is None:
        score = dense_layer(pooling.output, kernel, head.bias)
        pooled = dense(score, score.output)
    else:
        hidden = dense_layer(pooling.output, *head.hidden)
        score = dense_layer(keras.ops.relu(hidden.output), kernel, head.bias)
        pooled = dense(hidden, dense(score, score.output))
    return average(pooling, pooled)


def _propagate_through_layer(layer, values, makers, relevance, propagate):
    """Return [(input tensor, its relevance), ...] of one layer of the backbone."""
    if isinstance(layer, keras.layers.Add):
        shares = absolute_shares([values[id(tensor)] for tensor in layer.input], relevance)
        return list(zip(layer.input, shares, strict=True))
    source = layer.input
    if isinstance(layer, keras.layers.Activation):
        return [(source, relevance)]

    def exact(x):
        # In half precision a layer gives half precision, and relevance is float32.
        return keras.ops.cast(layer(x), "float32")

    if isinstance(layer, keras.layers.MaxPooling2D | keras.layers.ZeroPadding2D):
        return [(source, value_and_gradients(lambda x: exact(x) * relevance, [values[id(source)]])[1][0])]
    if isinstance(layer, keras.layers.AveragePooling2D):
        return [(source, propagate(average_layer(values[id(source)], exact), relevance))]
    if isinstance(layer, keras.layers.Conv2D):
        return [(source, propagate(conv_layer(layer, values[id(source)]), relevance))]
    conv = makers[id(source)]
    if not isinstance(layer, keras.layers.BatchNormalization | keras.layers.GroupNormalization) or not isinstance(
        conv, keras.layers.Conv2D
    ):
        raise InputError(
            f"layer {layer.name} ({type(layer).__name__}): LRP has no rule for it; use gradcam or layercam"
        )
    factor = _inverse_deviation(layer, values[id(source)])
    folded = conv_layer(conv, values[id(conv.input)], layer.gamma, factor, values[id(layer.output)])
    return [(conv.input, propagate(folded, relevance))]


def _inverse_deviation(norm, inputs):
    """Return 1 / standard deviation that `norm` divides its inputs by: `[C]`, or `[B, 1, 1, C]` for a group norm."""
    ops = keras.ops
    if isinstance(norm, keras.layers.BatchNormalization):
        return ops.rsqrt(ops.convert_to_tensor(norm.moving_variance) + norm.epsilon)
    batch, height, width, channels = inputs.shape
    members = channels // norm.groups
    grouped = ops.reshape(inputs, (batch, height * width, norm.groups, members))
    deviation = ops.rsqrt(ops.var(grouped, (1, 3)) + norm.epsilon)
    return ops.reshape(ops.repeat(deviation, members, axis=-1), (batch, 1, 1, channels))
