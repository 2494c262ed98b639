"""A network that a program puts together from Matterport's functions and layers gives Matterport's numbers."""

import runpy

import keras
import numpy as np
import pytest
from golden import PARITY, ParityConfig, golden_file, needs_parity
from keras import layers as KL
from keras import ops
from tiny_model import TinyConfig

from cyclic.mrcnn import model as modellib
from cyclic.mrcnn import utils
from cyclic.mrcnn.weights.h5 import load_weights

LEVELS = range(2, 6)


def build_pyramid(features, channels):
    """Return [P2 .. P6] of [C2 .. C5], written as programs write it."""
    laterals = [KL.Conv2D(channels, 1, name=f"fpn_c{i}p{i}")(c) for i, c in zip(LEVELS, features, strict=True)]
    maps = [laterals[3]]
    for level in (4, 3, 2):
        maps.insert(0, KL.Add()([KL.UpSampling2D()(maps[0]), laterals[level - 2]]))
    maps = [KL.Conv2D(channels, 3, padding="same", name=f"fpn_p{i}")(x) for i, x in zip(LEVELS, maps, strict=True)]
    return [*maps, KL.MaxPooling2D(1, strides=2)(maps[-1])]


def build_inference(config):
    """Return the model [image, meta, anchors] -> [detections, class, bbox, mask, rois, rpn class, rpn bbox]."""
    image = KL.Input((None, None, 3), name="input_image")
    meta = KL.Input((config.IMAGE_META_SIZE,), name="input_image_meta")
    anchors = KL.Input((None, 4), name="input_anchors")
    _, *features = modellib.resnet_graph(image, config.BACKBONE, stage5=True, train_bn=config.TRAIN_BN)
    pyramid = build_pyramid(features, config.TOP_DOWN_PYRAMID_SIZE)
    rpn = modellib.build_rpn_model(
        config.RPN_ANCHOR_STRIDE, len(config.RPN_ANCHOR_RATIOS), config.TOP_DOWN_PYRAMID_SIZE
    )
    levels = [rpn([p]) for p in pyramid]
    _, rpn_class, rpn_bbox = (KL.Concatenate(axis=1)(list(parts)) for parts in zip(*levels, strict=True))
    rois = modellib.ProposalLayer(
        proposal_count=config.POST_NMS_ROIS_INFERENCE, nms_threshold=config.RPN_NMS_THRESHOLD, name="ROI", config=config
    )([rpn_class, rpn_bbox, anchors])
    _, probabilities, deltas = modellib.fpn_classifier_graph(
        rois,
        pyramid[:4],
        meta,
        config.POOL_SIZE,
        config.NUM_CLASSES,
        train_bn=config.TRAIN_BN,
        fc_layers_size=config.FPN_CLASSIF_FC_LAYERS_SIZE,
    )
    detections = modellib.DetectionLayer(config, name="mrcnn_detection")([rois, probabilities, deltas, meta])
    boxes = KL.Lambda(lambda x: x[..., :4])(detections)
    masks = modellib.build_fpn_mask_graph(
        boxes, pyramid[:4], meta, config.MASK_POOL_SIZE, config.NUM_CLASSES, train_bn=config.TRAIN_BN
    )
    outputs = [detections, probabilities, deltas, masks, rois, rpn_class, rpn_bbox]
    return keras.Model([image, meta, anchors], outputs, name="mask_rcnn")


@pytest.fixture(scope="module")
def golden():
    return golden_file("infer")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("functions") / "matterport.h5"
    runpy.run_path(str(PARITY / "make_weights.py"))["main"](str(path))
    model = build_inference(ParityConfig())
    report = load_weights(path, model)
    assert not report.missing and not report.unused
    return model


@pytest.fixture(scope="module")
def outputs(model, golden):
    names = ("detections", "mrcnn_class", "mrcnn_bbox", "mrcnn_mask", "rpn_rois", "rpn_class", "rpn_bbox")
    inputs = [golden[name].astype("float32") for name in ("molded", "meta")]
    found = model.predict([*inputs, golden["anchors"][None].astype("float32")], verbose=0)
    return dict(zip(names, found, strict=True))


@needs_parity
@pytest.mark.parametrize("name", ["rpn_class", "rpn_bbox", "detections"])
def test_outputs_in_order(outputs, golden, name):
    np.testing.assert_allclose(outputs[name], golden[name], rtol=0, atol=1e-4)


@needs_parity
def test_proposals_and_what_the_heads_say_of_them(outputs, golden):
    distances = np.abs(outputs["rpn_rois"][0][:, None] - golden["rpn_rois"][0][None]).max(axis=-1)
    order = distances.argmin(axis=0)
    assert distances.min(axis=0).max() < 1e-4 and sorted(order) == list(range(len(order)))
    for name in ("mrcnn_class", "mrcnn_bbox"):
        np.testing.assert_allclose(outputs[name][0][order], golden[name][0], rtol=0, atol=1e-4)


@needs_parity
def test_masks(outputs, golden):
    np.testing.assert_allclose(outputs["mrcnn_mask"][0, :20], golden["mrcnn_mask"][0], rtol=0, atol=1e-4)


@needs_parity
def test_layers_have_matterports_names(model):
    names = {layer.name for layer in model.layers}
    assert {"conv1", "bn_conv1", "res2a_branch1", "res4f_out", "res5c_out", "rpn_model", "ROI"} <= names
    assert {"roi_align_classifier", "mrcnn_class_conv1", "mrcnn_class_logits", "roi_align_mask", "mrcnn_mask"} <= names


@needs_parity
@pytest.mark.parametrize(
    "name, arguments",
    [
        ("rpn_class", ("rpn_match", "rpn_class_logits")),
        ("rpn_bbox", ("rpn_target_bbox", "rpn_match", "rpn_bbox")),
        ("mrcnn_class", ("target_class_ids", "pred_class_logits", "active_class_ids")),
        ("mrcnn_bbox", ("target_bbox", "target_class_ids", "pred_bbox")),
        ("mrcnn_mask", ("target_mask", "target_class_ids", "pred_masks")),
    ],
)
@pytest.mark.parametrize("symbolic", [False, True])
def test_losses(name, arguments, symbolic):
    golden = golden_file("losses")
    loss = getattr(modellib, f"{name}_loss_graph")
    arrays = [golden[argument] for argument in arguments]
    first = (ParityConfig(),) if name == "rpn_bbox" else ()
    if symbolic:
        inputs = [keras.Input(batch_shape=array.shape, dtype=str(array.dtype)) for array in arrays]
        layer = KL.Lambda(lambda parts: loss(*first, *parts), output_shape=())
        value = keras.Model(inputs, layer(inputs))(arrays)
    else:
        value = loss(*first, *arrays)
    assert float(ops.convert_to_numpy(value)) == pytest.approx(float(golden[f"loss_{name}"]), abs=1e-4)


class AllTargets(ParityConfig):
    """No sub-sampling."""

    TRAIN_ROIS_PER_IMAGE = 400
    USE_MINI_MASK = False


@pytest.fixture(scope="module")
def truth():
    """Recorded proposals and ground truth: proposals, class ids, boxes and masks of one image."""
    golden = golden_file("targets")
    boxes = ops.convert_to_numpy(modellib.norm_boxes_graph(golden["gt_boxes"].astype("float32"), (256, 256)))
    masks = golden["gt_label"][..., None] == golden["kept_ids"]
    return golden["proposals"].astype("float32"), np.ones(len(boxes), "int32"), boxes, masks


@needs_parity
@pytest.mark.parametrize("whole_batch", [False, True])
def test_detection_targets(truth, whole_batch):
    golden, config = golden_file("targets"), AllTargets()
    if whole_batch:
        batch = [np.stack([part, part]) for part in truth]
        outputs = [output[1] for output in modellib.DetectionTargetLayer(config)(batch)]
    else:
        outputs = modellib.detection_targets_graph(*truth, config)
    rois, class_ids, deltas, masks = map(ops.convert_to_numpy, outputs)
    count = len(golden["pos_rois"])
    assert (class_ids[:count] == 1).all() and not class_ids[count:].any()
    assert rois.shape == deltas.shape == (400, 4) and masks.shape == (400, 28, 28)
    order = np.lexsort(rois[:count].T)
    np.testing.assert_allclose(rois[:count][order], golden["pos_rois"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(deltas[:count][order], golden["pos_deltas"], rtol=0, atol=1e-4)
    expected = np.unpackbits(golden["pos_masks"])[: np.prod(golden["pos_masks_shape"])]
    np.testing.assert_array_equal(masks[:count][order].ravel(), expected)
    assert not deltas[count:].any() and not masks[count:].any()
    real = rois.any(axis=1)
    assert real[:count].all() and 0 < real.sum() - count <= int(count / 0.33) - count
    assert (np.diff(real.astype(int)) <= 0).all()


@needs_parity
def test_an_image_without_positive_rois_has_no_rois_at_all(truth):
    proposals, class_ids, boxes, masks = truth
    far = np.float32([[0.0, 0.0, 0.01, 0.01]])
    outputs = modellib.detection_targets_graph(far, class_ids, boxes, masks, AllTargets())
    assert not any(ops.convert_to_numpy(output).any() for output in outputs)


def test_targets_of_one_image_serve_a_layer_of_a_users_own():
    """Programs change Matterport's layer by calling its function for each image of the batch."""
    if keras.backend.backend() == "jax":
        pytest.skip("JAX would draw the same ROIs in each call, and Keras says so")
    config = TinyConfig()

    class Targets(KL.Layer):
        def call(self, inputs):
            return utils.batch_slice(list(inputs), lambda *parts: modellib.detection_targets_graph(*parts, config), 2)

    rng = np.random.default_rng(0)
    corner = rng.random((2, 6, 2)) * 0.5
    boxes = np.concatenate([corner, corner + 0.3], axis=-1).astype("float32")
    arrays = [np.tile(boxes, (1, 3, 1)), np.ones((2, 6), "int32"), boxes, np.ones((2, 14, 14, 6), bool)]
    inputs = [keras.Input(batch_shape=array.shape, dtype=str(array.dtype)) for array in arrays]
    rois, class_ids, _, masks = keras.Model(inputs, Targets()(inputs)).predict(arrays, batch_size=2, verbose=0)
    assert rois.shape == (2, 9, 4) and class_ids.tolist() == [[1, 1, *[0] * 7]] * 2 and masks[:, :2].all()


def test_each_image_of_a_batch_has_anchors_of_its_own():
    rng = np.random.default_rng(0)
    corner = rng.random((2, 12, 2)) * 0.8
    anchors = np.concatenate([corner, corner + 0.1], axis=-1).astype("float32")
    scores, deltas = rng.random((2, 12, 2)).astype("float32"), np.zeros((2, 12, 4), "float32")
    layer = modellib.ProposalLayer(5, 0.7, config=TinyConfig())
    together = ops.convert_to_numpy(layer([scores, deltas, anchors]))
    for index in range(2):
        alone = layer([part[index : index + 1] for part in (scores, deltas, anchors)])
        np.testing.assert_allclose(together[index], ops.convert_to_numpy(alone)[0])
    assert (together[0] != together[1]).any()


def test_detections_of_one_image_are_those_of_the_layer():
    config, rng = TinyConfig(), np.random.default_rng(1)
    corner = rng.random((1, 20, 2)) * 0.8
    rois = np.concatenate([corner, corner + 0.2], axis=-1).astype("float32")
    probabilities = rng.random((1, 20, 2)).astype("float32")
    deltas = rng.normal(size=(1, 20, 2, 4)).astype("float32") * 0.1
    meta = modellib.compose_image_meta(0, (50, 64, 3), (64, 64, 3), (7, 0, 57, 64), 1.0, [0, 1])[None].astype("float32")
    batch = ops.convert_to_numpy(modellib.DetectionLayer(config)([rois, probabilities, deltas, meta]))
    window = ops.convert_to_numpy(modellib.norm_boxes_graph(np.float32([7, 0, 57, 64]), (64, 64)))
    alone = modellib.refine_detections_graph(rois[0], probabilities[0], deltas[0], window, config)
    np.testing.assert_array_equal(batch[0], ops.convert_to_numpy(alone))
    assert (batch[0, :, 4] == 1).any() and batch[0, :, 0].min() >= window[0] > 0.1


def test_level_of_a_roi_follows_the_size_that_the_description_gives():
    """A ROI of the whole image comes from P4 where the image has 224 pixels, from P5 where it has 448."""
    maps = [np.full((1, side, side, 1), level, "float32") for level, side in zip(LEVELS, (64, 32, 16, 8), strict=True)]
    for side, level in ((224, 4), (448, 5), (112, 3)):
        meta = modellib.compose_image_meta(0, (side, side, 3), (side, side, 3), (0, 0, side, side), 1, [1, 1])[None]
        pooled = modellib.PyramidROIAlign([2, 2])([np.float32([[[0, 0, 1, 1]]]), meta.astype("float32"), *maps])
        np.testing.assert_array_equal(ops.convert_to_numpy(pooled), np.full((1, 1, 2, 2, 1), level))


def test_pooling_to_an_oblong_is_refused():
    with pytest.raises(ValueError, match=r"pool_shape = \(7, 14\)"):
        modellib.PyramidROIAlign([7, 14])


def test_resnet_without_its_last_stage_and_of_another_kind():
    image = keras.Input((64, 64, 3))
    features = modellib.resnet_graph(image, "resnet50")
    assert [None if x is None else x.shape[1:] for x in features] == [
        (16, 16, 64), (16, 16, 256), (8, 8, 512), (4, 4, 1024), None
    ]  # fmt: skip
    with pytest.raises(ValueError, match="architecture = 'vgg16'"):
        modellib.resnet_graph(image, "vgg16")


@pytest.mark.parametrize("train_bn, count", [(True, 2 * 7), (None, 2 * 7), (False, 0)])
def test_train_bn_freezes_or_trains_the_normalisation_of_a_block(train_bn, count):
    x = keras.Input((8, 8, 6))
    block = modellib.identity_block(x, 3, [4, 5, 6], stage=2, block="b", use_bias=False, train_bn=train_bn)
    model = keras.Model(x, modellib.conv_block(block, 5, [4, 5, 7], 3, "a", use_bias=False, train_bn=train_bn))
    names = {layer.name for layer in model.layers}
    assert {"res2b_branch2a", "bn2b_branch2c", "res2b_out", "res3a_branch1", "bn3a_branch1", "res3a_out"} <= names
    assert model.get_layer("res3a_branch2b").kernel.shape == (5, 5, 4, 5) and model.output_shape == (None, 4, 4, 7)
    trained = [weight for weight in model.trainable_weights if weight.name in ("gamma", "beta")]
    assert len(trained) == count


def test_batch_norm_takes_its_mode_at_the_call():
    layer, x = modellib.BatchNorm(name="bn"), np.float32([[1.0], [3.0]])
    stored = ops.convert_to_numpy(layer(x, training=False))
    np.testing.assert_allclose(stored, x / np.sqrt(1.001), rtol=1e-6)
    np.testing.assert_allclose(ops.convert_to_numpy(layer(x, training=True)), [[-1], [1]], rtol=1e-3)


def test_rpn_on_a_tensor_gives_what_its_model_gives():
    feature_map = keras.Input((4, 6, 8))
    model = keras.Model(feature_map, modellib.rpn_graph(feature_map, 3, 2))
    other = modellib.build_rpn_model(2, 3, 8)
    other.set_weights(model.get_weights())
    assert other.name == "rpn_model" and model.get_layer("rpn_conv_shared").filters == 512
    x = np.random.default_rng(0).normal(size=(2, 4, 6, 8)).astype("float32")
    for one, two in zip(model(x), other([x]), strict=True):
        assert one.shape[:2] == (2, 2 * 3 * 3)
        np.testing.assert_array_equal(ops.convert_to_numpy(one), ops.convert_to_numpy(two))
