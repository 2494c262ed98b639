"""Detections: the classified ROIs that are left after refinement and suppression."""

import keras
from keras import ops

from cyclic.mrcnn.geometry.boxes import apply_box_deltas, clip_boxes
from cyclic.mrcnn.kernels.nms import non_max_suppression


@keras.saving.register_keras_serializable(package="cyclic")
class DetectionLayer(keras.layers.Layer):
    """Refine the ROIs' boxes, drop background and unsure ones, suppress duplicates within a class.

    Args:
        max_instances: D, detections an image, zero-padded.
        min_confidence: lowest score kept.
        nms_threshold: IoU over which the weaker of two detections of one class is dropped.
        bbox_std_dev: standard deviations that divide the box deltas.
        any_foreground: False drops ROIs whose likeliest class is background, as Matterport does. True looks at the best
            foreground class instead, so that `min_confidence` alone decides.

    Call arguments:
        rois: `[B, R, 4]` normalized.
        probabilities: `[B, R, K]`.
        deltas: `[B, R, K, 4]`.
        window: `[B, 4]` normalized part of the image that is not padding.

    Returns:
        `[B, D, 6]` float32: (y1, x1, y2, x2, class id, score), boxes normalized, best score first.

    Example:
        >>> roi, window = keras.ops.convert_to_tensor([[[0.1, 0.1, 0.4, 0.4]]]), keras.ops.ones((1, 4))
        >>> layer = DetectionLayer(5, 0.7, 0.3, (0.1, 0.1, 0.2, 0.2))
        >>> tuple(layer(roi, keras.ops.convert_to_tensor([[[0.1, 0.9]]]), keras.ops.zeros((1, 1, 2, 4)), window).shape)
        (1, 5, 6)
    """

    def __init__(self, max_instances, min_confidence, nms_threshold, bbox_std_dev, any_foreground=False, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.max_instances, self.min_confidence = max_instances, min_confidence
        self.nms_threshold, self.bbox_std_dev = nms_threshold, tuple(float(x) for x in bbox_std_dev)
        self.any_foreground = any_foreground

    def call(self, rois, probabilities, deltas, window):
        if self.any_foreground:
            probabilities = ops.concatenate([ops.zeros_like(probabilities[..., :1]), probabilities[..., 1:]], axis=-1)
        class_ids = ops.argmax(probabilities, axis=-1)
        scores = ops.max(probabilities, axis=-1)
        deltas = ops.take_along_axis(deltas, class_ids[..., None, None], axis=2)[:, :, 0]
        boxes = apply_box_deltas(rois, deltas * ops.convert_to_tensor(self.bbox_std_dev))
        boxes = clip_boxes(boxes, window[:, None])
        keep = (class_ids > 0) & (scores >= self.min_confidence) & ops.any(rois != 0, axis=-1)
        ranking = ops.where(keep, scores, -1.0)
        # Each class is moved two image sizes away from the last, so that boxes of different classes never overlap.
        apart = boxes + 2.0 * ops.cast(ops.maximum(class_ids - 1, 0), "float32")[..., None]
        indices, valid = non_max_suppression(apart, ranking, self.max_instances, self.nms_threshold)
        table = ops.concatenate([boxes, ops.cast(class_ids, "float32")[..., None], scores[..., None]], axis=-1)
        chosen = ops.take_along_axis(table, indices[..., None], axis=1)
        return ops.where(valid[..., None], chosen, 0.0)

    def compute_output_shape(self, rois_shape, *others):
        return (rois_shape[0], self.max_instances, 6)

    def get_config(self):
        return {
            **super().get_config(),
            "max_instances": self.max_instances,
            "min_confidence": self.min_confidence,
            "nms_threshold": self.nms_threshold,
            "bbox_std_dev": self.bbox_std_dev,
            "any_foreground": self.any_foreground,
        }
