"""What a program written for Matterport's Mask R-CNN calls beside training and detection."""

import re

import h5py
import keras
import numpy as np
import pytest
from keras import ops
from keras.src.legacy.saving import legacy_h5_format
from tiny_model import InferenceConfig, OneImage, TinyConfig, small_network

from cyclic.backbones import build_backbone
from cyclic.errors import InputError
from cyclic.mrcnn import model as modellib
from cyclic.mrcnn import utils
from cyclic.mrcnn.config import Config
from cyclic.mrcnn.data.dataset import Dataset
from cyclic.mrcnn.weights import downloads, imagenet
from cyclic.mrcnn.weights import h5 as weights


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    model = modellib.MaskRCNN("inference", InferenceConfig(), network=small_network(InferenceConfig()))
    model.network.box_head.get_layer("mrcnn_class_logits").bias.assign([-2.0, 2.0])
    return model


@pytest.fixture(scope="module")
def image():
    return OneImage().image[:50, :70]


@pytest.fixture(scope="module")
def graph(model, image):
    """What `run_graph` gives for tensors, layers, layers inside parts and outputs."""
    layer = model.keras_model.get_layer
    return model.run_graph(
        [image],
        [
            ("proposals", layer("ROI").output),
            ("probabilities", layer("rpn_class").output),
            ("detections", "mrcnn_detection"),
            ("c4", "res4"),
            ("c5", model.network.backbone.outputs[-1]),
            ("p3", "fpn_p3"),
            ("raw", "rpn_class_raw"),
            ("scores", "mrcnn_class"),
            ("masks", "mrcnn_mask"),
        ],
    )


# --- a look inside ---


def test_run_graph_gives_what_the_layers_compute(model, image, graph):
    molded, metas, windows = model.mold_inputs([image])
    features = model.network.backbone.predict_on_batch(molded)
    np.testing.assert_allclose(graph["c4"], features[2], atol=1e-5)
    np.testing.assert_allclose(graph["c5"], features[3], atol=1e-5)
    np.testing.assert_allclose(graph["p3"], model.network.fpn.predict_on_batch(features)[1], atol=1e-5)
    outputs = model.keras_model.predict_on_batch(
        {"image": molded, "window": utils.norm_boxes(windows, molded.shape[1:3])}
    )
    for name, output in (("proposals", "rpn_rois"), ("probabilities", "rpn_class"), ("scores", "mrcnn_class")):
        np.testing.assert_allclose(graph[name], outputs[output], atol=1e-4)
    np.testing.assert_allclose(graph["detections"], outputs["detections"], atol=1e-4)
    assert graph["detections"][..., 4].any()


def test_masks_of_the_graph_are_those_of_detection(model, image, graph):
    molded, metas, windows = model.mold_inputs([image])
    (expected,) = model.predict_molded(molded, metas)[1]
    assert graph["masks"].shape == (1, 8, 28, 28, 2)
    np.testing.assert_allclose(graph["masks"][0, : len(expected), ..., 1], expected, atol=1e-4)


def test_a_layer_of_the_rpn_gives_one_array_a_level(graph):
    assert [level.shape for level in graph["raw"]] == [(1, h, 2 * h, 6) for h in (16, 8, 4, 2, 1)]


def test_results_are_printed(model, image, capsys):
    model.run_graph([image], [("roi", "ROI")])
    assert re.match(r"roi +shape: \(1, 20, 4\) +min: +0.0+ +max: +[01]\.\d+ +float32\n", capsys.readouterr().out)


def test_molded_images_come_with_their_metas(model, image, graph):
    molded, metas, _ = model.mold_inputs([image])
    again = model.run_graph(molded, [("proposals", "ROI")], image_metas=metas)
    np.testing.assert_allclose(again["proposals"], graph["proposals"], atol=1e-5)


def test_training_graph_shows_all_that_needs_no_ground_truth():
    config = TinyConfig()
    training = modellib.MaskRCNN("training", config, network=small_network(config))
    images, metas = np.zeros((1, 64, 64, 3), np.float32), np.zeros((1, config.IMAGE_META_SIZE))
    found = training.run_graph(images, [("roi", training.keras_model.get_layer("ROI").output)], image_metas=metas)
    assert found["roi"].shape == (1, 20, 4)
    with pytest.raises(ValueError, match="depends on .*'gt_boxes'.*: use the inference mode"):
        training.run_graph(images, [("rois", "proposal_targets")], image_metas=metas)


def test_unknown_layer(model, image):
    with pytest.raises(ValueError, match="no layer and no output is named 'res9z_out'"):
        model.run_graph([image], [("x", "res9z_out")])
    with pytest.raises(ValueError, match="not a tensor of this model"):
        model.run_graph([image], [("x", keras.layers.Dense(2)(keras.Input((2,))))])


def test_ancestor_is_the_nearest_output_of_that_layer(model):
    proposals = model.keras_model.get_layer("ROI").output
    assert model.ancestor(proposals, "rpn_class") is model.keras_model.get_layer("rpn_class").output
    assert model.ancestor(proposals, "rpn_model:2").shape[-1] == 4
    assert model.ancestor(proposals, "fpn:1").shape[-1] == 16
    assert model.ancestor(proposals, "mrcnn_detection") is None
    assert model.ancestor(proposals, "ROI/refined_anchors:0") is None


def test_layers_with_weights(model):
    layers = model.get_trainable_layers()
    names = [layer.name for layer in layers]
    assert {"conv1", "res5", "fpn_c5p5", "rpn_class_raw", "mrcnn_class_logits", "mrcnn_mask"} <= set(names)
    assert len(set(names)) == len(names) and all(layer.get_weights() for layer in layers)
    wrapped = keras.layers.TimeDistributed(keras.layers.TimeDistributed(layers[0]))
    assert model.find_trainable_layer(wrapped) is layers[0] is model.find_trainable_layer(layers[0])


def test_anchors_normalized_and_in_pixels(model, image):
    anchors = model.get_anchors((64, 128, 3))
    assert anchors.shape == (3 * (16 * 32 + 8 * 16 + 4 * 8 + 2 * 4 + 1 * 2), 4)
    np.testing.assert_allclose(anchors, utils.norm_boxes(model.anchors, (64, 128)), atol=1e-6)


def test_names_at_their_usual_places(capsys):
    modellib.log("image", np.arange(4))
    modellib.log("done")
    assert capsys.readouterr().out.splitlines()[1] == "done"
    config = InferenceConfig()
    assert modellib.compute_backbone_shapes(config, (64, 128, 3)).tolist()[0] == [16, 32]
    assert modellib.load_image_gt(OneImage(), config, 0)[0].shape == (128, 128, 3)


# --- public weights ---


def test_coco_and_imagenet_are_taken_from_the_cache(model, monkeypatch, tmp_path):
    asked = []
    model.save_weights(tmp_path / "public.h5")
    monkeypatch.setattr(downloads, "cached", lambda key: asked.append(key) or tmp_path / "public.h5")
    resnet = type("ResNetConfig", (InferenceConfig,), {"BACKBONE": "resnet50", "NORM": None})()
    monkeypatch.setattr(model, "config", resnet)
    assert not model.load_weights("coco").missing and not model.load_weights("imagenet").missing
    assert asked == ["coco", "resnet50"] and model.epoch == 0
    assert model.get_imagenet_weights() == str(tmp_path / "public.h5")


@pytest.mark.parametrize(
    "backbone, norm, message",
    [
        ("resnet18", "batch", "no ImageNet weights for the backbone 'resnet18'; use one of resnet50, resnet101, vgg16"),
        ("resnet50", "group", "ImageNet weights of resnet50 need NORM = frozen or batch, not group"),
        ("vgg16", "batch", "ImageNet weights of vgg16 need NORM = frozen, not batch"),
    ],
)
def test_backbones_without_imagenet_weights(model, monkeypatch, backbone, norm, message):
    monkeypatch.setattr(model, "config", type("Other", (InferenceConfig,), {"BACKBONE": backbone, "NORM": norm})())
    with pytest.raises(InputError, match=re.escape(message)):
        model.load_weights("imagenet")


def randomized(network, seed=0):
    """Give every weight of a model random values, variances and scales around 1."""
    rng = np.random.default_rng(seed)
    for weight in network.weights:
        if weight.name in ("gamma", "moving_variance"):
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
        else:
            fan = max(np.prod(weight.shape[:-1]), 1)
            weight.assign(rng.normal(0, (2 / fan) ** 0.5 if weight.name == "kernel" else 0.1, weight.shape))
    return network


def keras_file(path, network):
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, network)
    return path


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_resnet50_of_keras_gives_its_features(tmp_path):
    """Stem and stages apart, for Keras pads the max-pooling between them in another way."""
    reference = randomized(keras.applications.ResNet50(weights=None, include_top=False, input_shape=(64, 64, 3)))
    backbone = build_backbone("resnet50", norm="frozen")
    report = weights.load_weights(keras_file(tmp_path / "resnet50.h5", reference), backbone)
    assert not report.missing and not report.unused
    rgb = np.random.default_rng(1).normal(0, 50, (1, 64, 64, 3)).astype("float32")
    stem, pooled = (backbone.get_layer(name).output for name in ("conv1_relu", "pool1"))
    stem, pooled = keras.Model(backbone.input, [stem, pooled]).predict_on_batch(rgb)
    expected = keras.Model(reference.input, reference.get_layer("conv1_relu").output).predict_on_batch(rgb[..., ::-1])
    np.testing.assert_allclose(stem, expected, rtol=1e-4, atol=1e-3)
    ends = ("conv2_block3_out", "conv3_block4_out", "conv4_block6_out", "conv5_block3_out")
    outputs = [reference.get_layer(name).output for name in ends]
    stages = keras.Model(reference.get_layer("pool1_pool").output, outputs)
    for ours, keras_own in zip(backbone(rgb), stages(pooled), strict=True):
        ours, keras_own = ops.convert_to_numpy(ours), ops.convert_to_numpy(keras_own)
        assert np.abs(ours - keras_own).max() < 1e-4 * np.abs(keras_own).max() > 0


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_vgg16_of_keras_gives_its_features(tmp_path):
    reference = randomized(keras.applications.VGG16(weights=None, include_top=False, input_shape=(32, 32, 3)))
    backbone = build_backbone("vgg16", norm="frozen")
    report = weights.load_weights(keras_file(tmp_path / "vgg16.h5", reference), backbone)
    assert not report.missing and not report.unused
    rgb = np.random.default_rng(1).normal(0, 50, (1, 32, 32, 3)).astype("float32")
    expected = ops.convert_to_numpy(reference(rgb[..., ::-1]))
    found = ops.convert_to_numpy(backbone(rgb)[-1])
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max() > 0


def test_own_vgg16_file_is_not_turned(tmp_path):
    backbone = build_backbone("vgg16", norm="frozen")
    kernel = backbone.get_layer("block1_conv1").kernel.numpy()
    weights.save_weights(tmp_path / "own.h5", backbone)
    weights.load_weights(tmp_path / "own.h5", backbone)
    np.testing.assert_array_equal(backbone.get_layer("block1_conv1").kernel.numpy(), kernel)


@pytest.mark.parametrize(
    "theirs, ours",
    [
        ("conv1_conv", "conv1"),
        ("conv1_bn", "bn_conv1"),
        ("conv2_block1_0_conv", "res2a_branch1"),
        ("conv3_block4_1_bn", "bn3d_branch2a"),
        ("conv4_block23_2_conv", "res4w_branch2b"),
        ("conv5_block3_3_bn", "bn5c_branch2c"),
        ("predictions", "predictions"),
    ],
)
def test_names_of_resnet_layers(theirs, ours):
    assert imagenet._our_name(theirs) == ours


# --- configuration and data ---


def test_rois_from_outside_are_refused():
    with pytest.raises(InputError, match="USE_RPN_ROIS = False: .*remove this setting"):
        type("Debug", (Config,), {"USE_RPN_ROIS": False})()


def test_more_gpus_make_a_larger_batch():
    assert type("Two", (TinyConfig,), {"GPU_COUNT": 2, "IMAGES_PER_GPU": 3})().BATCH_SIZE == 6


def test_a_data_set_without_load_mask_has_no_instances():
    masks, class_ids = Dataset().load_mask(0)
    assert masks.shape == (0, 0, 0) and class_ids.shape == (0,) and class_ids.dtype == np.int32
