"""Grad-CAM, Grad-CAM++, LayerCAM and the closed form of a head's gradient."""

import keras
import numpy as np
import pytest

from cyclic.activation.gradcam import gradcam
from cyclic.activation.gradcampp import gradcampp
from cyclic.activation.gradient import value_and_gradients
from cyclic.activation.head import LevelHead
from cyclic.activation.layercam import layercam
from cyclic.backbones import build_backbone
from cyclic.classifier import build_classifier, head_layers
from cyclic.errors import InputError


@pytest.fixture
def features():
    return np.random.default_rng(0).uniform(0, 1, (2, 3, 4, 5)).astype("float32")


@pytest.fixture(scope="module")
def classifiers():
    keras.utils.set_random_seed(0)
    backbone = build_backbone("resnet18", "group", (64, 64, 3))
    return {hidden: build_classifier(backbone, ("C3",), hidden, classes=3) for hidden in (None, 16)}


def test_gradcam_weighs_channels_by_their_mean_gradient(features):
    gradients = np.random.default_rng(1).normal(size=features.shape)
    expected = sum(gradients[0, :, :, c].mean() * features[0, :, :, c] for c in range(5))
    np.testing.assert_allclose(gradcam(features, gradients)[0], np.maximum(expected, 0), rtol=1e-5)


def test_gradcampp_follows_its_equation(features):
    g = np.random.default_rng(1).normal(size=features.shape)
    alpha = g**2 / (2 * g**2 + features.sum((1, 2), keepdims=True) * g**3)
    weights = (alpha * np.maximum(g, 0)).sum((1, 2))
    expected = np.maximum(sum(weights[0, c] * features[0, :, :, c] for c in range(5)), 0)
    np.testing.assert_allclose(gradcampp(features, g)[0], expected, rtol=1e-4)


def test_layercam_weighs_each_position(features):
    gradients = np.zeros_like(features)
    gradients[:, 1, 2, 3] = 2
    gradients[:, 0, 0, 0] = -2
    expected = np.zeros((2, 3, 4))
    expected[:, 1, 2] = 2 * features[:, 1, 2, 3]
    np.testing.assert_allclose(layercam(features, gradients), expected, rtol=1e-6)


@pytest.mark.parametrize("method", [gradcam, gradcampp, layercam])
def test_no_positive_gradient_gives_zero(features, method):
    assert method(features, -np.ones_like(features)).max() == 0


@pytest.mark.parametrize("hidden", [None, 16])
def test_closed_form_equals_automatic_gradient(classifiers, hidden):
    classifier = classifiers[hidden]
    for layer in head_layers(classifier, "C3"):
        if layer is not None:
            layer.bias.assign(np.linspace(-0.1, 0.1, layer.bias.shape[0]))
    features = np.random.default_rng(2).uniform(0, 1, (2, 4, 4, 128)).astype("float32")

    def score(x):
        x = keras.ops.mean(x, (1, 2))
        for layer in head_layers(classifier, "C3"):
            x = x if layer is None else layer(x)
        return x[:, 2] - (x[:, 0] + x[:, 1]) / 2

    value, (gradient,) = value_and_gradients(score, [features])
    head = LevelHead(classifier, "C3", target_class=2)
    np.testing.assert_allclose(head.score(features.mean((1, 2))), value, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(head.gradients(features), gradient, rtol=1e-3, atol=1e-7)


def test_level_without_head_is_refused(classifiers):
    with pytest.raises(InputError, match="heads on C3"):
        LevelHead(classifiers[None], "C5")


def test_value_and_gradients_of_a_tensor_function():
    x, y = np.array([1.0, 2.0], "float32"), np.array([3.0, 5.0], "float32")
    value, gradients = value_and_gradients(lambda a, b: a * a * b, [x, y])
    np.testing.assert_allclose(value, [3, 20])
    np.testing.assert_allclose(gradients[0], [6, 20])
    np.testing.assert_allclose(gradients[1], [1, 4])
