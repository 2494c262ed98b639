"""Matterport's helpers for code inside the network, for programs that bring layers of their own."""

from keras import ops

from cyclic.mrcnn.geometry.boxes import box_refinement


def box_refinement_graph(box, gt_box):
    """Return the deltas `[N, 4]` (dy, dx, log dh, log dw) that move the boxes `box` `[N, 4]` onto `gt_box` `[N, 4]`."""
    return box_refinement(ops.cast(box, "float32"), ops.cast(gt_box, "float32"))


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
