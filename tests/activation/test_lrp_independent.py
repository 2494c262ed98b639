"""Each rule beside a plain NumPy program that shares no line with it, on a VGG16 and a ResNet-50 of random weights.

Convolutions and dense layers follow the epsilon rule, or alpha 1 and beta 0 (Bach et al. 2015); the composite, which is
the paper's, has the one for dense layers and the other for convolutions and average pooling. What a layer cannot
attribute is shared evenly by the pixels in view, and a residual sum is split by absolute value.
"""

import keras
import numpy as np
import pytest
from keras import layers

from cyclic.activation.head import LevelHead
from cyclic.activation.lrp import lrp
from cyclic.activation.maps import activation_map
from cyclic.backbones import build_backbone
from cyclic.classifier import build_classifier

HEIGHT, WIDTH = 32, 64


def build(name, hidden=6):
    """A classifier whose biases, shifts and statistics are those of no fresh network."""
    keras.utils.set_random_seed(5)
    backbone, rng = build_backbone(name, "frozen"), np.random.default_rng(1)
    for weight in backbone.weights:
        if weight.name in ("bias", "beta", "moving_mean"):
            weight.assign(rng.normal(0, 0.1, weight.shape))
        elif weight.name in ("gamma", "moving_variance"):
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    classifier = build_classifier(backbone, ("C5",), hidden=hidden)
    head = classifier.get_layer("head_c5_logits")
    head.set_weights([head.get_weights()[0], np.array([0.3, 0.1], np.float32)])
    return classifier


@pytest.fixture(scope="module", params=["vgg16", "resnet50"])
def classifier(request):
    return build(request.param)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(2).normal(0, 2, (1, HEIGHT, WIDTH, 3)).astype(np.float32)


# --- The independent program, in float64. A layer is its P windows of K inputs each, times a kernel [K, C]. ---


def by_epsilon(windows, kernel, outputs, relevance, epsilon):
    small = epsilon * np.sqrt(np.mean(outputs**2)) + 1e-12
    ratio = relevance / (outputs + np.where(outputs >= 0, small, -small))
    return windows * (ratio @ kernel.T), relevance - windows @ kernel * ratio


def by_positive_part(windows, kernel, outputs, relevance):
    signs = [(np.maximum(sign * windows, 0), np.maximum(sign * kernel, 0)) for sign in (1, -1)]
    signs = [each for each in signs if each[0].any()]  # after a ReLU there is nothing below 0
    total = sum(inputs @ weights for inputs, weights in signs)
    ratio = np.where(total > 1e-12, relevance / np.where(total > 1e-12, total, 1), 0)
    return sum(inputs * (ratio @ weights.T) for inputs, weights in signs), relevance - total * ratio


# The rule of dense layers, and that of convolutions and average pooling.
RULES = {
    "epsilon": (lambda *layer: by_epsilon(*layer, 0.1),) * 2,
    "alphabeta": (by_positive_part,) * 2,
    "composite": (lambda *layer: by_epsilon(*layer, 1e-6), by_positive_part),
}


def back(rule, windows, kernel, outputs, relevance, inside=None):
    """Relevance `[P, K]` of the inputs; what the rule leaves of it is shared by those `inside` the image."""
    handed, rest = rule(windows, kernel, outputs, relevance)
    inside = np.ones_like(windows) if inside is None else inside
    return handed + (rest.sum(1) / inside.sum(1))[:, None] * inside


def padding_of(shape, kernel, strides, padding):
    """Rows and columns of zeros around an image, `[(before, after)]`, and the size of the output."""
    if padding == "valid":
        return [(0, 0), (0, 0)], [(side - kernel) // strides + 1 for side in shape]
    sizes = [-(-side // strides) for side in shape]
    missing = [max((size - 1) * strides + kernel - side, 0) for size, side in zip(sizes, shape, strict=True)]
    return [(each // 2, each - each // 2) for each in missing], sizes


def cut(x, kernel, strides, padding, fill=0.0):
    """The windows `[h, w, kernel, kernel, C]` of an image `[H, W, C]`, with `fill` beyond its border."""
    around, _ = padding_of(x.shape[:2], kernel, strides, padding)
    padded = np.pad(x, [*around, (0, 0)], constant_values=fill)
    found = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), axis=(0, 1))
    return found[::strides, ::strides].transpose(0, 1, 3, 4, 2)


def put_back(windows, shape, strides, padding):
    """The sum of windows at their places in an image of `shape`."""
    kernel = windows.shape[2]
    around, (rows, columns) = padding_of(shape[:2], kernel, strides, padding)
    whole = np.zeros([side + sum(each) for side, each in zip(shape[:2], around, strict=True)] + [shape[2]])
    for i in range(kernel):
        for j in range(kernel):
            whole[i : i + rows * strides : strides, j : j + columns * strides : strides] += windows[:, :, i, j]
    return whole[around[0][0] :, around[1][0] :][: shape[0], : shape[1]]


def back_through_conv(rule, x, kernel, outputs, relevance, strides, padding):
    size, flat = kernel.shape[0], (-1, kernel[..., 0].size)
    windows, inside = (cut(each, size, strides, padding) for each in (x, np.ones_like(x)))
    weights, channels = kernel.reshape(flat[1], -1), (-1, kernel.shape[3])
    outputs = outputs(windows.reshape(flat) @ weights) if callable(outputs) else outputs.reshape(channels)
    found = back(rule, windows.reshape(flat), weights, outputs, relevance.reshape(channels), inside.reshape(flat))
    return put_back(found.reshape(windows.shape), x.shape, strides, padding)


def back_through_max(x, kernel, relevance, strides, padding):
    windows = cut(x, kernel, strides, padding, -np.inf)
    flat = windows.reshape(*windows.shape[:2], -1, x.shape[2])
    won = np.arange(flat.shape[2])[:, None] == flat.argmax(2)[:, :, None]
    return put_back((won * relevance[:, :, None]).reshape(windows.shape), x.shape, strides, padding)


def back_through_head(classifier, features, dense, average):
    """Relevance of the features for the logit of the predicted class, and that logit."""
    hidden, logits = (
        [weight.astype(float) for weight in classifier.get_layer(f"head_c5_{name}").get_weights()]
        for name in ("hidden", "logits")
    )
    pooled = features.mean((0, 1))
    before = pooled @ hidden[0] + hidden[1]
    units = np.maximum(before, 0)
    scores = units @ logits[0] + logits[1]
    best = [int(scores.argmax())]
    relevance = back(dense, units[None], logits[0][:, best], scores[None, best], scores[None, best])
    relevance = back(dense, pooled[None], hidden[0], before[None], relevance)
    positions = features.reshape(-1, len(pooled)).T
    kernel = np.full((positions.shape[1], 1), 1 / positions.shape[1])
    return back(average, positions, kernel, pooled[:, None], relevance.T).T.reshape(features.shape), scores[best[0]]


def by_hand(classifier, image, rule):
    """Relevance `[H, W]` of the predicted class' logit, and that logit."""
    dense, convolution = RULES[rule]
    network = classifier.get_layer("backbone")
    trace = keras.Model(network.input, [layer.output for layer in network.layers])
    outputs = trace.predict_on_batch(image[None])
    values = {layer.name: np.asarray(value[0], float) for layer, value in zip(network.layers, outputs, strict=True)}
    last = network.layers[-1].name
    relevance, score = back_through_head(classifier, values[last], dense, convolution)
    received, folded = {last: relevance}, {}
    for layer in reversed(network.layers[1:]):
        relevance = received.pop(layer.name)
        inputs = layer.input if isinstance(layer.input, list) else [layer.input]
        names = [tensor._keras_history.operation.name for tensor in inputs]
        x = values[names[0]]
        if isinstance(layer, layers.Add):
            sizes = [np.abs(values[name]) + 1e-12 for name in names]
            parts = [relevance * size / sum(sizes) for size in sizes]
        elif isinstance(layer, layers.Activation):
            parts = [relevance]
        elif isinstance(layer, layers.ZeroPadding2D):
            parts = [relevance[3:-3, 3:-3]]
        elif isinstance(layer, layers.MaxPooling2D):
            parts = [back_through_max(x, layer.pool_size[0], relevance, layer.strides[0], layer.padding)]
        elif isinstance(layer, layers.BatchNormalization):
            gamma, _, _, variance = (weight.astype(float) for weight in layer.get_weights())
            folded[names[0]], parts = (gamma / np.sqrt(variance + layer.epsilon), values[layer.name]), [relevance]
        else:
            weights = [weight.astype(float) for weight in layer.get_weights()]
            # Without a normalisation the layer's own values come after its ReLU.
            gain, z = folded.get(layer.name, (1.0, lambda product, bias=weights[-1]: product + bias))
            how = relevance, layer.strides[0], layer.padding
            parts = [back_through_conv(convolution, x, weights[0] * gain, z, *how)]
        for name, part in zip(names, parts, strict=True):
            received[name] = received.get(name, 0.0) + part
    return received[network.layers[0].name].sum(-1), score


@pytest.mark.parametrize("rule", RULES)
def test_maps_equal_those_of_an_independent_program(classifier, images, rule):
    found = lrp(classifier, images, "C5", None, rule=rule)[0]
    expected, score = by_hand(classifier, images[0], rule)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())
    # The epsilon rule leaves a little beyond the image's border, where the first layer of a ResNet sees zeros.
    assert found.sum() == pytest.approx(score, rel=0.01)


def test_the_class_that_is_explained_is_the_predicted_one(classifier, images):
    logits = classifier.predict_on_batch(images)
    more = 10 * np.abs(logits).max()
    head = classifier.get_layer("head_c5_logits")
    kernel, bias = head.get_weights()
    for target in (0, 1):
        head.set_weights([kernel, bias + more * np.array([1, -1]) * (1 - 2 * target)])
        sums = lrp(classifier, images, "C5", None, rule="composite").sum((1, 2))
        head.set_weights([kernel, bias])
        np.testing.assert_allclose(sums, logits[:, target] + more, rtol=0.01)


def test_relevance_is_conserved_in_half_precision(images):
    keras.config.set_dtype_policy("mixed_bfloat16")
    classifier = build("resnet50")
    scores = classifier.predict_on_batch(images).max(-1)
    maps = lrp(classifier, images, "C5", None, rule="composite")
    np.testing.assert_allclose(maps.sum((1, 2)), scores, rtol=0.05)


def test_a_logit_without_contrast_is_that_of_its_class(classifier, images):
    features = classifier.get_layer("backbone").predict_on_batch(images)[-1].mean((1, 2))
    scores = [LevelHead(classifier, "C5", class_, contrast=False).score(features) for class_ in (0, 1)]
    np.testing.assert_allclose(np.stack(scores, 1), classifier.predict_on_batch(images), rtol=1e-4)


def test_the_map_of_an_image_is_the_positive_part(classifier):
    image = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    head = classifier.get_layer("head_c5_logits")
    kernel, bias = head.get_weights()
    head.set_weights([kernel, np.array([-1e6, 1e6])])  # sure that there are nuclei, so nothing is silenced
    found = activation_map(classifier, image, (120.0,) * 3, "lrp_composite", "C5", scale=1, tile=64, overlap=0)
    head.set_weights([kernel, bias])
    assert found.shape == (64, 64) and found.min() >= 0 and 0.99 < found.max() <= 1 and found.std() > 0
