"""The parts of Mask R-CNN, and the training and inference graphs built from them.

Shape shorthand: B images, A anchors, G ground-truth slots, T ROIs trained on, P positive ones, D detections,
K classes with background, M mask side.
"""

import keras
from keras import ops

from cyclic.backbones import build_backbone
from cyclic.errors import InputError
from cyclic.mrcnn.data.molding import read_meta
from cyclic.mrcnn.geometry.boxes import normalize_boxes
from cyclic.mrcnn.kernels.devices import replicas
from cyclic.mrcnn.layers.anchors import PyramidAnchors
from cyclic.mrcnn.layers.detections import DetectionLayer
from cyclic.mrcnn.layers.fpn import build_fpn
from cyclic.mrcnn.layers.heads import build_box_head, build_mask_head
from cyclic.mrcnn.layers.losses import LOSS_NAMES, LossLayer
from cyclic.mrcnn.layers.named_model import INPUT_NAMES, NamedModel
from cyclic.mrcnn.layers.proposals import ProposalLayer
from cyclic.mrcnn.layers.roi_align import PyramidROIAlign
from cyclic.mrcnn.layers.roi_targets import DetectionTargetLayer
from cyclic.mrcnn.layers.rpn import build_rpn
from cyclic.mrcnn.layers.sampled_anchors import SampledAnchors

# Names of the pyramid levels that ROIs are pooled from; P6 serves the RPN alone.
MASK_LEVELS = ("p2", "p3", "p4", "p5")
# Of P2..P6, pixels of the image a cell.
STRIDES = [4, 8, 16, 32, 64]


def _check(config):
    """Raise InputError for a setting that would end in an error of Keras."""
    scales, strides = len(config.RPN_ANCHOR_SCALES), list(config.BACKBONE_STRIDES)
    name = {"square": "IMAGE_MAX_DIM", "crop": "IMAGE_MIN_DIM"}.get(config.IMAGE_RESIZE_MODE)
    side = (getattr(config, name) or 0) if name else 0
    rules = (
        (config.NUM_CLASSES >= 1, f"NUM_CLASSES = {config.NUM_CLASSES}: give 1 for background, and 1 for each class"),
        (len(config.RPN_ANCHOR_RATIOS) > 0, "RPN_ANCHOR_RATIOS is empty: give one ratio or more"),
        (
            scales == len(strides) and strides in (STRIDES, STRIDES[1:]),
            f"{scales} RPN_ANCHOR_SCALES and BACKBONE_STRIDES {strides}: give a scale for each of {STRIDES}, or for "
            f"each of {STRIDES[1:]}",
        ),
        (side % 64 == 0, f"{name} = {side}: give a multiple of 64"),
    )
    for holds, rule in rules:
        if not holds:
            raise InputError(rule)


class Network:
    """Backbone, FPN, RPN and heads of one Mask R-CNN; every graph built from it shares their weights.

    Args:
        config: `cyclic.mrcnn.config.Config`.
        backbone: model from an image to [C2, C3, C4, C5], e.g. the classifier's; None builds `config.BACKBONE`.

    Raises:
        InputError: the backbone takes another number of channels than IMAGE_CHANNEL_COUNT, or a setting fits no
            network.
    """

    def __init__(self, config, backbone=None):
        _check(config)
        norm, channels = config.norm(), config.TOP_DOWN_PYRAMID_SIZE
        if backbone is None:
            if callable(config.BACKBONE):
                backbone = config.BACKBONE(norm=norm)
            else:
                shape = (None, None, config.IMAGE_CHANNEL_COUNT)
                backbone = build_backbone(config.BACKBONE, norm=norm, input_shape=shape)
        if backbone.input.shape[-1] != config.IMAGE_CHANNEL_COUNT:
            raise InputError(
                f"the backbone takes {backbone.input.shape[-1]} channels and IMAGE_CHANNEL_COUNT = "
                f"{config.IMAGE_CHANNEL_COUNT}; build the backbone for as many"
            )
        self.config, self.backbone = config, backbone
        self.fpn = build_fpn([output.shape[-1] for output in backbone.outputs], channels)
        self.rpn = build_rpn(config.RPN_ANCHOR_STRIDE, len(config.RPN_ANCHOR_RATIOS), channels, config.RPN_CHANNELS)
        self.box_head = build_box_head(
            config.NUM_CLASSES, config.POOL_SIZE, channels, norm, config.FPN_CLASSIF_FC_LAYERS_SIZE
        )
        self.mask_head = build_mask_head(
            config.NUM_CLASSES, config.MASK_POOL_SIZE, channels, norm, config.MASK_CHANNELS
        )

    @property
    def layers(self):
        """The parts as a list, so that functions which walk through a model's layers take a `Network`, too."""
        return [self.backbone, self.fpn, self.rpn, self.box_head, self.mask_head]

    def propose(self, image, proposal_count, nms_threshold=None):
        """Return `(pyramid [P2..P6], rpn logits, rpn probabilities, rpn deltas, proposals)` of an image tensor.

        `nms_threshold` stands in for the configuration's RPN_NMS_THRESHOLD.
        """
        config = self.config
        pyramid = self.fpn(self.backbone(image))
        logits, probabilities, deltas = join_levels([self.rpn(level) for level in self.proposing(pyramid)])
        anchors = PyramidAnchors(
            config.RPN_ANCHOR_SCALES,
            config.RPN_ANCHOR_RATIOS,
            config.BACKBONE_STRIDES,
            config.RPN_ANCHOR_STRIDE,
            name="anchors",
        )(image)
        proposals = proposal_layer(config, proposal_count, nms_threshold)(probabilities, deltas, anchors)
        return pyramid, logits, probabilities, deltas, proposals

    def proposing(self, pyramid):
        """Return the levels of `[P2..P6]` with anchors: all, or all but the finest."""
        return pyramid[-len(self.config.BACKBONE_STRIDES) :]

    def classify(self, rois, pyramid):
        """Return logits `[B, R, K]`, probabilities `[B, R, K]` and deltas `[B, R, K, 4]` of the ROIs."""
        pooled = PyramidROIAlign(self.config.POOL_SIZE, name="roi_align_classifier")(rois, pyramid[:4])
        logits, probabilities, deltas = self.box_head(pooled)
        count, classes = rois.shape[1], self.config.NUM_CLASSES
        return (
            ops.reshape(logits, (-1, count, classes)),
            ops.reshape(probabilities, (-1, count, classes)),
            ops.reshape(deltas, (-1, count, classes, 4)),
        )

    def mask(self, rois, pyramid):
        """Return mask probabilities `[B * R, M, M, K]` of the ROIs, image by image."""
        pooled = PyramidROIAlign(self.config.MASK_POOL_SIZE, name="roi_align_mask")(rois, pyramid[:4])
        return self.mask_head(pooled)


def join_levels(levels):
    """Return the RPN's logits `[B, A, 2]`, probabilities `[B, A, 2]` and deltas `[B, A, 4]` of all levels, float32.

    Args:
        levels: (logits, probabilities, deltas) of each pyramid level.
    """
    return [
        keras.layers.Concatenate(axis=1, dtype="float32", name=name)([level[index] for level in levels])
        for index, name in enumerate(("rpn_class_logits", "rpn_class", "rpn_bbox"))
    ]


def proposal_layer(config, count, nms_threshold=None):
    """Return the layer "ROI", which keeps `count` proposals."""
    threshold = config.RPN_NMS_THRESHOLD if nms_threshold is None else nms_threshold
    return ProposalLayer(count, threshold, config.PRE_NMS_LIMIT, config.RPN_BBOX_STD_DEV, name="ROI")


def detection_layer(config):
    """Return the layer "mrcnn_detection", from classified proposals to detections."""
    return DetectionLayer(
        config.DETECTION_MAX_INSTANCES,
        config.DETECTION_MIN_CONFIDENCE,
        config.DETECTION_NMS_THRESHOLD,
        config.BBOX_STD_DEV,
        config.DETECTION_ANY_FOREGROUND,
        name="mrcnn_detection",
    )


@keras.saving.register_keras_serializable(package="cyclic")
class TrainingModel(NamedModel):
    """Functional model whose outputs are the five losses; `fit` minimises their weighted sum and reports each.

    `training_model(Network(config))` builds it.

    Args (beside inputs and outputs):
        loss_weights: `{loss name: factor}`.

    Attributes: those of `NamedModel`.
    """

    def __init__(self, *args, loss_weights=None, **kwargs):
        super().__init__(*args, **kwargs)
        self.loss_weights = {**dict.fromkeys(LOSS_NAMES, 1.0), **(loss_weights or {})}
        self.trackers = {name: keras.metrics.Mean(name=name) for name in LOSS_NAMES}

    def __call__(self, inputs, *args, **kwargs):
        """Run the model on the dict of a batch of `DataGenerator`, or on the list of Matterport's `data_generator`.

        Raises:
            InputError: a list of another length; Matterport's own proposals (`random_rois`) have no input here.
        """
        if isinstance(inputs, (list, tuple)):
            if len(inputs) != len(INPUT_NAMES):
                raise InputError(
                    f"{len(inputs)} inputs, and the training graph takes {len(INPUT_NAMES)}: "
                    f"{', '.join(INPUT_NAMES.values())}; leave out random_rois"
                )
            inputs = dict(zip(INPUT_NAMES, inputs, strict=True))
            # Matterport's masks are stacked along the last axis.
            inputs["gt_masks"] = ops.transpose(ops.cast(inputs["gt_masks"], "uint8"), (0, 3, 1, 2))
        return super().__call__(inputs, *args, **kwargs)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        # Several devices add up their gradients, and a loss is the mean of theirs.
        return sum(self.loss_weights[name] * ops.mean(y_pred[name]) for name in LOSS_NAMES) / replicas()

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        for name in LOSS_NAMES:
            self.trackers[name].update_state(y_pred[name])
        return self.get_metrics_result()


def training_model(network, seed=None):
    """Build the training graph.

    Inputs, by name: image `[B, H, W, 3]` float32, mean subtracted; image_meta `[B, meta]`; rpn_match `[B, A, 1]`;
    rpn_target_bbox `[B, N, 4]`; gt_class_ids `[B, G]`; gt_boxes `[B, G, 4]` pixels; gt_masks `[B, G, h, w]`;
    and, with `USE_IGNORE`, ignore `[B, H, W]`.

    Args:
        network: `Network`.
        seed: of the choice of ROIs; None for a new one each time.

    Returns:
        `TrainingModel`; its outputs are the five losses, `[1]` each.
    """
    config = network.config
    height, width, channels = (int(side) for side in config.IMAGE_SHAPE)
    mask_side = config.MINI_MASK_SHAPE if config.USE_MINI_MASK else (height, width)
    slots = config.MAX_GT_INSTANCES
    inputs = {
        "image": keras.Input((height, width, channels), name="image"),
        "image_meta": keras.Input((config.IMAGE_META_SIZE,), name="image_meta"),
        "rpn_match": keras.Input((None, 1), dtype="int32", name="rpn_match"),
        "rpn_target_bbox": keras.Input(
            (config.RPN_TRAIN_ANCHORS_PER_IMAGE, 4), name="rpn_target_bbox", dtype="float32"
        ),
        "gt_class_ids": keras.Input((slots,), dtype="int32", name="gt_class_ids"),
        "gt_boxes": keras.Input((slots, 4), dtype="float32", name="gt_boxes"),
        "gt_masks": keras.Input((slots, *mask_side), dtype="uint8", name="gt_masks"),
    }
    if config.USE_IGNORE:
        inputs["ignore"] = keras.Input((height, width), dtype="uint8", name="ignore")

    pyramid, *_, proposals = network.propose(
        inputs["image"], config.POST_NMS_ROIS_TRAINING, config.RPN_NMS_THRESHOLD_TRAINING
    )
    rpn_match, rpn_logits, rpn_deltas = SampledAnchors(
        network.rpn, config.RPN_TRAIN_ANCHORS_PER_IMAGE, name="sampled_anchors"
    )(network.proposing(pyramid), inputs["rpn_match"])
    gt_boxes = normalize_boxes(inputs["gt_boxes"], (height, width))
    gt_boxes = ops.where(ops.not_equal(inputs["gt_class_ids"], 0)[..., None], gt_boxes, 0.0)
    if config.USE_GT_PROPOSALS:
        proposals = ops.concatenate([proposals, gt_boxes], axis=1)
    targets = DetectionTargetLayer(
        config.TRAIN_ROIS_PER_IMAGE,
        config.ROI_POSITIVE_RATIO,
        config.MASK_SHAPE,
        config.BBOX_STD_DEV,
        config.USE_MINI_MASK,
        config.IGNORE_OVERLAP,
        seed=seed,
        name="proposal_targets",
    )(proposals, inputs["gt_class_ids"], gt_boxes, inputs["gt_masks"], ignore=inputs.get("ignore"))
    rois, class_ids, roi_weights, target_deltas, target_masks, mask_weights = targets
    positives = target_deltas.shape[1]
    logits, _, deltas = network.classify(rois, pyramid)
    masks = network.mask(rois[:, :positives], pyramid)
    masks = ops.reshape(masks, (-1, positives, *masks.shape[1:]))
    outputs = LossLayer(name="losses")(
        rpn_match=rpn_match,
        rpn_bbox=inputs["rpn_target_bbox"],
        rpn_class_logits=rpn_logits,
        rpn_deltas=rpn_deltas,
        class_ids=class_ids,
        roi_weights=roi_weights,
        active_class_ids=read_meta(inputs["image_meta"], "active_class_ids"),
        class_logits=logits,
        target_deltas=target_deltas,
        deltas=deltas,
        target_masks=target_masks,
        mask_weights=mask_weights,
        masks=masks,
    )
    model = TrainingModel(inputs, outputs, loss_weights=config.LOSS_WEIGHTS, name="mask_rcnn")
    model.network = network
    return model


def detection_model(network):
    """Build the graph from image to boxes.

    Inputs: image `[B, H, W, 3]` float32, mean subtracted, sides divisible by 64; window `[B, 4]` normalized.

    Returns:
        `keras.Model` -> dict of detections `[B, D, 6]`, pyramid levels p2..p5, rpn_rois, rpn_class, rpn_bbox,
        mrcnn_class and mrcnn_bbox.
    """
    config = network.config
    image = keras.Input((None, None, int(config.IMAGE_SHAPE[2])), name="image")
    window = keras.Input((4,), dtype="float32", name="window")
    pyramid, _, rpn_class, rpn_bbox, rois = network.propose(image, config.POST_NMS_ROIS_INFERENCE)
    _, probabilities, deltas = network.classify(rois, pyramid)
    detections = detection_layer(config)(rois, probabilities, deltas, window)
    outputs = {
        "detections": detections,
        "mrcnn_class": probabilities,
        "mrcnn_bbox": deltas,
        "rpn_rois": rois,
        "rpn_class": rpn_class,
        "rpn_bbox": rpn_bbox,
        **dict(zip(MASK_LEVELS, pyramid[:4], strict=True)),
    }
    return keras.Model({"image": image, "window": window}, outputs, name="mask_rcnn")


def mask_model(network):
    """Build the graph from boxes and pyramid to masks, for any number of boxes.

    Inputs: boxes `[B, R, 4]` normalized, p2..p5. Output: `[B * R, M, M, K]` float32.
    """
    channels = network.config.TOP_DOWN_PYRAMID_SIZE
    boxes = keras.Input((None, 4), dtype="float32", name="boxes")
    pyramid = {level: keras.Input((None, None, channels), name=level) for level in MASK_LEVELS}
    masks = network.mask(boxes, list(pyramid.values()))
    return keras.Model({"boxes": boxes, **pyramid}, masks, name="mask_rcnn_masks")
