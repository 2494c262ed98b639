"""Classifier model: heads, shared backbone, saving."""

import keras
import numpy as np
import pytest

from cyclic.backbones import build_backbone
from cyclic.classifier import build_classifier, classifier_levels, head_layers, preprocess, with_evidence
from cyclic.classifier.model import StrongestMean, evidence_network
from cyclic.errors import InputError


@pytest.fixture(scope="module")
def backbone():
    keras.utils.set_random_seed(0)
    return build_backbone("resnet18", "group")


@pytest.fixture
def images():
    return np.random.default_rng(0).normal(0, 50, (2, 64, 64, 3)).astype("float32")


def test_logits_are_the_mean_of_the_heads(backbone, images):
    classifier = build_classifier(backbone, ("C3", "C5"), hidden=8)
    pyramid = backbone.predict_on_batch(images)
    heads = []
    for level, features in (("C3", pyramid[1]), ("C5", pyramid[3])):
        x = features.mean((1, 2))
        for layer in head_layers(classifier, level):
            x = keras.ops.convert_to_numpy(layer(x))
        heads.append(x)
    logits = classifier.predict_on_batch(images)
    assert logits.shape == (2, 2)
    np.testing.assert_allclose(logits, np.mean(heads, 0), rtol=1e-4, atol=1e-5)


def test_paper_head(backbone):
    classifier = build_classifier(backbone, ("C5",), hidden=1024)
    hidden, logits = head_layers(classifier, "C5")
    assert (hidden.name, hidden.units, logits.name, logits.units) == ("head_c5_hidden", 1024, "head_c5_logits", 2)
    assert classifier_levels(classifier) == ("C5",)


def test_backbone_is_shared_not_copied(backbone, images):
    classifier = build_classifier(backbone, ("C4",))
    mine = {layer.name: layer for layer in backbone.layers}
    assert all(mine[layer.name] is layer for layer in classifier.get_layer("backbone").layers)
    other = keras.Model(backbone.input, backbone.outputs[2])
    before = other.predict_on_batch(images)
    classifier.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    classifier.train_on_batch(images, np.array([0, 1]))
    assert np.abs(other.predict_on_batch(images) - before).max() > 1e-6


def test_keras_file_round_trip(backbone, images, tmp_path):
    classifier = build_classifier(backbone, ("C3", "C5"))
    classifier.save(tmp_path / "classifier.keras")
    loaded = keras.saving.load_model(tmp_path / "classifier.keras")
    np.testing.assert_allclose(loaded.predict_on_batch(images), classifier.predict_on_batch(images), rtol=1e-4)
    assert classifier_levels(loaded) == ("C3", "C5")


def test_weights_file_round_trip(backbone, images, tmp_path):
    classifier = build_classifier(backbone, ("C3",))
    classifier.save_weights(tmp_path / "classifier.weights.h5")
    fresh = build_classifier(build_backbone("resnet18", "group"), ("C3",))
    expected = classifier.predict_on_batch(images)
    assert not np.allclose(fresh.predict_on_batch(images), expected, rtol=1e-3)
    fresh.load_weights(tmp_path / "classifier.weights.h5")
    np.testing.assert_allclose(fresh.predict_on_batch(images), expected, rtol=1e-4)


def test_preprocess_is_matterports_mold_image():
    image = np.random.default_rng(0).integers(0, 256, (5, 4, 3), dtype=np.uint8)
    mean = np.array([189.44, 136.76, 169.23])
    result = preprocess(image, mean)
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, image.astype(np.float32) - mean.astype(np.float32))


@pytest.mark.parametrize("levels", [(), ("C6",), ("C3", "C3")])
def test_wrong_levels(backbone, levels):
    with pytest.raises(InputError, match="C2, C3, C4, C5"):
        build_classifier(backbone, levels)


def test_level_without_head(backbone):
    with pytest.raises(InputError, match="heads on C5"):
        head_layers(build_classifier(backbone, ("C5",)), "C3")


def test_layers_above_the_deepest_head_are_left_out(backbone):
    classifier = build_classifier(backbone, ("C2",))
    names = {layer.name for layer in classifier.get_layer("backbone").layers}
    assert "res2b_out" in names and "res3a_out" not in names
    assert classifier.count_params() < 0.03 * backbone.count_params()


@pytest.mark.parametrize("share, count", [(0.15, 9), (0.001, 1), (1.0, 64)])
def test_strongest_mean(share, count):
    positions = np.random.default_rng(0).normal(size=(3, 8, 8, 2)).astype("float32")
    pooled = keras.ops.convert_to_numpy(StrongestMean(share)(positions))
    for tile, found in zip(positions.reshape(3, 64, 2), pooled, strict=True):
        strongest = tile[np.argsort(tile[:, 0] - tile[:, 1])[:count]]
        np.testing.assert_allclose(found, strongest.mean(0), rtol=1e-5)


def test_answer_is_that_of_the_strongest_evidence(backbone, images):
    classifier = build_classifier(backbone, ("C2",), share=0.25)
    found = with_evidence(classifier, "C2").predict_on_batch(images)
    assert found["evidence"].shape == (2, 16, 16)
    alone = evidence_network(classifier, "C2").predict_on_batch(images)
    np.testing.assert_allclose(alone, found["evidence"], rtol=1e-5)
    np.testing.assert_allclose(found["answer"], classifier.predict_on_batch(images), rtol=1e-5)
    strongest = np.sort(found["evidence"].reshape(2, -1), axis=1)[:, -64:].mean(1)
    np.testing.assert_allclose(found["answer"][:, 1] - found["answer"][:, 0], strongest, rtol=1e-3, atol=1e-4)


def test_evidence_under_average_pooling_sums_up_to_the_answer(backbone, images):
    found = with_evidence(build_classifier(backbone, ("C3",)), "C3").predict_on_batch(images)
    mean = found["evidence"].mean((1, 2))
    np.testing.assert_allclose(found["answer"][:, 1] - found["answer"][:, 0], mean, rtol=1e-3, atol=1e-4)


def test_local_classifier_round_trip(backbone, images, tmp_path):
    classifier = build_classifier(backbone, ("C2",), share=0.3)
    classifier.save(tmp_path / "classifier.keras")
    loaded = keras.saving.load_model(tmp_path / "classifier.keras")
    np.testing.assert_allclose(loaded.predict_on_batch(images), classifier.predict_on_batch(images), rtol=1e-4)
    assert loaded.get_layer("head_c2_pool").share == 0.3


def test_evidence_needs_a_head_without_hidden_layer(backbone):
    with pytest.raises(InputError, match="hidden layer"):
        with_evidence(build_classifier(backbone, ("C5",), hidden=8), "C5")


@pytest.mark.parametrize(
    "options", [{"share": 0.0}, {"share": 1.1}, {"share": 0.5, "hidden": 8}, {"share": 0.5, "classes": 3}]
)
def test_wrong_share(backbone, options):
    with pytest.raises(InputError, match="share"):
        build_classifier(backbone, ("C2",), **options)
