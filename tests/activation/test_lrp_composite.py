"""The paper's composite rule beside a plain NumPy program that shares no line with it, on tiny networks.

Dense layers follow the epsilon rule, convolutions and average pooling alpha 1, beta 0 (Bach et al. 2015). What has no
positive contribution is shared evenly by the pixels in view, and a residual sum is split by absolute value.
"""

import keras
import numpy as np
import pytest
from keras import layers

from cyclic.activation.head import LevelHead
from cyclic.activation.lrp import lrp
from cyclic.activation.maps import activation_map
from cyclic.backbones.resnet import conv_norm
from cyclic.classifier import build_classifier

SIDE = 32


def tiny_vgg():
    """Convolutions with biases and pooling, four levels."""
    x = image = keras.Input((SIDE, SIDE, 3))
    outputs = []
    for level, channels in enumerate((4, 5, 6, 7)):
        x = layers.Conv2D(channels, 3, padding="same", activation="relu", name=f"c{level}")(x)
        x = layers.MaxPooling2D(2, name=f"p{level}")(x)
        outputs.append(x)
    return keras.Model(image, outputs, name="backbone")


def tiny_resnet():
    """A stem with stride and pooling, and residual blocks with a projected shortcut and without one."""
    image = keras.Input((SIDE, SIDE, 3))
    x = layers.ZeroPadding2D(3, name="pad")(image)
    x = conv_norm(x, 4, 7, "frozen", "stem", "bn_stem", strides=2, padding="valid")
    x = layers.Activation("relu", name="stem_relu")(x)
    x = layers.MaxPooling2D(3, strides=2, padding="same", name="pool")(x)
    outputs = []
    for index, (channels, strides) in enumerate(((4, 1), (6, 2), (6, 1), (8, 2))):
        shortcut = x
        if strides > 1:
            shortcut = conv_norm(x, channels, 1, "frozen", f"s{index}", f"bn_s{index}", strides=strides)
        x = conv_norm(x, channels, 3, "frozen", f"a{index}", f"bn_a{index}", strides=strides)
        x = layers.Activation("relu", name=f"ra{index}")(x)
        x = conv_norm(x, channels, 3, "frozen", f"b{index}", f"bn_b{index}")
        x = layers.Add(name=f"add{index}")([x, shortcut])
        x = layers.Activation("relu", name=f"out{index}")(x)
        outputs.append(x)
    return keras.Model(image, outputs, name="backbone")


@pytest.fixture(scope="module", params=[tiny_vgg, tiny_resnet], ids=["vgg", "resnet"])
def classifier(request):
    keras.utils.set_random_seed(5)
    backbone, rng = request.param(), np.random.default_rng(1)
    for weight in backbone.weights:
        if weight.name in ("bias", "beta", "moving_mean"):
            weight.assign(rng.normal(0, 0.1, weight.shape))
        elif weight.name in ("gamma", "moving_variance"):
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    classifier = build_classifier(backbone, ("C5",), hidden=6)
    head = classifier.get_layer("head_c5_logits")
    head.set_weights([head.get_weights()[0], np.array([0.3, 0.1], np.float32)])
    return classifier


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(2).normal(0, 2, (3, SIDE, SIDE, 3)).astype(np.float32)


# --- The independent program: one window after the other, in float64. ---


def windows(shape, kernel, strides, padding):
    """The place of each output in a `[H, W]` input: `((i, j), rows, columns)` with what lies beyond it cut off."""
    for i in range(-(-shape[0] // strides) if padding == "same" else (shape[0] - kernel) // strides + 1):
        for j in range(-(-shape[1] // strides) if padding == "same" else (shape[1] - kernel) // strides + 1):
            starts = []
            for side, index in zip(shape, (i, j), strict=True):
                missing = max((-(-side // strides) - 1) * strides + kernel - side, 0) if padding == "same" else 0
                starts.append(index * strides - missing // 2)
            yield (
                (i, j),
                *((max(start, 0), min(start + kernel, side), start) for start, side in zip(starts, shape, strict=True)),
            )


def shared(contributions, relevance):
    """Relevance `[K]` shared by contributions `[..., K]`: the positive ones in proportion, or all alike."""
    positive = np.maximum(contributions, 0)
    axes = tuple(range(contributions.ndim - 1))
    total, count = positive.sum(axes), contributions[..., 0].size
    even = np.ones_like(positive) / count
    return np.where(total > 1e-12, positive / np.where(total > 1e-12, total, 1), even) * relevance


def back_through_conv(x, kernel, strides, padding, relevance):
    result, size = np.zeros_like(x), kernel.shape[0]
    for (i, j), (top, bottom, y), (left, right, x0) in windows(x.shape[:2], size, strides, padding):
        view = x[top:bottom, left:right]
        part = kernel[top - y : bottom - y, left - x0 : right - x0]
        result[top:bottom, left:right] += shared(view[..., None] * part, relevance[i, j]).sum(-1)
    return result


def back_through_max(x, size, strides, padding, relevance):
    result = np.zeros_like(x)
    for (i, j), (top, bottom, _), (left, right, _) in windows(x.shape[:2], size, strides, padding):
        for channel in range(x.shape[2]):
            view = x[top:bottom, left:right, channel]
            winner = np.unravel_index(view.argmax(), view.shape)
            result[top + winner[0], left + winner[1], channel] += relevance[i, j, channel]
    return result


def back_through_dense(x, kernel, bias, relevance):
    z = x @ kernel + bias
    small = 1e-6 * np.sqrt(np.mean(z**2))
    handed = x[:, None] * kernel / (z + np.where(z >= 0, small, -small)) * relevance
    return (handed + (relevance - handed.sum(0)) / len(x)).sum(1)


def by_hand(classifier, image):
    """Relevance `[H, W]` of the predicted class' logit, and that logit."""
    network = classifier.get_layer("backbone")
    trace = keras.Model(network.input, [layer.output for layer in network.layers])
    outputs = trace.predict_on_batch(image[None])
    values = {layer.name: np.asarray(value[0], float) for layer, value in zip(network.layers, outputs, strict=True)}
    hidden, logits = (
        [weight.astype(float) for weight in classifier.get_layer(f"head_c5_{name}").get_weights()]
        for name in ("hidden", "logits")
    )
    features = values[network.layers[-1].name]
    pooled = features.mean((0, 1))
    units = np.maximum(pooled @ hidden[0] + hidden[1], 0)
    scores = units @ logits[0] + logits[1]
    best = int(scores.argmax())
    relevance = back_through_dense(units, logits[0][:, [best]], logits[1][[best]], scores[[best]])
    relevance = back_through_dense(pooled, *hidden, relevance)
    received = {network.layers[-1].name: shared(features, relevance)}
    folded = {}
    for layer in reversed(network.layers[1:]):
        relevance = received.pop(layer.name, None)
        if relevance is None:
            continue
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
            parts = [back_through_max(x, layer.pool_size[0], layer.strides[0], layer.padding, relevance)]
        elif isinstance(layer, layers.BatchNormalization):
            gamma, _, _, variance = (weight.astype(float) for weight in layer.get_weights())
            folded[names[0]], parts = gamma / np.sqrt(variance + layer.epsilon), [relevance]
        else:
            kernel = layer.get_weights()[0].astype(float) * folded.get(layer.name, 1.0)
            parts = [back_through_conv(x, kernel, layer.strides[0], layer.padding, relevance)]
        for name, part in zip(names, parts, strict=True):
            received[name] = received.get(name, 0.0) + part
    return received[network.layers[0].name].sum(-1), scores[best]


def test_maps_equal_those_of_an_independent_program(classifier, images):
    maps = lrp(classifier, images, "C5", None, rule="composite")
    for found, image in zip(maps, images, strict=True):
        expected, score = by_hand(classifier, image)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3 * np.abs(expected).max())
        assert found.sum() == pytest.approx(score, rel=0.01) and expected.sum() == pytest.approx(score, rel=1e-6)


def test_the_class_that_is_explained_is_the_predicted_one(classifier, images):
    logits = classifier.predict_on_batch(images)
    for target in (0, 1):
        head = classifier.get_layer("head_c5_logits")
        kernel, bias = head.get_weights()
        head.set_weights([kernel, bias + np.array([100, -100]) * (1 - 2 * target)])
        sums = lrp(classifier, images, "C5", None, rule="composite").sum((1, 2))
        head.set_weights([kernel, bias])
        np.testing.assert_allclose(sums, logits[:, target] + 100, rtol=0.01)


def test_relevance_is_conserved_in_half_precision(images):
    keras.config.set_dtype_policy("mixed_bfloat16")
    classifier = build_classifier(tiny_resnet(), ("C5",), hidden=6)
    scores = classifier.predict_on_batch(images).max(-1)
    maps = lrp(classifier, images, "C5", None, rule="composite")
    np.testing.assert_allclose(maps.sum((1, 2)), scores, rtol=0.05, atol=1e-3 * np.abs(scores).max())


def test_a_logit_without_contrast_is_that_of_its_class(classifier, images):
    features = classifier.get_layer("backbone").predict_on_batch(images)[-1].mean((1, 2))
    scores = [LevelHead(classifier, "C5", class_, contrast=False).score(features) for class_ in (0, 1)]
    np.testing.assert_allclose(np.stack(scores, 1), classifier.predict_on_batch(images), rtol=1e-4, atol=1e-5)


def test_the_map_of_an_image_is_the_positive_part(classifier):
    image = np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3), np.uint8)
    head = classifier.get_layer("head_c5_logits")
    kernel, bias = head.get_weights()
    head.set_weights([kernel, np.array([-1e6, 1e6])])  # sure that there are nuclei, so nothing is silenced
    found = activation_map(classifier, image, (120.0,) * 3, "lrp_composite", "C5", scale=1, tile=SIDE, overlap=0)
    head.set_weights([kernel, bias])
    assert found.shape == (SIDE, SIDE) and found.min() >= 0 and 0.99 < found.max() <= 1 and found.std() > 0
