"""Proposals: the best anchors, refined by the RPN."""

import keras
from keras import ops

from cyclic.mrcnn.geometry.boxes import apply_box_deltas, clip_boxes
from cyclic.mrcnn.kernels.nms import non_max_suppression
from cyclic.mrcnn.kernels.top_k import top_k


@keras.saving.register_keras_serializable(package="cyclic")
class ProposalLayer(keras.layers.Layer):
    """Take the best anchors, move them by their deltas, clip them to the image and drop near duplicates.

    Args:
        proposal_count: proposals an image, zero-padded.
        nms_threshold: IoU over which the weaker of two proposals is dropped.
        pre_nms_limit: anchors that enter the suppression.
        bbox_std_dev: standard deviations by which the deltas are divided.

    Call arguments:
        probabilities: `[B, A, 2]` (background, nucleus).
        deltas: `[B, A, 4]`.
        anchors: `[1, A, 4]` normalized, or `[B, A, 4]` where each image has its own.

    Returns:
        `[B, proposal_count, 4]` float32 normalized boxes; gradients stop here.

    Example:
        >>> anchors = keras.ops.convert_to_tensor([[[0.1, 0.1, 0.4, 0.4], [0.5, 0.5, 0.9, 0.9]]])
        >>> layer = ProposalLayer(5, 0.7, 6000, (0.1, 0.1, 0.2, 0.2))
        >>> tuple(layer(keras.ops.ones((1, 2, 2)), keras.ops.zeros((1, 2, 4)), anchors).shape)
        (1, 5, 4)
    """

    def __init__(self, proposal_count, nms_threshold, pre_nms_limit, bbox_std_dev, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.proposal_count, self.nms_threshold = proposal_count, nms_threshold
        self.pre_nms_limit, self.bbox_std_dev = pre_nms_limit, tuple(float(x) for x in bbox_std_dev)

    def call(self, probabilities, deltas, anchors):
        steps = self.steps(probabilities, deltas, anchors)
        chosen = take_rows(steps["refined_anchors_clipped"], steps["indices"])
        return ops.where(steps["valid"][..., None], chosen, 0.0)

    def steps(self, probabilities, deltas, anchors):
        """Return what comes before the proposals, N = `min(pre_nms_limit, A)`.

        Returns:
            dict of pre_nms_anchors, refined_anchors and refined_anchors_clipped, `[B, N, 4]` each; indices into N
            `[B, proposal_count]` int32 of what is left after the suppression, and which of them are valid, bool.
        """
        scores = ops.stop_gradient(probabilities[:, :, 1])
        count = ops.shape(anchors)[1]
        smallest = min if isinstance(count, int) else ops.minimum
        limit = smallest(self.pre_nms_limit, count)
        scores, best = top_k(scores, limit)
        deltas = take_rows(ops.stop_gradient(deltas), best) * ops.convert_to_tensor(self.bbox_std_dev)
        before = ops.take(anchors[0], best, axis=0) if anchors.shape[0] == 1 else take_rows(anchors, best)
        refined = apply_box_deltas(before, deltas)
        boxes = clip_boxes(refined, ops.convert_to_tensor([0.0, 0.0, 1.0, 1.0]))
        indices, valid = non_max_suppression(boxes, scores, self.proposal_count, self.nms_threshold)
        return {
            "pre_nms_anchors": before,
            "refined_anchors": refined,
            "refined_anchors_clipped": boxes,
            "indices": indices,
            "valid": valid,
        }

    def compute_output_shape(self, probabilities_shape, deltas_shape, anchors_shape):
        return (probabilities_shape[0], self.proposal_count, 4)

    def get_config(self):
        return {
            **super().get_config(),
            "proposal_count": self.proposal_count,
            "nms_threshold": self.nms_threshold,
            "pre_nms_limit": self.pre_nms_limit,
            "bbox_std_dev": self.bbox_std_dev,
        }


def take_rows(values, indices):
    """Return rows of each image: `[B, N, C]` and `[B, K]` int32 -> `[B, K, C]`.

    `keras.ops.take_along_axis` does the same, but on TensorFlow it turns all of the N rows round first.
    """
    images, count = ops.shape(values)[0], ops.shape(values)[1]
    first = ops.arange(images, dtype="int32")[:, None] * ops.cast(count, "int32")
    return ops.take(ops.reshape(values, (-1, values.shape[-1])), indices + first, axis=0)
