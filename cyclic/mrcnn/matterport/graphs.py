"""Matterport's helpers for code inside the network, for programs that bring layers of their own.

Those that `mrcnn.geometry.boxes` and `mrcnn.layers.losses` have as well are in `mrcnn.model` under Matterport's names.
All take tensors, arrays or the symbolic tensors of a Keras graph.
"""

from keras import ops

from cyclic.mrcnn.data.molding import read_meta
from cyclic.mrcnn.geometry.boxes import box_refinement, overlaps
from cyclic.mrcnn.layers.losses import rpn_bbox_loss, smooth_l1


def box_refinement_graph(box, gt_box):
    """Return the deltas `[N, 4]` (dy, dx, log dh, log dw) that move the boxes `box` `[N, 4]` onto `gt_box` `[N, 4]`."""
    return box_refinement(ops.cast(box, "float32"), ops.cast(gt_box, "float32"))


def overlaps_graph(boxes1, boxes2):
    """Return the IoU `[N, M]` of the boxes `[N, 4]` and `[M, 4]`; that of boxes without area is 0."""
    return overlaps(ops.expand_dims(boxes1, 0), ops.expand_dims(boxes2, 0))[0]


def denorm_boxes_graph(boxes, shape):
    """Return normalized `boxes` (`[..., 4]`) in pixels of an image of `shape` (height, width), int32."""
    height, width = ops.cast(shape[0], "float32"), ops.cast(shape[1], "float32")
    scale = ops.stack([height, width, height, width]) - 1.0
    return ops.cast(ops.round(ops.multiply(boxes, scale) + ops.convert_to_tensor([0.0, 0.0, 1.0, 1.0])), "int32")


def trim_zeros_graph(boxes, name="trim_zeros"):
    """Return the rows of `boxes` (`[N, 4]`) that are not all zero, and which these are (`[N]` bool).

    `name` is kept for Matterport's callers. JAX cannot compile a result whose size depends on the values.
    """
    kept = ops.any(ops.not_equal(boxes, 0), axis=1)
    return ops.take(boxes, _where(kept), axis=0), kept


def batch_pack_graph(x, counts, num_rows):
    """Return the first `counts[i]` entries of each of the `num_rows` rows of `x` (`[B, N, ...]`), one after another.

    JAX cannot compile a result whose size depends on the values.
    """
    # A tuple of slices, since a symbolic tensor takes no single one.
    x, counts = x[(slice(num_rows),)], ops.cast(counts[(slice(num_rows),)], "int32")
    inside = ops.less(ops.arange(ops.shape(x)[1], dtype="int32")[None], counts[:, None])
    flat = ops.reshape(x, (-1, *x.shape[2:]))
    return ops.take(flat, _where(ops.reshape(inside, (-1,))), axis=0)


def _where(mask):
    """Return the indices at which `mask` (`[N]` bool) is set."""
    # In a graph on PyTorch, Keras gives a table of one row in place of that row.
    return ops.reshape(ops.nonzero(mask)[0], (-1,))


def log2_graph(x):
    """Return the logarithm of `x` to the base 2."""
    return ops.log2(x)


def parse_image_meta_graph(meta):
    """Split image descriptions (`[B, 12 + NUM_CLASSES]`) into the arguments of `compose_image_meta`, by name."""
    names = ("original_image_shape", "image_shape", "window", "active_class_ids")
    single = {name: read_meta(meta, name)[:, 0] for name in ("image_id", "scale")}
    return {**single, **{name: read_meta(meta, name) for name in names}}


def smooth_l1_loss(y_true, y_pred):
    """Return 0.5 d^2 where the difference d is below 1, else |d| - 0.5, element by element."""
    return smooth_l1(ops.subtract(y_true, y_pred))


def rpn_bbox_loss_graph(config, target_bbox, rpn_match, rpn_bbox):
    """Return `losses.rpn_bbox_loss` of the other arguments; `config` is kept for Matterport's callers."""
    return rpn_bbox_loss(target_bbox, rpn_match, rpn_bbox)


def batch_slice(inputs, graph_fn, batch_size, names=None):
    """Apply a function that is written for one image to each image of a batch, and stack what it returns.

    Args:
        inputs: tensor `[B, ...]` or list of them.
        graph_fn: function of as many tensors without the batch axis; returns a tensor, or a list or tuple of them.
        batch_size: B.
        names: kept for Matterport's callers; tensors have no names.

    Returns:
        Tensor `[B, ...]`; a list where `graph_fn` returns several.
    """
    inputs = inputs if isinstance(inputs, list) else [inputs]
    results = [graph_fn(*(tensor[index] for tensor in inputs)) for index in range(batch_size)]
    results = [result if isinstance(result, (list, tuple)) else [result] for result in results]
    stacked = [ops.stack(parts, axis=0) for parts in zip(*results, strict=True)]
    return stacked[0] if len(stacked) == 1 else stacked
