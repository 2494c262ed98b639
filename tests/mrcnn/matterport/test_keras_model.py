"""`MaskRCNN.keras_model` as Matterport's programs use it: weights, layers, inputs and outputs by name."""

import logging

import h5py
import keras
import numpy as np
import pytest
from tiny_model import InferenceConfig, OneImage, TinyConfig, small_network

from cyclic.errors import InputError
from cyclic.mrcnn import model as modellib
from cyclic.mrcnn import utils
from cyclic.mrcnn.layers.losses import LOSS_NAMES
from cyclic.mrcnn.layers.network import Network
from cyclic.mrcnn.weights.h5 import leaf_layers

MODES = [("training", TinyConfig), ("inference", InferenceConfig)]


def new_model(mode, config, network=None):
    return modellib.MaskRCNN(mode, config(), network=network or small_network(config()))


def calm(model):
    """Let the RPN give small deltas and scores of which no two are equal, and return the model."""
    for name in ("rpn_class_raw", "rpn_bbox_pred"):
        kernel = model.network.rpn.get_layer(name).kernel
        kernel.assign(kernel * 0.01)
    return model


def values(model):
    return {name: layer.get_weights() for name, layer in leaf_layers(model.network).items()}


def same(first, second):
    """Names of the layers whose weights are equal in both."""
    return {name for name in first if all((a == b).all() for a, b in zip(first[name], second[name], strict=True))}


def without(path, name, target):
    """Copy a weights file without the layer `name`."""
    with h5py.File(path) as old, h5py.File(target, "w") as new:
        names = [group for group in old.attrs["layer_names"] if group.decode() != name]
        new.attrs["layer_names"] = names
        for group in names:
            old.copy(group, new)
    return target


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    model = calm(new_model("inference", InferenceConfig))
    model.network.box_head.get_layer("mrcnn_class_logits").bias.assign([-2.0, 2.0])
    return model


@pytest.fixture(scope="module")
def image():
    return OneImage().image[:50, :70]


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "mask_rcnn.h5"
    model.keras_model.save_weights(path)
    return path


@pytest.fixture(params=MODES, ids=lambda mode: mode[0])
def other(request):
    """A model of each mode, of its own weights."""
    return new_model(*request.param)


# --- weights ---


@pytest.mark.parametrize("by_name", [True, False])
def test_every_layer_is_loaded_in_both_modes(model, saved, other, by_name, caplog):
    report = other.keras_model.load_weights(str(saved), by_name=by_name)
    assert len(report.loaded) == len(leaf_layers(other.network)) and not report.missing and not report.unused
    assert same(values(other), values(model)) == set(values(model)) and not caplog.records


def test_checkpoints_load_by_order_as_keras_2_did(model, tmp_path):
    model.save_weights(tmp_path / "checkpoint.h5")
    other = new_model("inference", InferenceConfig)
    other.keras_model.load_weights(tmp_path / "checkpoint.h5")
    assert same(values(other), values(model)) == set(values(model))


def test_missing_layers_are_told_by_name_and_refused_without(saved, other, tmp_path, caplog):
    before, path = values(other), without(saved, "rpn_model", tmp_path / "no_rpn.h5")
    with pytest.raises(InputError, match=r"no_rpn\.h5: lacks 3 of \d+ layers, e\.g\. rpn_.*; load .* by_name=True"):
        other.keras_model.load_weights(path)
    assert same(before, values(other)) == set(before)
    with caplog.at_level(logging.WARNING, logger="cyclic"):
        report = other.keras_model.load_weights(path, by_name=True)
    assert set(report.missing) == {"rpn_conv_shared", "rpn_class_raw", "rpn_bbox_pred"}
    assert "3 not in the file" in caplog.text and "as they were: rpn_conv_shared, rpn_class_raw" in caplog.text
    with pytest.raises(InputError, match="none of its layers"):
        other.keras_model.load_weights(_file_of_another_network(tmp_path), by_name=True)


def _file_of_another_network(folder):
    with h5py.File(folder / "other.h5", "w") as file:
        file.attrs["layer_names"] = [b"a"]
        file.create_group("a").attrs["weight_names"] = [b"a/kernel:0"]
        file["a"].create_dataset("a/kernel:0", data=np.zeros(2))
    return folder / "other.h5"


def test_layers_of_another_shape_are_refused_or_skipped_and_told(saved, tmp_path, caplog):
    config = type("Classes", (InferenceConfig,), {"NUM_CLASSES": 5})
    other = new_model("inference", config)
    before = values(other)
    with pytest.raises(InputError, match="layer mrcnn_class_logits has shapes"):
        other.keras_model.load_weights(saved, by_name=True)
    assert same(before, values(other)) == set(before)
    with caplog.at_level(logging.WARNING, logger="cyclic"):
        report = other.keras_model.load_weights(saved, by_name=True, skip_mismatch=True)
    assert set(report.mismatched) == {"mrcnn_class_logits", "mrcnn_bbox_fc", "mrcnn_mask"} and not report.missing
    assert "3 of another shape" in caplog.text and "mrcnn_bbox_fc" in caplog.text
    assert {"mrcnn_class_logits", "mrcnn_mask"} <= same(before, values(other))


def test_a_file_is_not_overwritten_where_the_program_says_so(model, saved):
    with pytest.raises(InputError, match=r"mask_rcnn\.h5: is there already"):
        model.keras_model.save_weights(saved, overwrite=False)


def test_report_is_short_at_the_end_of_a_cell(model, saved):
    count = len(leaf_layers(model.network))
    assert repr(model.load_weights(saved)).startswith(f"LoadReport({count} layers loaded, 0 not in the file")


# --- layers ---

NAMES = """
    input_image conv1 bn_conv1 res2a_branch2a bn2a_branch2a res2b_out res4b_out res5b_out fpn_c5p5 fpn_p5upsampled
    fpn_c4p4 fpn_p4add fpn_p2 fpn_p5 fpn_p6 rpn_model rpn_conv_shared rpn_class_raw rpn_bbox_pred rpn_class_logits
    rpn_class rpn_bbox ROI mrcnn_class_conv1 mrcnn_class_bn1 mrcnn_class_conv2 mrcnn_class_bn2 pool_squeeze
    mrcnn_class_logits mrcnn_class mrcnn_bbox_fc mrcnn_bbox mrcnn_mask_conv1 mrcnn_mask_bn1 mrcnn_mask_conv4
    mrcnn_mask_bn4 mrcnn_mask_deconv mrcnn_mask
""".split()  # noqa: SIM905


@pytest.fixture(scope="module")
def resnet():
    return Network(TinyConfig())


@pytest.mark.parametrize("mode, more", [("training", []), ("inference", ["input_anchors", "mrcnn_detection"])])
def test_layers_have_matterports_names(resnet, mode, more):
    keras_model = new_model(mode, dict(MODES)[mode], resnet).keras_model
    for name in [*NAMES, "input_image_meta", "roi_align_classifier", "roi_align_mask", *more]:
        layer = keras_model.get_layer(name)
        assert layer.output is not None
    names = [layer.name for layer in keras_model.layers]
    assert {"conv1", "res4b_out", "fpn_p2", "rpn_model", "mrcnn_class_logits"} <= set(names) and len(names) > 100
    assert keras_model.get_layer(index=3) is keras_model.layers[3]
    with pytest.raises(ValueError, match="no layer is named 'fpn_p7'; similar names: fpn_p"):
        keras_model.get_layer("fpn_p7")


def test_a_loss_is_an_output_and_no_layer(resnet):
    keras_model = new_model("training", TinyConfig, resnet).keras_model
    with pytest.raises(ValueError, match=r"is an output and no layer: use keras_model\.output\['mrcnn_bbox_loss'\]"):
        keras_model.get_layer("mrcnn_bbox_loss")
    assert keras_model.output["mrcnn_bbox_loss"].shape == (1,)


def test_freezing_layers_of_keras_model_freezes_the_network(resnet):
    model = new_model("training", TinyConfig, resnet)
    for layer in model.keras_model.layers:
        layer.trainable = not layer.name.startswith("res2")
    trained = {weight.path.split("/")[0] for weight in model.keras_model.trainable_weights}
    assert "res3a_branch2a" in trained and "res2a_branch2a" not in trained
    resnet.backbone.trainable = True


def test_a_layer_of_the_heads_keeps_the_images_and_rois_apart(model, image):
    shapes = {
        "roi_align_classifier": (2, 20, 7, 7, 16),
        "mrcnn_class_conv1": (2, 20, 1, 1, 32),
        "mrcnn_class_logits": (2, 20, 2),
        "mrcnn_bbox": (2, 20, 2, 4),
        "mrcnn_mask_bn1": (2, 8, 14, 14, 16),
        "mrcnn_mask_deconv": (2, 8, 28, 28, 16),
        "mrcnn_mask": (2, 8, 28, 28, 2),
    }
    outputs = [(name, model.keras_model.get_layer(name).output) for name in shapes]
    found = model.run_graph([image, image[:, ::-1]], outputs)
    assert {name: value.shape for name, value in found.items()} == shapes
    np.testing.assert_allclose(found["mrcnn_mask"][0], model.run_graph([image], outputs)["mrcnn_mask"][0], atol=1e-5)


def test_a_layer_has_the_weights_of_the_network_and_leads_to_its_layer(model):
    for name in ("conv1", "mrcnn_class_logits", "mrcnn_mask", "mrcnn_mask_deconv"):
        layer, inner = model.keras_model.get_layer(name), leaf_layers(model.network)[name]
        assert model.find_trainable_layer(layer) is inner
        for ours, theirs in zip(layer.get_weights(), inner.get_weights(), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_keras_builds_a_model_of_features_from_inputs_and_a_layer(model, image):
    keras_model = model.keras_model
    features = keras.Model(keras_model.input, keras_model.get_layer("res4").output)
    molded, metas, _ = model.mold_inputs([image])
    found = features.predict([molded, metas, model.get_anchors(molded.shape[1:])[None]], verbose=0)
    np.testing.assert_allclose(found, model.network.backbone.predict_on_batch(molded)[2], atol=1e-5)


# --- inputs and outputs ---


def test_inputs_and_outputs_are_matterports(model):
    keras_model = model.keras_model
    assert keras_model.input_names == ["input_image", "input_image_meta", "input_anchors"]
    assert [tensor.name for tensor in keras_model.inputs] == keras_model.input_names
    assert keras_model.output_names == [
        "mrcnn_detection",
        "mrcnn_class",
        "mrcnn_bbox",
        "mrcnn_mask",
        "ROI",
        "rpn_class",
        "rpn_bbox",
    ]
    training = new_model("training", type("NoIgnore", (TinyConfig,), {"USE_IGNORE": False})).keras_model
    assert training.input_names == [
        "input_image",
        "input_image_meta",
        "input_rpn_match",
        "input_rpn_bbox",
        "input_gt_class_ids",
        "input_gt_boxes",
        "input_gt_masks",
    ]
    assert set(training.output_names) == {"losses"} and len(training.outputs) == len(LOSS_NAMES)


def test_predict_takes_and_gives_matterports_lists(model, image):
    molded, metas, windows = model.mold_inputs([image, image[::-1]])
    anchors = np.broadcast_to(model.get_anchors(molded.shape[1:]), (2, *model.anchors.shape))
    found = model.keras_model.predict([molded, metas, anchors], verbose=0)
    detections, mrcnn_class, mrcnn_bbox, mrcnn_mask, rpn_rois, rpn_class, rpn_bbox = found
    inputs = {"image": molded, "window": utils.norm_boxes(windows, molded.shape[1:3])}
    expected = model.keras_model.predict_on_batch(inputs)
    pairs = {
        "detections": detections,
        "mrcnn_class": mrcnn_class,
        "mrcnn_bbox": mrcnn_bbox,
        "rpn_rois": rpn_rois,
        "rpn_class": rpn_class,
        "rpn_bbox": rpn_bbox,
    }
    for name, value in pairs.items():
        np.testing.assert_allclose(value, expected[name], atol=1e-4, err_msg=name)
    for index, one in enumerate(model.detect([image, image[::-1]])):
        boxes, _, scores, masks = model.unmold_detections(
            detections[index], mrcnn_mask[index], image.shape, molded[index].shape, windows[index]
        )
        np.testing.assert_array_equal(boxes, one["rois"])
        np.testing.assert_allclose(scores, one["scores"], atol=1e-5)
        assert (masks != one["masks"]).mean() < 1e-3


def test_training_takes_the_list_of_matterports_generator():
    config = type("NoIgnore", (TinyConfig,), {"USE_IGNORE": False})
    keras_model = new_model("training", config).keras_model
    (batch,) = modellib.DataGenerator(OneImage(), config())[0]
    names = ("image", "image_meta", "rpn_match", "rpn_target_bbox", "gt_class_ids", "gt_boxes")
    given = [*(batch[name] for name in names), np.moveaxis(batch["gt_masks"], 1, -1).astype(bool)]
    expected = keras_model.predict_on_batch(batch)
    found = keras_model.predict_on_batch(given)
    # The losses of the heads depend on the ROIs drawn.
    for name in ("rpn_class_loss", "rpn_bbox_loss"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-4)
    keras_model.compile(optimizer=keras.optimizers.SGD(1e-3))
    logs = keras_model.train_on_batch(given, return_dict=True)
    assert np.isfinite(list(logs.values())).all() and logs["mrcnn_mask_loss"] > 0
    with pytest.raises(InputError, match="9 inputs, .* takes 7: input_image, .*; leave out random_rois"):
        keras_model([*given, np.zeros((1, 5, 4)), np.zeros((1, 5, 4))])


# --- what the notebooks look up ---


def test_anchors_are_there_after_detection(image):
    model = new_model("inference", InferenceConfig)
    with pytest.raises(AttributeError, match="no anchors before the first detect"):
        model.anchors  # noqa: B018
    model.detect([image])
    np.testing.assert_array_equal(utils.norm_boxes(model.anchors, (64, 128)), model.get_anchors((64, 128, 3)))


def test_steps_of_the_proposals_lead_to_the_proposals(model, image):
    pillar = model.keras_model.get_layer("ROI").output
    steps = ("pre_nms_anchors", "refined_anchors", "refined_anchors_clipped", "rpn_non_max_suppression")
    outputs = [(name, model.ancestor(pillar, f"ROI/{name}:0")) for name in steps]
    outputs.append(("v3", model.ancestor(pillar, "ROI/rpn_non_max_suppression/NonMaxSuppressionV3:0")))
    found = model.run_graph([image], [*outputs, ("proposals", pillar), ("probabilities", "rpn_class")])
    anchors = model.anchors[np.argsort(-found["probabilities"][0, :, 1], kind="stable")[:100]]
    np.testing.assert_allclose(
        np.sort(found["pre_nms_anchors"][0], axis=0), np.sort(utils.norm_boxes(anchors, (64, 128)), axis=0), atol=1e-5
    )
    clipped = found["refined_anchors_clipped"][0]
    np.testing.assert_array_equal(clipped, np.clip(found["refined_anchors"][0], 0, 1))
    kept = clipped[found["rpn_non_max_suppression"]]
    np.testing.assert_array_equal(found["v3"], found["rpn_non_max_suppression"])
    np.testing.assert_array_equal(kept, found["proposals"][0, : len(kept)])
    assert not found["proposals"][0, len(kept) :].any() and len(kept) <= 20


def test_indices_end_with_the_last_proposal(image):
    config = type("Many", (InferenceConfig,), {"POST_NMS_ROIS_INFERENCE": 90, "RPN_NMS_THRESHOLD": 0.2})
    model = calm(new_model("inference", config))
    pillar = model.keras_model.get_layer("ROI").output
    nms = model.ancestor(pillar, "ROI/rpn_non_max_suppression:0")
    found = model.run_graph([image], [("kept", nms), ("proposals", pillar)])
    assert 0 < len(found["kept"]) == found["proposals"][0].any(axis=-1).sum() < 90


def test_operations_that_are_gone_are_refused_with_a_hint(model, image):
    pillar = model.keras_model.get_layer("ROI").output
    assert model.ancestor(pillar, "ROI/top_anchors:1") is None
    with pytest.raises(ValueError, match="top: None is no output; .*ROI/ and one of pre_nms_anchors"):
        model.run_graph([image], [("top", model.ancestor(pillar, "ROI/top_anchors:1"))])


def test_the_rpn_gives_its_outputs_for_each_level(model, image):
    found = model.run_graph([image], [("rpn", model.keras_model.get_layer("rpn_model").output)])["rpn"]
    assert [level[1].shape for level in found] == [(1, 3 * h * 2 * h, 2) for h in (16, 8, 4, 2, 1)]


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.identity needs TensorFlow")
def test_identity_of_tensorflow_passes_a_layers_output(model, image):
    import tensorflow as tf

    found = model.run_graph([image], [("image", tf.identity(model.keras_model.get_layer("input_image").output))])
    np.testing.assert_array_equal(found["image"], model.mold_inputs([image])[0])
    np.testing.assert_array_equal(tf.identity(tf.ones(3)), np.ones(3))
