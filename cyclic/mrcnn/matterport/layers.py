"""Matterport's layers: its constructors, its lists of inputs and its outputs, around the functions of `mrcnn.layers`.

Shape shorthand: B images, A anchors, R proposals, G ground-truth slots, T ROIs trained on, D detections, K classes with
background, P pooled side, M mask side, C channels. Boxes are normalized, rows of zeros are padding.
"""

import functools

import keras
from keras import ops

from cyclic.mrcnn.data.molding import read_meta
from cyclic.mrcnn.geometry.boxes import normalize_boxes
from cyclic.mrcnn.kernels.top_k import top_k
from cyclic.mrcnn.layers import detections, proposals, roi_targets
from cyclic.mrcnn.layers.roi_align import pool_pyramid


class BatchNorm(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization`, with Keras' defaults.

    Call arguments:
        inputs: `[..., C]`.
        training: False uses the stored statistics, True those of the batch, None what Keras does at the moment.

    Example:
        >>> tuple(BatchNorm()(keras.ops.ones((2, 4)), training=False).shape)
        (2, 4)
    """


class PyramidROIAlign(keras.layers.Layer):
    """Pool each ROI from the pyramid level that fits its size, see `layers.roi_align.PyramidROIAlign`.

    Args:
        pool_shape: (P, P).

    Call arguments:
        inputs: list of boxes `[B, R, 4]`, image_meta `[B, meta]` and the pyramid P2 to P5, each `[B, h, w, C]`.

    Returns:
        `[B, R, P, P, C]`.

    Raises:
        ValueError: `pool_shape` is not square.

    Example: `PyramidROIAlign([7, 7], name="roi_align_classifier")([rois, image_meta] + feature_maps)`
    """

    def __init__(self, pool_shape, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.pool_shape = tuple(pool_shape)
        if len(set(self.pool_shape)) != 1:
            raise ValueError(f"pool_shape = {self.pool_shape}: ROIs are pooled to squares; give one side twice")

    def call(self, inputs):
        boxes, image_meta, *feature_maps = inputs
        height, width = read_meta(image_meta, "image_shape")[0, 0], read_meta(image_meta, "image_shape")[0, 1]
        pooled = pool_pyramid(ops.cast(boxes, "float32"), feature_maps, height, width, self.pool_shape[0])
        return ops.reshape(pooled, (-1, ops.shape(boxes)[1], *self.pool_shape, feature_maps[0].shape[-1]))

    def compute_output_shape(self, input_shape):
        return (*input_shape[0][:2], *self.pool_shape, input_shape[2][-1])


class ProposalLayer(keras.layers.Layer):
    """Take the best anchors, move them by their deltas and drop near duplicates, see `layers.proposals.ProposalLayer`.

    Args:
        proposal_count: R.
        nms_threshold: IoU over which the weaker of two proposals is dropped.
        config: `Config`, for PRE_NMS_LIMIT and RPN_BBOX_STD_DEV.

    Call arguments:
        inputs: list of rpn_probs `[B, A, 2]`, rpn_bbox `[B, A, 4]` and anchors `[B, A, 4]`.

    Returns:
        `[B, R, 4]` float32.

    Example: `ProposalLayer(1000, 0.7, name="ROI", config=config)([rpn_class, rpn_bbox, anchors])`
    """

    def __init__(self, proposal_count, nms_threshold, config=None, **kwargs):
        super().__init__(autocast=False, **{**kwargs, "dtype": "float32"})
        self.config, self.proposal_count, self.nms_threshold = config, proposal_count, nms_threshold
        self.inner = proposals.ProposalLayer(
            proposal_count, nms_threshold, config.PRE_NMS_LIMIT, config.RPN_BBOX_STD_DEV
        )

    def call(self, inputs):
        return self.inner(*inputs)

    def compute_output_shape(self, input_shape):
        return (input_shape[0][0], self.proposal_count, 4)


class DetectionTargetLayer(keras.layers.Layer):
    """Sample positive and negative ROIs and give each its target, see `layers.roi_targets.DetectionTargetLayer`.

    As in Matterport, an image without a positive ROI has no ROI at all.

    Args:
        config: `Config`.

    Call arguments:
        inputs: list of proposals `[B, R, 4]`, gt_class_ids `[B, G]`, gt_boxes `[B, G, 4]`, and gt_masks `[B, h, w, G]`
            of MINI_MASK_SHAPE with USE_MINI_MASK, else of the image's size.

    Returns:
        List of rois `[B, T, 4]`, class ids `[B, T]` int32, deltas `[B, T, 4]` and masks `[B, T, M, M]` of 0 and 1:
        first the positives, then the negatives, then zeros.

    Example: `DetectionTargetLayer(config)([rpn_rois, input_gt_class_ids, gt_boxes, input_gt_masks])`
    """

    def __init__(self, config, **kwargs):
        super().__init__(autocast=False, **{**kwargs, "dtype": "float32"})
        self.config = config
        self.inner = roi_targets.DetectionTargetLayer(*_target_settings(config))

    def call(self, inputs):
        return _packed_targets(self.inner, inputs)

    def compute_output_spec(self, inputs):
        batch, total = inputs[0].shape[0], self.inner.rois_per_image
        shapes = ((4,), (), (4,), self.inner.mask_shape)
        dtypes = ("float32", "int32", "float32", "float32")
        pairs = zip(shapes, dtypes, strict=True)
        return [keras.KerasTensor((batch, total, *shape), dtype) for shape, dtype in pairs]


class DetectionLayer(keras.layers.Layer):
    """Refine the ROIs' boxes, drop background and unsure ones and duplicates, see `layers.detections.DetectionLayer`.

    A ROI of zeros is padding and never detected.

    Args:
        config: `Config`.

    Call arguments:
        inputs: list of rois `[B, R, 4]`, mrcnn_class `[B, R, K]`, mrcnn_bbox `[B, R, K, 4]` and image_meta `[B, meta]`.

    Returns:
        `[B, D, 6]` float32: (y1, x1, y2, x2, class id, score), best score first.

    Example: `DetectionLayer(config, name="mrcnn_detection")([rois, mrcnn_class, mrcnn_bbox, input_image_meta])`
    """

    def __init__(self, config=None, **kwargs):
        super().__init__(autocast=False, **{**kwargs, "dtype": "float32"})
        self.config, self.inner = config, _detections(config)

    def call(self, inputs):
        rois, mrcnn_class, mrcnn_bbox, image_meta = inputs
        window = normalize_boxes(read_meta(image_meta, "window"), read_meta(image_meta, "image_shape")[0, :2])
        return self.inner(rois, mrcnn_class, mrcnn_bbox, window)

    def compute_output_shape(self, input_shape):
        return (input_shape[0][0], self.config.DETECTION_MAX_INSTANCES, 6)


def _target_settings(config):
    """Return the arguments of `roi_targets.DetectionTargetLayer`, all of them hashable."""
    return (
        config.TRAIN_ROIS_PER_IMAGE,
        config.ROI_POSITIVE_RATIO,
        tuple(config.MASK_SHAPE),
        tuple(config.BBOX_STD_DEV),
        config.USE_MINI_MASK,
        config.IGNORE_OVERLAP,
        config.SEED,
    )


@functools.lru_cache(maxsize=16)
def _shared_targets(*settings):
    # A compiled function must not create the state of random numbers anew in each call, and JAX would lose it.
    layer = roi_targets.DetectionTargetLayer(*settings)
    layer.generator = None
    return layer


def _packed_targets(layer, inputs):
    """Return the targets of `DetectionTargetLayer`: those of `layer`, without the empty slots in their midst."""
    rois, gt_class_ids, gt_boxes, gt_masks = inputs
    rois, class_ids, weights, deltas, masks, _ = layer(
        rois, gt_class_ids, gt_boxes, ops.transpose(gt_masks, (0, 3, 1, 2))
    )
    total = layer.rois_per_image
    weights = weights * ops.cast(ops.any(class_ids > 0, axis=1, keepdims=True), "float32")
    _, order = top_k(ops.where(weights > 0, total - ops.arange(total, dtype="int32"), 0), total)
    missing = [0, total - layer.positives]
    deltas = ops.pad(deltas, [[0, 0], missing, [0, 0]])
    masks = ops.pad(masks, [[0, 0], missing, [0, 0], [0, 0]])
    return [
        ops.take_along_axis(rois * weights[..., None], order[..., None], axis=1),
        ops.take_along_axis(class_ids, order, axis=1),
        ops.take_along_axis(deltas, order[..., None], axis=1),
        ops.take_along_axis(masks, order[..., None, None], axis=1),
    ]


def _detections(config):
    return detections.DetectionLayer(
        config.DETECTION_MAX_INSTANCES,
        config.DETECTION_MIN_CONFIDENCE,
        config.DETECTION_NMS_THRESHOLD,
        config.BBOX_STD_DEV,
    )


def detection_targets_graph(proposals, gt_class_ids, gt_boxes, gt_masks, config):
    """Return what `DetectionTargetLayer` returns, for one image and without its axis.

    The choice of ROIs follows `keras.utils.set_random_seed`. Keras raises in compiled code on JAX. Use the
    layer there, which keeps the state of its random numbers.
    """
    inputs = [ops.expand_dims(part, 0) for part in (proposals, gt_class_ids, gt_boxes, gt_masks)]
    return tuple(target[0] for target in _packed_targets(_shared_targets(*_target_settings(config)), inputs))


def refine_detections_graph(rois, probs, deltas, window, config):
    """Return the detections of one image, `[D, 6]`, see `DetectionLayer`.

    Args:
        rois, probs, deltas: `[R, 4]`, `[R, K]`, `[R, K, 4]`.
        window: `[4]` normalized part of the image that is not padding.
        config: `Config`.
    """
    return _detections(config)(*(ops.expand_dims(part, 0) for part in (rois, probs, deltas, window)))[0]
