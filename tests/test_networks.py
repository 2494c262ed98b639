"""The networks of a run share one backbone, and a model file alone is enough to predict."""

import io
import json
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from first_version import OLD
from keras.src.legacy.saving import legacy_h5_format

from cyclic.backbones import build_backbone
from cyclic.config import load_config
from cyclic.errors import InputError
from cyclic.models.registry import weights_file
from cyclic.mrcnn.layers.network import Network
from cyclic.mrcnn.weights import downloads, h5
from cyclic.mrcnn.weights.h5 import leaf_layers
from cyclic.networks import Models, _Everything, mask_rcnn_config, precision, starting_weights
from cyclic.trained import adapting, load_classifier, load_mask_rcnn, load_own_classifier, stored_config, write_finished

SMALL = ("mask_rcnn.width=[16, 16, 16, 16]", "mask_rcnn.crop=64", "detection.max_instances=8", "detection.proposals=16")


@pytest.fixture(scope="module")
def models():
    return Models(load_config((), SMALL))


def values(model):
    return {name: [np.array(weight) for weight in layer.get_weights()] for name, layer in leaf_layers(model).items()}


def same(first, second):
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_configuration_reaches_mask_rcnn():
    overrides = ("mask_rcnn.crop=128", "mask_rcnn.rois=7", "detection.score=0.6", "rounds.ignore_score=0.2", "scale=3")
    config = mask_rcnn_config(
        load_config((), (*overrides, "backbone.norm=frozen", "detection.max_instances=9", "detection.tile=128"))
    )
    assert config.IMAGE_MIN_DIM == config.IMAGE_MAX_DIM == 128 and config.IMAGE_MIN_SCALE == 3
    assert config.TRAIN_ROIS_PER_IMAGE == 7 and config.DETECTION_MAX_INSTANCES == 9
    assert config.DETECTION_MIN_CONFIDENCE == 0.2 and config.norm() == "frozen" and config.NUM_CLASSES == 2


def test_a_larger_tile_has_more_proposals_and_detections():
    config = mask_rcnn_config(load_config((), ("detection.tile=512", "detection.proposals=300")))
    assert config.POST_NMS_ROIS_INFERENCE == 1200 and config.DETECTION_MAX_INSTANCES == 1600


def test_mask_margin_widths_and_both_suppressions_reach_mask_rcnn():
    overrides = ("detection.mask_margin=0.1", "mask_rcnn.width=matterport", "detection.box_iou=0.6")
    config = mask_rcnn_config(load_config((), (*overrides, "detection.mask_iou=0.4")))
    assert config.DETECTION_MASK_MARGIN == 0.1
    assert (config.TOP_DOWN_PYRAMID_SIZE, config.RPN_CHANNELS, config.MASK_CHANNELS) == (256, 512, 256)
    assert config.DETECTION_NMS_THRESHOLD == 0.6  # masks are compared afterwards, by detection.mask_iou


def test_the_papers_recipe_reaches_mask_rcnn():
    ours, paper = (mask_rcnn_config(load_config((), (f"mask_rcnn.recipe={recipe}",))) for recipe in ("nuclei", "paper"))
    assert (tuple(paper.MINI_MASK_SHAPE), paper.MAX_GT_INSTANCES, paper.WARMUP_STEPS) == ((56, 56), 200, 0)
    assert paper.RPN_NMS_THRESHOLD_TRAINING == 0.9 and not paper.USE_GT_PROPOSALS
    assert (tuple(ours.MINI_MASK_SHAPE), ours.MAX_GT_INSTANCES, ours.WARMUP_STEPS) == ((28, 28), 128, 50)
    assert ours.RPN_NMS_THRESHOLD_TRAINING is None and ours.USE_GT_PROPOSALS
    assert ours.RPN_NMS_THRESHOLD == paper.RPN_NMS_THRESHOLD == 0.7


def test_more_proposals_are_kept_in_training_than_in_detection():
    models = Models(load_config((), (*SMALL, "mask_rcnn.recipe=paper", "mask_rcnn.batch=1")))
    training, detection = models.trainer(0, 1).keras_model, models.detector.keras_model
    assert (training.get_layer("ROI").nms_threshold, detection.get_layer("ROI").nms_threshold) == (0.9, 0.7)


def test_a_run_starts_from_public_weights_in_every_layer_that_fits(tmp_path, monkeypatch):
    """A ResNet-101 with Mask R-CNN of other classes, as COCO's file is, gives a ResNet-50 its backbone and pyramid."""
    settings = (*SMALL, "backbone.name=resnet101", "backbone.norm=frozen")
    config = mask_rcnn_config(load_config((), settings))
    config.NUM_CLASSES = 81
    public = Network(config, build_backbone("resnet101", norm="frozen"))
    h5.save_weights(tmp_path / "coco.h5", public)
    asked = []
    monkeypatch.setattr(downloads, "fetch_cached", lambda key: asked.append(key) or tmp_path / "coco.h5")
    started = Models(
        load_config((), (*SMALL, "backbone.name=resnet50", "backbone.norm=frozen", "backbone.weights=coco"))
    )
    ours, theirs = values(_Everything(started.classifier, started.network)), values(public)
    loaded = {name for name in ours if name in theirs and ours[name] and same(ours[name], theirs[name])}
    assert asked == ["coco"] and {name for name in values(started.backbone)} <= {*loaded, *no_weights(started.backbone)}
    assert "fpn_c5p5" in loaded and "rpn_conv_shared" in loaded and "mrcnn_class_logits" not in loaded


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_a_classifier_starts_from_imagenet(tmp_path, monkeypatch):
    public = keras.applications.VGG16(weights=None, include_top=False)
    with h5py.File(tmp_path / "vgg16.h5", "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, public)
    monkeypatch.setattr(downloads, "fetch_cached", {"vgg16": tmp_path / "vgg16.h5"}.get)
    settings = ("backbone={name: vgg16, norm: frozen, weights: imagenet}", "classifier.levels=[C5]", "maps.level=C5")
    started = values(Models(load_config((), (*SMALL, *settings))).classifier)
    theirs = {layer.name: layer.get_weights() for layer in public.layers if layer.weights}
    assert len(theirs) == 13 and theirs.keys() < started.keys()
    # Theirs took blue first.
    theirs["block1_conv1"][0] = theirs["block1_conv1"][0][:, :, ::-1]
    assert all(same(started[name], theirs[name]) for name in theirs)


def no_weights(model):
    return {name for name, weights in values(model).items() if not weights}


@pytest.mark.parametrize(("name", "weights", "key"), [("vgg16", "imagenet", "vgg16"), ("resnet101", "coco", "coco")])
def test_public_weights_that_cannot_be_had_say_where_to_put_them(tmp_path, monkeypatch, name, weights, key):
    def no_network(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setenv("CYCLIC_CACHE", str(tmp_path))
    monkeypatch.setattr("urllib.request.urlopen", no_network)
    config = load_config((), (f"backbone.name={name}", "backbone.norm=frozen", f"backbone.weights={weights}"))
    with pytest.raises(InputError, match="no route to host.*try again, or put the file at") as error:
        starting_weights(config)
    assert str(tmp_path / downloads.FILES[key].name) in str(error.value) and "\n" not in str(error.value)
    assert starting_weights(load_config((), ("backbone.weights=mine.h5",))) == Path("mine.h5")


@pytest.mark.parametrize(("optimizer", "schedule"), [("adamw", "cosine"), ("sgd", "constant")])
def test_the_schedule_follows_the_optimizer(optimizer, schedule):
    assert schedule == mask_rcnn_config(load_config((), (f"mask_rcnn.optimizer={optimizer}",))).LR_SCHEDULE


def test_classifier_and_mask_rcnn_hold_the_same_backbone_layers(models):
    classifier, network = leaf_layers(models.classifier), leaf_layers(models.network)
    shared = classifier.keys() & network.keys()
    assert len(shared) == 10 and all(classifier[name] is network[name] for name in shared)
    assert shared == {
        name
        for name in leaf_layers(models.backbone)
        if not name.startswith(("res3", "res4", "res5", "bn3", "bn4", "bn5"))
    }
    assert models.detector.network is models.trainer(0, 1).network is models.network


def test_files_carry_the_backbone_from_one_to_the_other(models, tmp_path):
    layer = leaf_layers(models.backbone)["conv1"]
    head = leaf_layers(models.classifier)["head_c2_logits"]
    mask = leaf_layers(models.network)["mrcnn_mask"]
    before = values(models.classifier) | values(models.network)
    models.save_classifier(tmp_path / "classifier.weights.h5")
    models.save_mask_rcnn(tmp_path / "model.weights.h5")
    for each in (layer, head, mask):
        each.set_weights([weight + 1 for weight in each.get_weights()])
    models.load(tmp_path / "classifier.weights.h5")
    assert same(layer.get_weights(), before["conv1"]) and same(head.get_weights(), before["head_c2_logits"])
    assert not same(mask.get_weights(), before["mrcnn_mask"])
    layer.set_weights([weight + 1 for weight in layer.get_weights()])
    models.load(tmp_path / "model.weights.h5")
    assert same(layer.get_weights(), before["conv1"]) and same(mask.get_weights(), before["mrcnn_mask"])


def test_later_file_wins_where_both_hold_the_layer(models, tmp_path):
    layer = leaf_layers(models.backbone)["conv1"]
    models.save_classifier(tmp_path / "old.h5")
    layer.set_weights([weight + 1 for weight in layer.get_weights()])
    models.save_mask_rcnn(tmp_path / "new.h5")
    newer = layer.get_weights()
    models.load(tmp_path / "old.h5", tmp_path / "new.h5")
    assert same(layer.get_weights(), newer)


def test_model_file_alone_is_enough_to_predict(models, tmp_path):
    path = tmp_path / "model.weights.h5"
    models.save_mask_rcnn(path)
    model, config = load_mask_rcnn(path)
    assert config.detection == models.config.detection and model.mode == "inference"
    assert config.mask_rcnn.width == models.config.mask_rcnn.width
    stored, loaded = values(models.network), values(model.network)
    assert model.network is not models.network
    assert stored.keys() == loaded.keys() and all(same(stored[name], loaded[name]) for name in stored)


def test_a_file_holds_what_prediction_needs_and_no_more(models, tmp_path):
    models.save_mask_rcnn(tmp_path / "model.weights.h5")
    stored = json.loads(h5.read_attributes(tmp_path / "model.weights.h5")["run_config"])
    assert stored["mask_rcnn"].keys() == {"width", "anchor_scales"} and stored["tiles"].keys() == {"size"}
    assert not {"seed", "cycles", "supervision", "pseudo"} & stored.keys()
    assert "weights" not in stored["backbone"]


def test_a_file_of_the_first_version_is_read(models, tmp_path):
    path = tmp_path / "model.weights.h5"
    widths = {key: 16 for key in ("pyramid_channels", "rpn_channels", "mask_channels", "fc_size")}
    retired = {"ignore_rest": True, "agreement": True}
    old = OLD | {"segmenter": OLD["segmenter"] | widths, "pseudo": OLD["pseudo"] | retired}
    old["backbone"] = OLD["backbone"] | {"weights": "/nowhere/start.h5"}  # what the run began with is not needed
    h5.save_weights(path, models.network, {"run_config": json.dumps(old)})
    model, config = load_mask_rcnn(path)
    assert config.mask_rcnn.widths == (16, 16, 16, 16) and config.detection.box_iou == 0.7
    stored, loaded = values(models.network), values(model.network)
    assert all(same(stored[name], loaded[name]) for name in stored)


@pytest.mark.parametrize("layer", ["mrcnn_mask", "conv1"])
def test_a_file_without_one_of_its_layers_is_no_model(models, tmp_path, layer):
    path = tmp_path / "model.weights.h5"
    models.save_mask_rcnn(path)
    with h5py.File(path, "r+") as file:
        names = [name for name in file.attrs["layer_names"] if np.asarray(name).astype(str) != layer]
        assert len(names) == len(file.attrs["layer_names"]) - 1
        file.attrs["layer_names"] = names
        del file[layer]
    with pytest.raises(InputError, match=f"model.weights.h5: lacks 1 layers of its own network, e.g. {layer}"):
        load_mask_rcnn(path)


def stored_settings(*settings):
    return {"run_config": json.dumps(load_config((), (*SMALL, *settings)).model_dump(mode="json"))}


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("backbone.name=resnet34", "lacks 32 layers of its own network, e.g. res2c_branch2a"),
        ("backbone.name=resnet50", "its settings are of another network than its weights .other shapes in layer "),
        ("backbone.norm=batch", "its settings are of another network than its weights .other shapes in layer bn"),
        ("mask_rcnn.width=tiny", "its settings are of another network than its weights .other shapes in layer fpn"),
    ],
)
def test_settings_of_another_network_than_the_weights_are_named(models, tmp_path, setting, message):
    path = tmp_path / "model.weights.h5"
    h5.save_weights(path, models.network, stored_settings(setting))
    with pytest.raises(InputError, match=f"model.weights.h5: {message}"):
        load_mask_rcnn(path)


def test_weights_of_more_layers_than_the_settings_know_are_named(tmp_path):
    """A resnet34 has every layer of a resnet18, in its shape."""
    path = tmp_path / "model.weights.h5"
    large = Models(load_config((), (*SMALL, "backbone.name=resnet34")))
    h5.save_weights(path, large.network, stored_settings())
    with pytest.raises(InputError, match="settings are of another network than its weights .they have no res2c_branch"):
        load_mask_rcnn(path)
    large.save_classifier(path)
    with pytest.raises(InputError, match="no classifier of this run .4 layers too many, e.g. res2c"):
        load_classifier(path, load_config((), SMALL))


@pytest.mark.parametrize(
    ("content", "message"), [("{broken", "its settings are not valid JSON"), ("[1]", "holds no settings")]
)
def test_broken_settings_are_one_line(models, tmp_path, content, message):
    path = tmp_path / "model.weights.h5"
    h5.save_weights(path, models.network, {"run_config": content})
    with pytest.raises(InputError, match=f"model.weights.h5: {message}"):
        load_mask_rcnn(path)


def test_a_run_does_not_start_from_a_backbone_with_a_hole(models, tmp_path):
    path = tmp_path / "start.h5"
    h5.save_weights(path, models.backbone)  # no layer of Mask R-CNN's own, which is no fault
    Models(load_config((), (*SMALL, f"backbone.weights={path}")))
    with h5py.File(path, "r+") as file:
        file.attrs["layer_names"] = [name for name in file.attrs["layer_names"] if name != b"conv1"]
    with pytest.raises(
        InputError, match="start.h5: lacks 1 layers of the backbone, e.g. conv1; give weights of the network"
    ):
        Models(load_config((), (*SMALL, f"backbone.weights={path}")))


def test_other_detection_settings(models, tmp_path):
    path = tmp_path / "model.weights.h5"
    models.save_mask_rcnn(path)
    model, config = load_mask_rcnn(path, ("detection.score=0.05", "detection.tile=100"))
    # A smaller tile brings a smaller overlap.
    assert (config.detection.score, config.detection.tile, config.detection.overlap) == (0.05, 100, 50)
    # The network itself has to let detections of that score through.
    assert model.config.DETECTION_MIN_CONFIDENCE == 0.05
    _, config = load_mask_rcnn(path, ("detection.tile=100", "detection.overlap=70"))
    assert config.detection.overlap == 70
    with pytest.raises(InputError, match="detection.score = 2"):
        load_mask_rcnn(path, ("detection.score=2",))
    with pytest.raises(InputError, match="scale=3: a trained model takes detection.key=value alone"):
        load_mask_rcnn(path, ("scale=3",))
    for tiles in (("detection.tile=1",), ("detection.tile=64", "detection.overlap=60")):
        with pytest.raises(InputError, match="detection.tile"):
            load_mask_rcnn(path, tiles)


def test_a_model_knows_its_resolution_and_of_an_old_one_is_said_what_is_assumed(models, tmp_path, recwarn):
    path = tmp_path / "model.weights.h5"
    models.save_mask_rcnn(path)
    assert json.loads(h5.read_attributes(path)["run_config"])["mpp"] == 0.25
    assert load_mask_rcnn(path)[1].mpp == 0.25 and load_mask_rcnn(path, ("mpp=0.5",))[1].mpp == 0.5
    old = json.loads(h5.read_attributes(path)["run_config"])
    del old["mpp"]
    h5.save_weights(path, models.network, {"run_config": json.dumps(old)})
    assert load_mask_rcnn(path, ("mpp=0.5",))[1].mpp == 0.5 and not recwarn.list
    with pytest.warns(UserWarning, match="does not say the resolution .* taken for 0.25 µm per pixel .* --set mpp="):
        assert load_mask_rcnn(path)[1].mpp == 0.25
    for mpp in ("0", "-1", ".nan", ".inf"):
        with pytest.raises(InputError, match="mpp = "):
            load_mask_rcnn(path, (f"mpp={mpp}",))


def test_run_starts_from_the_weights_given(models, tmp_path):
    models.save_mask_rcnn(tmp_path / "start.h5")
    again = Models(load_config((), (*SMALL, "seed=5", f"backbone.weights={tmp_path / 'start.h5'}")))
    assert same(values(again.backbone)["conv1"], values(models.backbone)["conv1"])


def test_same_seed_same_weights_other_seed_other_weights(models):
    first, again, other = (Models(load_config((), (*SMALL, f"seed={seed}"))).backbone for seed in (3, 3, 4))
    assert same(values(first)["conv1"], values(again)["conv1"])
    assert not same(values(first)["conv1"], values(other)["conv1"])


def test_missing_file_and_file_of_another_kind(models, tmp_path):
    with pytest.raises(InputError, match="no.h5: no such weights file"):
        load_mask_rcnn(tmp_path / "no.h5")
    models.save_classifier(tmp_path / "classifier.h5")
    with pytest.raises(InputError, match="classifier.h5: holds no run configuration; give model.weights.h5"):
        load_mask_rcnn(tmp_path / "classifier.h5")


@pytest.mark.parametrize(
    ("flags", "policy"),
    [("sse avx2", "float32"), ("avx2 avx512_bf16", "mixed_bfloat16"), ("amx_bf16", "mixed_bfloat16")],
)
def test_precision_follows_the_processor(monkeypatch, flags, policy):
    lines = f"model name\t: a processor\nflags\t\t: {flags}\n"
    monkeypatch.setattr("builtins.open", lambda *_: io.StringIO(lines))
    assert precision(load_config()) == policy
    assert precision(load_config((), ("precision=mixed_float16",))) == "mixed_float16"


def test_the_finished_file_holds_a_classifier_whose_backbone_is_its_own(models, tmp_path):
    model, classifier, best = (tmp_path / name for name in ("model.h5", "classifier.h5", "best.h5"))
    layer = leaf_layers(models.backbone)["conv1"]
    models.save_classifier(classifier)
    answered = values(models.classifier)
    layer.set_weights([weight + 1 for weight in layer.get_weights()])  # Mask R-CNN trains on
    models.save_mask_rcnn(model)
    detected = values(models.network)
    write_finished(best, model, classifier)
    network, config = load_mask_rcnn(best)
    own = load_own_classifier(best, config)
    assert all(same(detected[name], values(network.network)[name]) for name in detected)
    assert answered.keys() == values(own).keys() and all(same(answered[name], values(own)[name]) for name in answered)
    assert not same(values(own)["conv1"], values(network.network)["conv1"])
    # The judge of a run has a backbone of its own, too, and is built once.
    judge = models.load_judge(classifier)
    assert judge is models.load_judge(classifier) and same(values(judge)["conv1"], answered["conv1"])
    assert same(leaf_layers(models.backbone)["conv1"].get_weights(), detected["conv1"])


def test_a_file_without_a_classifier_has_none(models, tmp_path):
    models.save_mask_rcnn(tmp_path / "model.h5")
    write_finished(tmp_path / "best.h5", tmp_path / "model.h5", None)
    for name in ("model.h5", "best.h5"):
        assert load_own_classifier(tmp_path / name, models.config) is None
    assert (tmp_path / "best.h5").read_bytes() == (tmp_path / "model.h5").read_bytes()


def test_a_classifier_that_lacks_a_layer_is_named(models, tmp_path):
    models.save_mask_rcnn(tmp_path / "model.h5")
    write_finished(tmp_path / "best.h5", tmp_path / "model.h5", tmp_path / "model.h5")
    with pytest.raises(InputError, match="best.h5: .*missing, e.g. head_"):
        load_own_classifier(tmp_path / "best.h5", models.config)


@pytest.mark.parametrize("test", ["first", "second"])
def test_every_test_begins_with_the_usual_number_format(test):
    assert keras.config.dtype_policy().name == "float32"
    keras.config.set_dtype_policy("mixed_bfloat16")


def test_adapting_is_one_short_cycle_in_which_detections_do_not_teach_the_classifier():
    model = str(weights_file("he-nuclei"))
    config = adapting(model, ["mask_rcnn.later_steps=7"])
    assert (config.cycles, config.start, config.mask_rcnn.later_steps) == (1, model, 7)
    assert not config.has_feedback and stored_config(model).has_feedback
