"""Box and mask heads. ROIs lie along the batch axis.

Shape shorthand: N ROIs of the whole batch, P pooled side, C channels, K classes with background.
"""

import math

import keras

from cyclic.backbones.conv import Conv2D, Conv2DSame
from cyclic.backbones.norm import EPSILON, norm_layer
from cyclic.mrcnn.layers.deconv import DoublingConv2D, arrange_pixels
from cyclic.mrcnn.layers.full_conv import FullConv2D


def build_box_head(num_classes, pool_size, channels, norm, fc_size):
    """Build the class and box head with Matterport's layer names.

    Args:
        num_classes: K, background included.
        pool_size: P.
        channels: C.
        norm: "batch", "frozen" or "group".
        fc_size: width of the two hidden layers.

    Returns:
        `keras.Model` "mrcnn_box_head": `[N, P, P, C]` -> `[logits [N, K], probabilities [N, K], deltas [N, K, 4]]`.
    """
    pooled = keras.Input((pool_size, pool_size, channels), name="pooled_rois")
    return keras.Model(pooled, box_head(pooled, num_classes, norm, fc_size), name="mrcnn_box_head")


def box_head(pooled, num_classes, norm, fc_size):
    """Return `[logits, probabilities, deltas]` of pooled ROIs, see `build_box_head`, from new layers."""
    x = FullConv2D(fc_size, pooled.shape[1], name="mrcnn_class_conv1")(pooled)
    x = _vector_norm(norm, fc_size, "mrcnn_class_bn1")(x)
    x = keras.layers.ReLU(name="mrcnn_class_relu1")(x)
    x = FullConv2D(fc_size, 1, name="mrcnn_class_conv2")(x)
    x = _vector_norm(norm, fc_size, "mrcnn_class_bn2")(x)
    x = keras.layers.ReLU(name="mrcnn_class_relu2")(x)
    shared = keras.layers.Flatten(name="pool_squeeze")(x)
    logits = keras.layers.Dense(num_classes, dtype="float32", name="mrcnn_class_logits")(shared)
    probabilities = keras.layers.Softmax(dtype="float32", name="mrcnn_class")(logits)
    deltas = keras.layers.Dense(num_classes * 4, dtype="float32", name="mrcnn_bbox_fc")(shared)
    deltas = keras.layers.Reshape((num_classes, 4), dtype="float32", name="mrcnn_bbox")(deltas)
    return [logits, probabilities, deltas]


def _vector_norm(norm, channels, name):
    """Return the normalisation layer of a 1 x 1 map.

    A group has 8 channels or more: a single value less its own mean would always be 0.
    """
    if norm == "group":
        return keras.layers.GroupNormalization(math.gcd(32, max(channels // 8, 1)), epsilon=EPSILON, name=name)
    return norm_layer(norm, channels, name)


def build_mask_head(num_classes, pool_size, channels, norm, width):
    """Build the mask head with Matterport's layer names.

    Args:
        num_classes: K, background included.
        pool_size: P.
        channels: C.
        norm: "batch", "frozen" or "group".
        width: channels of the hidden layers.

    Returns:
        `keras.Model` "mrcnn_mask_head": `[N, P, P, C]` -> mask probabilities `[N, 2P, 2P, K]` float32.
    """
    pooled = keras.Input((pool_size, pool_size, channels), name="pooled_rois")
    return keras.Model(pooled, mask_head(pooled, num_classes, norm, width), name="mrcnn_mask_head")


def mask_head(pooled, num_classes, norm, width):
    """Return the mask probabilities of pooled ROIs, see `build_mask_head`, from new layers."""
    x = pooled
    for index in range(1, 5):
        x = Conv2DSame(width, 3, name=f"mrcnn_mask_conv{index}")(x)
        x = norm_layer(norm, width, f"mrcnn_mask_bn{index}")(x)
        x = keras.layers.ReLU(name=f"mrcnn_mask_relu{index}")(x)
    x = DoublingConv2D(width, activation="relu", name="mrcnn_mask_deconv")(x)
    x = Conv2D(num_classes, 1, name="mrcnn_mask")(x)
    return arrange_pixels(keras.layers.Activation("sigmoid", dtype="float32", name="mrcnn_mask_sigmoid")(x))
