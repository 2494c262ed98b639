"""Region proposal network: objectness and box deltas of every anchor."""

import keras
from keras import ops

from cyclic.backbones.conv import Conv2D


@keras.saving.register_keras_serializable(package="cyclic")
class PairSoftmax(keras.layers.Layer):
    """Softmax of two classes, `[..., 2]`: `keras.layers.Softmax` is slow where so many pairs stand side by side.

    Example:
        >>> keras.ops.convert_to_numpy(PairSoftmax()(keras.ops.array([[3.0, 3.0]]))).tolist()
        [[0.5, 0.5]]
    """

    def call(self, logits):
        second = ops.sigmoid(logits[..., 1] - logits[..., 0])
        return ops.stack([1.0 - second, second], axis=-1)


def build_rpn(anchor_stride, anchors_per_location, depth, channels):
    """Build the RPN that all pyramid levels share (Ren et al. 2015), with Matterport's layer names.

    Args:
        anchor_stride: put anchors at every `anchor_stride`-th cell.
        anchors_per_location: number of anchor ratios.
        depth: channels of the feature map.
        channels: channels of the shared 3 x 3 convolution.

    Returns:
        `keras.Model` "rpn_model": feature map `[B, h, w, depth]` -> `[logits, probabilities, deltas]`, of shapes
        `[B, A, 2]` (background, nucleus), `[B, A, 2]` and `[B, A, 4]`, all float32.
    """
    feature_map = keras.Input((None, None, depth), name="input_rpn_feature_map")
    return keras.Model(
        feature_map, rpn_head(feature_map, anchor_stride, anchors_per_location, channels), name="rpn_model"
    )


def rpn_head(feature_map, anchor_stride, anchors_per_location, channels):
    """Return `[logits, probabilities, deltas]` of a feature map, see `build_rpn`, from new layers."""
    shared = Conv2D(channels, 3, strides=anchor_stride, padding="same", activation="relu", name="rpn_conv_shared")(
        feature_map
    )
    logits = Conv2D(2 * anchors_per_location, 1, name="rpn_class_raw")(shared)
    logits = keras.layers.Reshape((-1, 2), dtype="float32", name="rpn_class_logits")(logits)
    probabilities = PairSoftmax(dtype="float32", name="rpn_class_xxx")(logits)
    deltas = Conv2D(4 * anchors_per_location, 1, name="rpn_bbox_pred")(shared)
    deltas = keras.layers.Reshape((-1, 4), dtype="float32", name="rpn_bbox_reshape")(deltas)
    return [logits, probabilities, deltas]
