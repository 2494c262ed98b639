"""Non-maximum suppression of a batch of box sets with static output shapes."""

import keras
from keras import ops


def non_max_suppression(boxes, scores, max_boxes, iou_threshold):
    """Select boxes in order of falling score that overlap no better box too much.

    Args:
        boxes: `[B, N, 4]` float32 (y1, x1, y2, x2).
        scores: `[B, N]` float32; boxes with a negative score are never selected.
        max_boxes: how many boxes to select at most, per image.
        iou_threshold: a box is dropped when its IoU with a selected one is greater than this.

    Returns:
        `(indices, valid)`: `[B, max_boxes]` int32 indices into N, padded with 0, and `[B, max_boxes]` bool.
    """
    if keras.backend.backend() == "tensorflow":
        return _tensorflow_nms(boxes, scores, max_boxes, iou_threshold)
    if keras.backend.backend() == "torch":
        return _torch_nms(boxes, scores, max_boxes, iou_threshold)
    return reference_nms(boxes, scores, max_boxes, iou_threshold)


def reference_nms(boxes, scores, max_boxes, iou_threshold):
    """`non_max_suppression` in plain `keras.ops`: one pass over all boxes for every selected box."""
    batch = ops.shape(boxes)[0]
    areas = (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
    slots = ops.arange(max_boxes)

    def select(step, state):
        remaining, indices, valid = state
        best = ops.argmax(remaining, axis=1)[:, None]
        found = ops.take_along_axis(remaining, best, axis=1) >= 0
        box = ops.take_along_axis(boxes, best[..., None], axis=1)
        sides = ops.minimum(boxes[..., 2:], box[..., 2:]) - ops.maximum(boxes[..., :2], box[..., :2])
        intersection = ops.prod(ops.maximum(sides, 0.0), axis=-1)
        union = areas + ops.take_along_axis(areas, best, axis=1) - intersection
        overlapping = intersection > iou_threshold * union
        chosen = ops.arange(ops.shape(remaining)[1])[None] == ops.cast(best, "int32")
        remaining = ops.where(overlapping | chosen, -1.0, remaining)
        here = (slots == step)[None]
        indices = ops.where(here & found, ops.cast(best, "int32"), indices)
        return remaining, indices, valid | (here & found)

    start = (scores, ops.zeros((batch, max_boxes), "int32"), ops.zeros((batch, max_boxes), "bool"))
    _, indices, valid = ops.fori_loop(0, max_boxes, select, start)
    return indices, valid


def _tensorflow_nms(boxes, scores, max_boxes, iou_threshold):
    import tensorflow as tf

    def one(arguments):
        indices, count = tf.raw_ops.NonMaxSuppressionV4(
            boxes=arguments[0],
            scores=arguments[1],
            max_output_size=max_boxes,
            iou_threshold=tf.constant(iou_threshold, tf.float32),
            score_threshold=tf.constant(-1e-12, tf.float32),
            pad_to_max_output_size=True,
        )
        return indices, tf.range(max_boxes) < count

    return tf.map_fn(one, (boxes, scores), fn_output_signature=(tf.int32, tf.bool))


def _torch_nms(boxes, scores, max_boxes, iou_threshold):
    try:
        from torchvision.ops import nms
    except (ImportError, RuntimeError):  # torchvision absent, or built for another torch
        return reference_nms(boxes, scores, max_boxes, iou_threshold)
    import torch

    indices = torch.zeros((len(boxes), max_boxes), dtype=torch.int32, device=boxes.device)
    valid = torch.zeros((len(boxes), max_boxes), dtype=torch.bool, device=boxes.device)
    for image in range(len(boxes)):
        candidates = torch.nonzero(scores[image] >= 0)[:, 0]
        kept = nms(boxes[image, candidates].float(), scores[image, candidates].float(), iou_threshold)[:max_boxes]
        indices[image, : len(kept)] = candidates[kept].int()
        valid[image, : len(kept)] = True
    return indices, valid
