"""The five losses of Mask R-CNN, as Matterport defines them, with optional weights for ignored parts.

Shape shorthand: B images, A anchors, N positive anchors at most, T ROIs, K classes, M mask side.
Every loss is a float32 scalar. Where no anchor or ROI counts, it is 0 and so is its gradient.
"""

import keras
from keras import ops

from cyclic.mrcnn.kernels.devices import replicas, sum_of_replicas


def _weighted_mean(values, weights):
    """Return the mean over the batch; of a part of it, the share whose mean over all devices is that of the batch."""
    total = sum_of_replicas(ops.sum(weights))
    return replicas() * ops.sum(values * weights) / ops.maximum(total, 1e-7)


def smooth_l1(difference):
    """Return 0.5 d^2 where |d| < 1, else |d| - 0.5 (Girshick 2015, equation 3), element by element."""
    size = ops.abs(difference)
    return ops.where(size < 1.0, 0.5 * size * size, size - 0.5)


def rpn_class_loss(rpn_match, rpn_class_logits):
    """Cross entropy of the anchors that are not neutral.

    Args:
        rpn_match: `[B, A, 1]` int: 1 positive, -1 negative, 0 neutral.
        rpn_class_logits: `[B, A, 2]` float (background, nucleus).
    """
    match = rpn_match[..., 0]
    entropy = keras.losses.sparse_categorical_crossentropy(
        ops.cast(ops.equal(match, 1), "int32"), rpn_class_logits, from_logits=True
    )
    return _weighted_mean(entropy, ops.cast(ops.not_equal(match, 0), "float32"))


def rpn_bbox_loss(target_bbox, rpn_match, rpn_bbox):
    """Smooth L1 of the positive anchors' deltas.

    Args:
        target_bbox: `[B, N, 4]` targets of the positive anchors, in anchor order, zero-padded.
        rpn_match: `[B, A, 1]` int: 1 positive, -1 negative, 0 neutral.
        rpn_bbox: `[B, A, 4]` predicted deltas.
    """
    positive = ops.cast(ops.equal(rpn_match[..., 0], 1), "int32")
    slot = ops.clip(ops.cumsum(positive, axis=1) - 1, 0, ops.shape(target_bbox)[1] - 1)
    target = ops.take_along_axis(target_bbox, slot[..., None], axis=1)
    weights = ops.repeat(ops.cast(positive, "float32")[..., None], 4, axis=-1)
    return _weighted_mean(smooth_l1(ops.subtract(target, rpn_bbox)), weights)


def mrcnn_class_loss(target_class_ids, pred_class_logits, active_class_ids, weights=None):
    """Cross entropy of the ROIs whose predicted class belongs to the image's own data set.

    Args:
        target_class_ids: `[B, T]` int, 0 background.
        pred_class_logits: `[B, T, K]`.
        active_class_ids: `[B, K]`, 1 for the classes of the image's data set.
        weights: `[B, T]` float or None for 1 everywhere.
    """
    predicted = ops.argmax(pred_class_logits, axis=-1)
    active = ops.take_along_axis(ops.cast(active_class_ids, "float32"), predicted, axis=1)
    entropy = keras.losses.sparse_categorical_crossentropy(
        ops.cast(target_class_ids, "int32"), pred_class_logits, from_logits=True
    )
    return _weighted_mean(entropy, active if weights is None else active * weights)


def mrcnn_bbox_loss(target_bbox, target_class_ids, pred_bbox):
    """Smooth L1 of the positive ROIs' deltas for their own class.

    Args:
        target_bbox: `[B, T, 4]`.
        target_class_ids: `[B, T]` int, positive for positive ROIs.
        pred_bbox: `[B, T, K, 4]`.
    """
    class_ids = ops.cast(target_class_ids, "int32")
    chosen = ops.take_along_axis(pred_bbox, class_ids[..., None, None], axis=2)[:, :, 0]
    weights = ops.repeat(ops.cast(class_ids > 0, "float32")[..., None], 4, axis=-1)
    return _weighted_mean(smooth_l1(ops.subtract(target_bbox, chosen)), weights)


def mrcnn_mask_loss(target_masks, target_class_ids, pred_masks, weights=None):
    """Binary cross entropy of the positive ROIs' masks for their own class.

    Args:
        target_masks: `[B, T, M, M]`, 0 or 1.
        target_class_ids: `[B, T]` int, positive for positive ROIs.
        pred_masks: `[B, T, M, M, K]` probabilities.
        weights: `[B, T, M, M]` float or None for 1 everywhere.
    """
    class_ids = ops.cast(target_class_ids, "int32")
    chosen = ops.take_along_axis(pred_masks, class_ids[..., None, None, None], axis=4)[..., 0]
    chosen = ops.clip(chosen, 1e-7, 1.0 - 1e-7)
    target_masks = ops.convert_to_tensor(target_masks)
    entropy = -(target_masks * ops.log(chosen) + (1.0 - target_masks) * ops.log(1.0 - chosen))
    positive = ops.cast(class_ids > 0, "float32")[..., None, None] * ops.ones_like(entropy)
    return _weighted_mean(entropy, positive if weights is None else positive * weights)


LOSS_NAMES = ("rpn_class_loss", "rpn_bbox_loss", "mrcnn_class_loss", "mrcnn_bbox_loss", "mrcnn_mask_loss")


@keras.saving.register_keras_serializable(package="cyclic")
class LossLayer(keras.layers.Layer):
    """The five losses as one layer, in float32 whatever the dtype policy.

    Call arguments:
        rpn_match `[B, A, 1]`, rpn_bbox `[B, N, 4]`, rpn_class_logits `[B, A, 2]`, rpn_deltas `[B, A, 4]`: see
            `rpn_class_loss` and `rpn_bbox_loss`.
        class_ids `[B, T]`, roi_weights `[B, T]`, active_class_ids `[B, K]`, class_logits `[B, T, K]`: see
            `mrcnn_class_loss`.
        target_deltas `[B, P, 4]`, deltas `[B, T, K, 4]`: see `mrcnn_bbox_loss`; the first P of the T ROIs are the
            positive ones.
        target_masks, mask_weights `[B, P, M, M]`, masks `[B, P, M, M, K]`: see `mrcnn_mask_loss`.

    Returns:
        dict of `LOSS_NAMES`, each `[1]` float32.

    Example: see `network.training_model`, which calls it with the outputs of all parts.
    """

    def __init__(self, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"})

    def call(
        self,
        rpn_match,
        rpn_bbox,
        rpn_class_logits,
        rpn_deltas,
        class_ids,
        roi_weights,
        active_class_ids,
        class_logits,
        target_deltas,
        deltas,
        target_masks,
        mask_weights,
        masks,
    ):
        positives = target_deltas.shape[1]
        positive_ids = class_ids[:, :positives]
        values = (
            rpn_class_loss(rpn_match, rpn_class_logits),
            rpn_bbox_loss(rpn_bbox, rpn_match, rpn_deltas),
            mrcnn_class_loss(class_ids, class_logits, active_class_ids, roi_weights),
            mrcnn_bbox_loss(target_deltas, positive_ids, deltas[:, :positives]),
            mrcnn_mask_loss(target_masks, positive_ids, masks, mask_weights),
        )
        return {name: ops.reshape(value, (1,)) for name, value in zip(LOSS_NAMES, values, strict=True)}

    def compute_output_spec(self, *args, **kwargs):
        return {name: keras.KerasTensor((1,), "float32") for name in LOSS_NAMES}
