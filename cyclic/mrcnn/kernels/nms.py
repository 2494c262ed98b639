"""Non-maximum suppression of a batch of box sets with static output shapes."""

import keras
from keras import ops

from cyclic.mrcnn.geometry.boxes import box_area
from cyclic.mrcnn.kernels.top_k import top_k

# How many boxes `tiled_nms` decides on at once.
TILE = 512


def non_max_suppression(boxes, scores, max_boxes, iou_threshold):
    """Select boxes in order of falling score that overlap no better box too much; of equal scores the first is better.

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
    if _on_cpu():
        return reference_nms(boxes, scores, max_boxes, iou_threshold)
    return tiled_nms(boxes, scores, max_boxes, iou_threshold)


def reference_nms(boxes, scores, max_boxes, iou_threshold):
    """`non_max_suppression` in plain `keras.ops`: one pass over all boxes for every selected box."""
    batch = ops.shape(boxes)[0]
    areas = box_area(boxes)
    slots = ops.arange(max_boxes)

    def select(step, state):
        remaining, indices, valid = state
        best = ops.argmax(remaining, axis=1)[:, None]
        any_left = ops.take_along_axis(remaining, best, axis=1) >= 0
        box = ops.take_along_axis(boxes, best[..., None], axis=1)
        sides = ops.minimum(boxes[..., 2:], box[..., 2:]) - ops.maximum(boxes[..., :2], box[..., :2])
        intersection = ops.prod(ops.maximum(sides, 0.0), axis=-1)
        union = areas + ops.take_along_axis(areas, best, axis=1) - intersection
        overlapping = intersection > iou_threshold * union
        chosen = ops.arange(ops.shape(remaining)[1])[None] == ops.cast(best, "int32")
        remaining = ops.where(overlapping | chosen, -1.0, remaining)
        here = (slots == step)[None]
        indices = ops.where(here & any_left, ops.cast(best, "int32"), indices)
        return remaining, indices, valid | (here & any_left)

    start = (scores, ops.zeros((batch, max_boxes), "int32"), ops.zeros((batch, max_boxes), "bool"))
    _, indices, valid = ops.fori_loop(0, max_boxes, select, start)
    return indices, valid


def tiled_nms(boxes, scores, max_boxes, iou_threshold):
    """`non_max_suppression` in a few large steps, for devices where thousands of small steps take long.

    The boxes are sorted by score and cut into tiles of `TILE` boxes. One tile after the other is decided:
    1. A box that overlaps a selected box of an earlier tile is out. The others are candidates.
    2. Every candidate is marked selected if it overlaps no better box of the tile that is marked now.
    3. Step 2 is repeated until no mark changes.
    The k best boxes of a tile have their final marks after k repeats at most; in practice a few repeats are enough.
    """
    batch, count = ops.shape(boxes)[0], boxes.shape[1]
    tile = min(TILE, count)
    missing = -count % tile
    order = ops.cast(ops.argsort(-scores, axis=1), "int32")
    ranked = ops.take_along_axis(boxes, order[..., None], axis=1)
    ranked = ops.pad(ranked, [[0, 0], [0, missing], [0, 0]])
    selected = ops.pad(ops.take_along_axis(scores, order, axis=1) >= 0, [[0, 0], [0, missing]])
    areas = box_area(ranked)
    rank = ops.arange(count + missing, dtype="int32")

    def decide(index, selected):
        start = index * tile
        own = ops.slice(ranked, (0, start, 0), (batch, tile, 4))[:, :, None]
        own_area = ops.slice(areas, (0, start), (batch, tile))[..., None]
        sides = ops.minimum(own[..., 2:], ranked[:, None, :, 2:]) - ops.maximum(own[..., :2], ranked[:, None, :, :2])
        intersection = ops.prod(ops.maximum(sides, 0.0), axis=-1)
        overlapping = intersection > iou_threshold * (own_area + areas[:, None] - intersection)
        overlapping = overlapping & (rank < (start + ops.arange(tile, dtype="int32"))[:, None])
        before = selected & (rank < start)
        candidate = ops.slice(selected, (0, start), (batch, tile)) & ~ops.any(overlapping & before[:, None], axis=-1)
        within = ops.slice(overlapping, (0, 0, start), (batch, tile, tile))

        def differ(last, now):
            return ops.any(ops.not_equal(last, now))

        def mark_again(last, now):
            return now, candidate & ~ops.any(within & now[:, None], axis=-1)

        _, settled = ops.while_loop(differ, mark_again, (~candidate, candidate))
        return ops.slice_update(selected, (0, start), settled)

    selected = ops.fori_loop(0, (count + missing) // tile, decide, selected)[:, :count]
    _, positions = top_k(ops.where(selected, count - rank[:count], 0), min(max_boxes, count))
    valid = ops.take_along_axis(selected, positions, axis=1)
    indices = ops.where(valid, ops.take_along_axis(order, positions, axis=1), 0)
    padding = [[0, 0], [0, max_boxes - min(max_boxes, count)]]
    return ops.pad(indices, padding), ops.pad(valid, padding)


def _on_cpu():
    import jax

    return jax.default_backend() == "cpu"


def _tensorflow_nms(boxes, scores, max_boxes, iou_threshold):
    import tensorflow as tf

    def suppress_one_image(arguments):
        indices, count = tf.raw_ops.NonMaxSuppressionV4(
            boxes=arguments[0],
            scores=arguments[1],
            max_output_size=max_boxes,
            iou_threshold=tf.constant(iou_threshold, tf.float32),
            score_threshold=tf.constant(-1e-12, tf.float32),
            pad_to_max_output_size=True,
        )
        return indices, tf.range(max_boxes) < count

    return tf.map_fn(suppress_one_image, (boxes, scores), fn_output_signature=(tf.int32, tf.bool))


def _torch_nms(boxes, scores, max_boxes, iou_threshold):
    try:
        from torchvision.ops import nms
    except (ImportError, RuntimeError):  # torchvision absent, or built for another torch
        return tiled_nms(boxes, scores, max_boxes, iou_threshold)
    import torch

    indices = torch.zeros((len(boxes), max_boxes), dtype=torch.int32, device=boxes.device)
    valid = torch.zeros((len(boxes), max_boxes), dtype=torch.bool, device=boxes.device)
    for image in range(len(boxes)):
        # torchvision takes any of equal scores first, so it is given places in the order instead. Boxes with a negative
        # score come last and suppress no box that counts. Leaving them out first would make the host wait for their
        # number.
        order = torch.argsort(scores[image], descending=True, stable=True)
        places = torch.arange(len(order), 0, -1, dtype=torch.float32, device=boxes.device)
        kept = order[nms(boxes[image, order].float(), places, iou_threshold)[:max_boxes]]
        indices[image, : len(kept)] = kept.int()
        valid[image, : len(kept)] = scores[image, kept] >= 0
    return indices * valid, valid
