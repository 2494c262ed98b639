"""The networks of a run share one backbone, and a model file alone is enough to predict."""

import io
import json

import h5py
import numpy as np
import pytest

from cyclic.config import load_config
from cyclic.errors import InputError
from cyclic.mrcnn.weights.h5 import leaf_layers
from cyclic.networks import Models, load_predictor, mask_rcnn_config, precision

SMALL = tuple(f"segmenter.{key}=16" for key in ("pyramid_channels", "rpn_channels", "mask_channels", "fc_size"))
SMALL += ("segmenter.crop=64", "detection.max_instances=8", "detection.proposals=16")


@pytest.fixture(scope="module")
def models():
    return Models(load_config(None, SMALL))


def values(model):
    return {name: [np.array(weight) for weight in layer.get_weights()] for name, layer in leaf_layers(model).items()}


def same(first, second):
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_configuration_reaches_mask_rcnn():
    overrides = ("segmenter.crop=128", "segmenter.rois=7", "detection.score=0.6", "rounds.ignore_score=0.2", "scale=3")
    config = mask_rcnn_config(load_config(None, (*overrides, "backbone.norm=frozen", "detection.max_instances=9")))
    assert config.IMAGE_MIN_DIM == config.IMAGE_MAX_DIM == 128 and config.IMAGE_MIN_SCALE == 3
    assert config.TRAIN_ROIS_PER_IMAGE == 7 and config.DETECTION_MAX_INSTANCES == 9
    assert config.DETECTION_MIN_CONFIDENCE == 0.2 and config.norm() == "frozen" and config.NUM_CLASSES == 2


def test_mask_margin_and_both_suppressions_reach_mask_rcnn():
    overrides = ("detection.mask_margin=0.15", "detection.box_nms_threshold=0.7")
    config = mask_rcnn_config(load_config(None, (*overrides, "detection.nms_threshold=0.4")))
    assert config.DETECTION_MASK_MARGIN == 0.15
    assert config.DETECTION_NMS_THRESHOLD == 0.7  # masks are compared afterwards, by detection.nms_threshold


def test_classifier_and_mask_rcnn_hold_the_same_backbone_layers(models):
    classifier, network = leaf_layers(models.classifier), leaf_layers(models.network)
    shared = classifier.keys() & network.keys()
    assert len(shared) > 20 and all(classifier[name] is network[name] for name in shared)
    assert shared == leaf_layers(models.backbone).keys()
    assert models.detector.network is models.segmenter().network is models.network


def test_files_carry_the_backbone_from_one_to_the_other(models, tmp_path):
    layer = leaf_layers(models.backbone)["conv1"]
    head = leaf_layers(models.classifier)["head_c3_logits"]
    mask = leaf_layers(models.network)["mrcnn_mask"]
    before = values(models.classifier) | values(models.network)
    models.save_classifier(tmp_path / "classifier.weights.h5")
    models.save_segmenter(tmp_path / "model.weights.h5")
    for each in (layer, head, mask):
        each.set_weights([weight + 1 for weight in each.get_weights()])
    models.load(tmp_path / "classifier.weights.h5")
    assert same(layer.get_weights(), before["conv1"]) and same(head.get_weights(), before["head_c3_logits"])
    assert not same(mask.get_weights(), before["mrcnn_mask"])
    layer.set_weights([weight + 1 for weight in layer.get_weights()])
    models.load(tmp_path / "model.weights.h5")
    assert same(layer.get_weights(), before["conv1"]) and same(mask.get_weights(), before["mrcnn_mask"])


def test_later_file_wins_where_both_hold_the_layer(models, tmp_path):
    layer = leaf_layers(models.backbone)["conv1"]
    models.save_classifier(tmp_path / "old.h5")
    layer.set_weights([weight + 1 for weight in layer.get_weights()])
    models.save_segmenter(tmp_path / "new.h5")
    newer = layer.get_weights()
    models.load(tmp_path / "old.h5", tmp_path / "new.h5")
    assert same(layer.get_weights(), newer)


def test_model_file_alone_gives_the_predictor(models, tmp_path):
    path = tmp_path / "model.weights.h5"
    models.save_segmenter(path)
    model, config = load_predictor(path)
    assert config == models.config and model.mode == "inference"
    stored, loaded = values(models.network), values(model.network)
    assert model.network is not models.network
    assert stored.keys() == loaded.keys() and all(same(stored[name], loaded[name]) for name in stored)


def test_predictor_with_other_detection_settings(models, tmp_path):
    path = tmp_path / "model.weights.h5"
    models.save_segmenter(path)
    model, config = load_predictor(path, score=0.05, tile=128)
    assert config.detection.score == 0.05 and config.detection.tile == 128
    # The network itself has to let detections of that score through.
    assert model.config.DETECTION_MIN_CONFIDENCE == 0.05
    with pytest.raises(InputError, match="detection.score = 2"):
        load_predictor(path, score=2)


def test_predictor_does_not_need_the_weights_the_run_began_with(models, tmp_path):
    path = tmp_path / "model.weights.h5"
    models.save_segmenter(path)
    with h5py.File(path, "r+") as file:
        content = json.loads(file.attrs["run_config"])
        content["backbone"]["weights"] = "/nowhere/start.h5"
        file.attrs["run_config"] = json.dumps(content)
    load_predictor(path)


def test_run_starts_from_the_weights_given(models, tmp_path):
    models.save_segmenter(tmp_path / "start.h5")
    again = Models(load_config(None, (*SMALL, "seed=5", f"backbone.weights={tmp_path / 'start.h5'}")))
    assert same(values(again.backbone)["conv1"], values(models.backbone)["conv1"])


def test_same_seed_same_weights_other_seed_other_weights(models):
    first, again, other = (Models(load_config(None, (*SMALL, f"seed={seed}"))).backbone for seed in (3, 3, 4))
    assert same(values(first)["conv1"], values(again)["conv1"])
    assert not same(values(first)["conv1"], values(other)["conv1"])


def test_missing_file_and_file_of_another_kind(models, tmp_path):
    with pytest.raises(InputError, match="no.h5: no such weights file"):
        load_predictor(tmp_path / "no.h5")
    models.save_classifier(tmp_path / "classifier.h5")
    with pytest.raises(InputError, match="classifier.h5: holds no run configuration; give model.weights.h5"):
        load_predictor(tmp_path / "classifier.h5")


@pytest.mark.parametrize(
    ("flags", "policy"),
    [("sse avx2", "float32"), ("avx2 avx512_bf16", "mixed_bfloat16"), ("amx_bf16", "mixed_bfloat16")],
)
def test_precision_follows_the_processor(monkeypatch, flags, policy):
    lines = f"model name\t: a processor\nflags\t\t: {flags}\n"
    monkeypatch.setattr("builtins.open", lambda *_: io.StringIO(lines))
    assert precision(load_config(None)) == policy
    assert precision(load_config(None, ("precision=mixed_float16",))) == "mixed_float16"
