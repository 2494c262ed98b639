"""A look inside `MaskRCNN`: intermediate outputs, anchors, layers, and where its public weights come from."""

import re

import keras
import numpy as np
import pytest
from tiny_model import InferenceConfig, OneImage, TinyConfig, small_network

from cyclic.errors import InputError
from cyclic.mrcnn import model as modellib
from cyclic.mrcnn import utils
from cyclic.mrcnn.weights import downloads


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
    with pytest.raises(ValueError, match="no layer is named 'res9'; similar names: res5, res4"):
        model.run_graph([image], [("x", "res9")])
    with pytest.raises(ValueError, match="x: .* is not a tensor of this model"):
        model.run_graph([image], [("x", keras.layers.Dense(2)(keras.Input((2,))))])


def test_ancestor_is_the_nearest_output_of_that_layer(model):
    proposals = model.keras_model.get_layer("ROI").output
    assert model.ancestor(proposals, "rpn_class") is model.keras_model.get_layer("rpn_class").output
    assert model.ancestor(proposals, "rpn_model:2").shape[-1] == 4
    assert model.ancestor(proposals, "fpn_p3").shape[-1] == 16
    assert model.ancestor(proposals, "mrcnn_detection") is None


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
    monkeypatch.setattr(downloads, "fetch_cached", lambda key: asked.append(key) or tmp_path / "public.h5")
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
