"""Matterport's RPN and heads as functions of tensors, for programs that put a network together themselves.

Layers have Matterport's names, so its weights load by name. `train_bn` means what `Config.TRAIN_BN` does.

Shape shorthand: B images, R ROIs, K classes with background, C channels, A anchors.
"""

import keras
from keras import ops

from cyclic.mrcnn.layers.heads import box_head, mask_head
from cyclic.mrcnn.layers.rpn import rpn_head
from cyclic.mrcnn.matterport.layers import PyramidROIAlign
from cyclic.mrcnn.matterport.resnet import norm_kind

# Channels of the hidden layers, which Matterport has no setting for.
RPN_CHANNELS = 512
MASK_CHANNELS = 256


def rpn_graph(feature_map, anchors_per_location, anchor_stride):
    """Return `[logits [B, A, 2], probabilities [B, A, 2], deltas [B, A, 4]]` of a feature map `[B, h, w, C]`.

    Args:
        feature_map: a level of the pyramid.
        anchors_per_location: number of anchor ratios.
        anchor_stride: put anchors at every `anchor_stride`-th cell.
    """
    return rpn_head(feature_map, anchor_stride, anchors_per_location, RPN_CHANNELS)


def build_rpn_model(anchor_stride, anchors_per_location, depth):
    """Return the `keras.Model` "rpn_model" of `rpn_graph`: `[feature map]` of `depth` channels -> its three outputs."""
    feature_map = keras.Input((None, None, depth), name="input_rpn_feature_map")
    return keras.Model([feature_map], rpn_graph(feature_map, anchors_per_location, anchor_stride), name="rpn_model")


def fpn_classifier_graph(rois, feature_maps, image_meta, pool_size, num_classes, train_bn=True, fc_layers_size=1024):
    """Return the logits `[B, R, K]`, probabilities `[B, R, K]` and deltas `[B, R, K, 4]` of ROIs.

    Args:
        rois: `[B, R, 4]` normalized; R is known.
        feature_maps: `[P2, P3, P4, P5]`, each `[B, h, w, C]`.
        image_meta: `[B, meta]`, see `compose_image_meta`.
        pool_size: side of the pooled ROI features.
        num_classes: K.
        train_bn: see above.
        fc_layers_size: width of the two hidden layers.
    """
    pooled = _pool(rois, feature_maps, image_meta, pool_size, "roi_align_classifier")
    logits, probabilities, deltas = box_head(pooled, num_classes, norm_kind(train_bn), fc_layers_size)
    return tuple(ops.reshape(part, (-1, rois.shape[1], *part.shape[1:])) for part in (logits, probabilities, deltas))


def build_fpn_mask_graph(rois, feature_maps, image_meta, pool_size, num_classes, train_bn=True):
    """Return the mask probabilities `[B, R, 2 pool_size, 2 pool_size, K]`; arguments as in `fpn_classifier_graph`."""
    pooled = _pool(rois, feature_maps, image_meta, pool_size, "roi_align_mask")
    masks = mask_head(pooled, num_classes, norm_kind(train_bn), MASK_CHANNELS)
    return ops.reshape(masks, (-1, rois.shape[1], *masks.shape[1:]))


def _pool(rois, feature_maps, image_meta, pool_size, name):
    """Return `[B * R, pool_size, pool_size, C]`."""
    pooled = PyramidROIAlign([pool_size, pool_size], name=name)([rois, image_meta, *feature_maps])
    return ops.reshape(pooled, (-1, *pooled.shape[2:]))
