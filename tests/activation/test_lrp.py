"""LRP: conservation, positions, and the rules on layers small enough to check by hand."""

import keras
import numpy as np
import pytest

from cyclic.activation.head import LevelHead
from cyclic.activation.lrp import lrp
from cyclic.activation.lrp_rules import absolute_shares, alphabeta_rule, conv_layer, dense_layer, epsilon_rule
from cyclic.backbones import LEVELS, build_backbone
from cyclic.classifier import build_classifier
from cyclic.classifier.model import head_layers
from cyclic.errors import InputError

BACKBONES = [("resnet18", "group"), ("resnet18", "batch"), ("vgg16", "frozen")]


@pytest.fixture(scope="module", params=BACKBONES, ids="-".join)
def classifier(request):
    keras.utils.set_random_seed(3)
    backbone = build_backbone(*request.param, (64, 64, 3))
    rng = np.random.default_rng(0)
    # Biases, shifts and statistics of a trained network, not the zeros and ones of a fresh one.
    for weight in backbone.weights:
        if weight.name in ("bias", "beta", "moving_mean"):
            weight.assign(rng.normal(0, 0.1, weight.shape))
        elif weight.name in ("gamma", "moving_variance"):
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    return build_classifier(backbone, ("C3", "C4"), hidden=8 if request.param[1] == "group" else None)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).normal(0, 40, (2, 64, 64, 3)).astype("float32")


def scores(classifier, images, level):
    features = classifier.get_layer("backbone").predict_on_batch(images)[LEVELS[level][0]]
    return LevelHead(classifier, level).score(features.mean((1, 2)))


@pytest.mark.parametrize(
    "rule, options", [("epsilon", {}), ("alphabeta", {}), ("alphabeta", {"alpha": 2.0, "beta": 1.0})]
)
@pytest.mark.parametrize("to, side", [("image", 64), ("C2", 16)])
def test_relevance_is_conserved(classifier, images, rule, options, to, side):
    relevance = lrp(classifier, images, "C3", rule=rule, to=to, **options)
    assert relevance.shape == (2, side, side)
    np.testing.assert_allclose(relevance.sum((1, 2)), scores(classifier, images, "C3"), rtol=0.01, atol=1e-3)
    assert relevance.std() > 0


def test_relevance_differs_between_images_and_classes(classifier, images):
    positive, negative = (lrp(classifier, images, "C3", target, to="C2") for target in (1, 0))
    np.testing.assert_allclose(positive, -negative, rtol=1e-3, atol=1e-5 * np.abs(positive).max())
    assert np.abs(positive[0] - positive[1]).max() > 0.1 * np.abs(positive).max()


def test_where_all_logits_are_negative_their_difference_is_explained(classifier, images):
    bias = head_layers(classifier, "C3")[1].weights[1]
    before = np.array(bias)
    bias.assign(before - 1000)
    try:
        predicted = scores(classifier, images, "C3") > 0
        found = lrp(classifier, images, "C3", None, "composite", to="C2")
        each = [lrp(classifier, images, "C3", target, "composite", to="C2") for target in (0, 1)]
    finally:
        bias.assign(before)
    assert (found.sum((1, 2)) > 0).all()
    expected = np.where(predicted[:, None, None], each[1], each[0])
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5 * np.abs(expected).max())


def test_relevance_lies_where_the_object_is():
    """A bright square on black, no bias: all relevance must come from within the square's receptive field."""
    keras.utils.set_random_seed(0)
    classifier = build_classifier(build_backbone("vgg16", "frozen", (128, 128, 3)), ("C2",))
    image = np.zeros((1, 128, 128, 3), "float32")
    image[:, 64:80, 32:48] = 100
    relevance = np.abs(lrp(classifier, image, "C2", rule="alphabeta")[0])
    assert relevance[64:80, 32:48].sum() > 0.9 * relevance.sum()


def test_epsilon_rule_by_hand():
    layer = dense_layer(np.array([[1.0, 2.0]], "float32"), np.array([[3.0], [1.0]], "float32"), 0.0)
    relevance = epsilon_rule(layer, np.array([[10.0]], "float32"), epsilon=0.0)
    np.testing.assert_allclose(relevance, [[6, 4]], rtol=1e-5)


def test_epsilon_rule_spreads_the_bias_evenly():
    layer = dense_layer(np.array([[1.0, 2.0]], "float32"), np.array([[3.0], [1.0]], "float32"), 5.0)
    relevance = epsilon_rule(layer, np.array([[10.0]], "float32"), epsilon=0.0)
    np.testing.assert_allclose(relevance, [[3 + 2.5, 2 + 2.5]], rtol=1e-5)


def test_alphabeta_rule_by_hand():
    layer = dense_layer(np.array([[1.0, 2.0, -1.0]], "float32"), np.array([[3.0], [-2.0], [-1.0]], "float32"), 0.0)
    relevance = alphabeta_rule(layer, np.array([[8.0]], "float32"), alpha=2.0, beta=1.0)
    # Contributions 3, -4, 1: positive ones share 2 x 8, the negative one takes -8.
    np.testing.assert_allclose(relevance, [[12, -8, 4]], rtol=1e-5)


def test_dead_output_keeps_its_relevance():
    layer = dense_layer(np.zeros((1, 4), "float32"), np.ones((4, 1), "float32"), 0.0)
    for rule in (epsilon_rule, alphabeta_rule):
        np.testing.assert_allclose(rule(layer, np.array([[2.0]], "float32")), np.full((1, 4), 0.5), rtol=1e-5)


def spread_over_views(rest, shape, kernel, stride, padding):
    """Each output's relevance in equal parts over the pixels that it sees, window by window."""
    height, width, channels = shape
    spread = np.zeros(shape)
    starts = []
    for side, count in zip((height, width), rest.shape[:2], strict=True):
        missing = max((count - 1) * stride + kernel - side, 0) if padding == "same" else 0
        starts.append(np.arange(count) * stride - missing // 2)
    for i, top in enumerate(starts[0]):
        for j, left in enumerate(starts[1]):
            view = spread[max(top, 0) : top + kernel, max(left, 0) : left + kernel]
            view += rest[i, j].sum() / view.size
    return spread


@pytest.mark.parametrize("kernel, stride, padding", [(3, 2, "same"), (3, 1, "same"), (1, 2, "same"), (7, 2, "valid")])
@pytest.mark.parametrize("height, width", [(16, 12), (15, 13)])
def test_rest_is_spread_evenly_over_the_pixels_in_view(kernel, stride, padding, height, width):
    conv = keras.layers.Conv2D(5, kernel, strides=stride, padding=padding)
    inputs = np.zeros((1, height, width, 2), "float32")
    rest = np.random.default_rng(0).normal(size=conv(inputs).shape).astype("float32")
    spread = keras.ops.convert_to_numpy(conv_layer(conv, keras.ops.convert_to_tensor(inputs)).spread(rest))[0]
    expected = spread_over_views(rest[0], (height, width, 2), kernel, stride, padding)
    np.testing.assert_allclose(spread, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_residual_branches_that_cancel_stay_bounded():
    shares = absolute_shares([np.array([5.0]), np.array([-4.99])], np.array([1.0]))
    assert 0.4 < float(shares[1][0]) < 0.5 < float(shares[0][0]) < 0.6


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"rule": "gamma"}, "epsilon, alphabeta, composite"),
        ({"to": "C5"}, "cannot reach"),
        ({"level": "C2"}, "heads on C3, C4"),
    ],
)
def test_wrong_arguments(classifier, images, arguments, message):
    with pytest.raises(InputError, match=message):
        lrp(classifier, images, **{"level": "C3"} | arguments)
