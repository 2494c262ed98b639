"""Outputs equal those of Matterport's Mask R-CNN on the same weights, layer by layer and end to end."""

import runpy

import numpy as np
import pytest
from golden import PARITY, ParityConfig, golden_file, needs_parity
from keras import ops

from cyclic.mrcnn.geometry.boxes import normalize_boxes
from cyclic.mrcnn.layers import losses
from cyclic.mrcnn.layers.anchors import PyramidAnchors
from cyclic.mrcnn.layers.roi_targets import DetectionTargetLayer
from cyclic.mrcnn.model import MaskRCNN

pytestmark = needs_parity

BACKBONE_OUTPUTS = ("res2c_out", "res3d_out", "res4f_out", "res5c_out")


def unpacked(bits, shape):
    return np.unpackbits(bits)[: np.prod(shape)].reshape(shape).astype(bool)


@pytest.fixture(scope="module")
def golden():
    return golden_file("infer")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The model in inference mode, its weights read from a file in Matterport's layout."""
    path = tmp_path_factory.mktemp("parity") / "matterport.h5"
    runpy.run_path(str(PARITY / "make_weights.py"))["main"](str(path))
    model = MaskRCNN(mode="inference", config=ParityConfig())
    report = model.load_weights(path)
    assert not report.missing and not report.unused
    return model


@pytest.fixture(scope="module")
def outputs(model, golden):
    """Every output of the network for the golden image."""
    image = golden["molded"].astype("float32")
    found = model.keras_model.predict_on_batch({"image": image, "window": np.float32([[0, 0, 1, 1]])})
    features = model.network.backbone.predict_on_batch(image)
    levels = model.network.fpn.predict_on_batch(features)
    return {
        **found,
        **dict(zip(BACKBONE_OUTPUTS, features, strict=True)),
        **{f"fpn_p{level}": value for level, value in enumerate(levels, 2)},
    }


# --- the network ---


@pytest.mark.parametrize("name", [*BACKBONE_OUTPUTS, "fpn_p2", "fpn_p3", "fpn_p4", "fpn_p5", "fpn_p6"])
def test_feature_maps(outputs, golden, name):
    fine = name in (*BACKBONE_OUTPUTS, "fpn_p2", "fpn_p3")
    found = outputs[name][:, ::4, ::4, ::16] if fine else outputs[name][..., ::8]
    assert np.abs(found - golden[name]).max() < 1e-3 * golden[name].std()


@pytest.mark.parametrize("name", ["rpn_class", "rpn_bbox", "detections"])
def test_outputs_in_order(outputs, golden, name):
    np.testing.assert_allclose(outputs[name], golden[name], rtol=0, atol=1e-4)


def roi_distances(outputs, golden):
    return np.abs(outputs["rpn_rois"][0][:, None] - golden["rpn_rois"][0][None]).max(axis=-1)


def test_proposals_as_a_set(outputs, golden):
    distances = roi_distances(outputs, golden)
    assert distances.min(axis=0).max() < 1e-4 and distances.min(axis=1).max() < 1e-4


@pytest.mark.parametrize("name", ["mrcnn_class", "mrcnn_bbox"])
def test_outputs_of_each_proposal(outputs, golden, name):
    # Nearly equal scores may swap two proposals.
    order = roi_distances(outputs, golden).argmin(axis=0)
    assert sorted(order) == list(range(len(order)))
    np.testing.assert_allclose(outputs[name][0][order], golden[name][0], rtol=0, atol=1e-4)


def test_masks(model, outputs, golden):
    pyramid = {f"p{level}": outputs[f"p{level}"] for level in range(2, 6)}
    boxes = golden["detections"][:, :20, :4]
    masks = model._mask_model.predict_on_batch({"boxes": boxes, **pyramid})
    np.testing.assert_allclose(masks, golden["mrcnn_mask"][0], rtol=0, atol=1e-4)


def test_anchors(golden):
    config = ParityConfig()
    layer = PyramidAnchors(config.RPN_ANCHOR_SCALES, config.RPN_ANCHOR_RATIOS, config.BACKBONE_STRIDES)
    anchors = ops.convert_to_numpy(layer(golden["molded"].astype("float32")))[0]
    np.testing.assert_allclose(anchors, golden["anchors"], rtol=0, atol=1e-6)


# --- end to end ---


def test_molded_image(model, golden):
    molded, metas, windows = model.mold_inputs([golden["image"]])
    np.testing.assert_allclose(molded, golden["molded"], atol=1e-4)
    np.testing.assert_array_equal(metas, golden["meta"])
    np.testing.assert_array_equal(windows, golden["window"])


def test_detect(model, golden):
    (found,) = model.detect([golden["image"]])
    np.testing.assert_array_equal(found["rois"], golden["detect_rois"])
    np.testing.assert_array_equal(found["class_ids"], golden["detect_class_ids"])
    np.testing.assert_allclose(found["scores"], golden["detect_scores"], rtol=0, atol=1e-4)
    expected = unpacked(golden["detect_masks_packed"], golden["detect_masks_shape"])
    assert expected.any()
    np.testing.assert_array_equal(found["masks"][..., :20], expected)


# --- training ---


@pytest.mark.parametrize(
    "loss, arguments, name",
    [
        (losses.rpn_class_loss, ("rpn_match", "rpn_class_logits"), "rpn_class"),
        (losses.rpn_bbox_loss, ("rpn_target_bbox", "rpn_match", "rpn_bbox"), "rpn_bbox"),
        (losses.mrcnn_class_loss, ("target_class_ids", "pred_class_logits", "active_class_ids"), "mrcnn_class"),
        (losses.mrcnn_bbox_loss, ("target_bbox", "target_class_ids", "pred_bbox"), "mrcnn_bbox"),
        (losses.mrcnn_mask_loss, ("target_mask", "target_class_ids", "pred_masks"), "mrcnn_mask"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_losses(loss, arguments, name):
    golden = golden_file("losses")
    value = float(ops.convert_to_numpy(loss(*(golden[argument] for argument in arguments))))
    assert value == pytest.approx(float(golden[f"loss_{name}"]), abs=1e-4)


def test_positive_detection_targets():
    golden = golden_file("targets")
    gt_boxes = normalize_boxes(golden["gt_boxes"].astype("float32"), (256, 256))
    gt_masks = (golden["gt_label"] == golden["kept_ids"][:, None, None]).astype("uint8")
    layer = DetectionTargetLayer(
        400, 0.33, (28, 28), ParityConfig.BBOX_STD_DEV, use_mini_mask=False, ignore_overlap=0.3
    )
    outputs = layer(golden["proposals"][None], np.ones((1, 31), "int32"), gt_boxes[None], gt_masks[None])
    rois, class_ids, weights, deltas, masks, _ = (ops.convert_to_numpy(output)[0] for output in outputs)
    positive = weights[:132] > 0
    rois = rois[:132][positive]
    order = np.lexsort(rois.T)
    assert (class_ids[:132] == positive).all()
    np.testing.assert_allclose(rois[order], golden["pos_rois"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(deltas[positive][order], golden["pos_deltas"], rtol=0, atol=1e-4)
    expected = unpacked(golden["pos_masks"], golden["pos_masks_shape"])
    np.testing.assert_array_equal(masks[positive][order] > 0.5, expected)
    negatives = (golden["proposals"].any(axis=-1)).sum() - positive.sum()
    assert 0 < weights[132:].sum() <= negatives
