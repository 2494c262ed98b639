"""Box arithmetic in `keras.ops`.

Shape shorthand: B images, N boxes, G ground-truth instances.
Boxes are `(y1, x1, y2, x2)`; inside the network they are normalized so that 0 and 1 are the centres of the first and
last pixel, as in Matterport's Mask R-CNN.
"""

from keras import ops


def apply_box_deltas(boxes, deltas):
    """Shift and scale boxes by regression deltas.

    Args:
        boxes: `[..., 4]` float (y1, x1, y2, x2).
        deltas: `[..., 4]` float (dy, dx, log(dh), log(dw)), relative to the box size.

    Returns:
        `[..., 4]` boxes.
    """
    top_left, bottom_right = boxes[..., :2], boxes[..., 2:]
    size = bottom_right - top_left
    centre = top_left + 0.5 * size + deltas[..., :2] * size
    size = ops.multiply(size, ops.exp(deltas[..., 2:]))
    top_left = ops.subtract(centre, 0.5 * size)
    return ops.concatenate([top_left, top_left + size], axis=-1)


def box_refinement(boxes, targets):
    """Return the deltas `[..., 4]` that move `boxes` onto `targets`, the inverse of `apply_box_deltas`.

    The deltas of boxes without area (padding) are finite, but mean nothing.
    """
    size = ops.maximum(boxes[..., 2:] - boxes[..., :2], 1e-7)
    target_size = ops.maximum(targets[..., 2:] - targets[..., :2], 1e-7)
    centre = boxes[..., :2] + 0.5 * size
    target_centre = targets[..., :2] + 0.5 * target_size
    return ops.concatenate([(target_centre - centre) / size, ops.log(target_size / size)], axis=-1)


def clip_boxes(boxes, window):
    """Clip `boxes` (`[..., 4]`) to `window` (`[..., 4]`, broadcast against the boxes)."""
    low, high = window[..., :2], window[..., 2:]
    corners = (boxes[..., :2], boxes[..., 2:])
    return ops.concatenate([ops.maximum(ops.minimum(corner, high), low) for corner in corners], axis=-1)


def overlaps(boxes1, boxes2):
    """Return the IoU `[B, N, G]` of every box in `boxes1` (`[B, N, 4]`) with every box in `boxes2` (`[B, G, 4]`).

    Boxes without area have IoU 0 with everything.
    """
    first, second = boxes1[:, :, None, :], boxes2[:, None, :, :]
    sides = ops.minimum(first[..., 2:], second[..., 2:]) - ops.maximum(first[..., :2], second[..., :2])
    intersection = ops.prod(ops.maximum(sides, 0.0), axis=-1)
    union = box_area(boxes1)[:, :, None] + box_area(boxes2)[:, None, :] - intersection
    return ops.where(union > 0, intersection / ops.where(union > 0, union, 1.0), 0.0)


def box_area(boxes):
    """Return the area of each box: `[..., 4]` -> `[...]`."""
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def normalize_boxes(boxes, shape):
    """Convert pixel boxes (`[..., 4]`, exclusive end) to normalized ones for an image of `shape` (height, width)."""
    height, width = ops.cast(shape[0], "float32"), ops.cast(shape[1], "float32")
    scale = ops.stack([height, width, height, width]) - 1.0
    shift = ops.convert_to_tensor([0.0, 0.0, 1.0, 1.0])
    return (ops.cast(boxes, "float32") - shift) / scale


def ignored_share(boxes, ignore):
    """Return the share of each box's area that lies in the ignore region.

    Args:
        boxes: `[B, N, 4]` normalized boxes.
        ignore: `[B, H, W]`, non-zero where ignored.

    Returns:
        `[B, N]` float32 in [0, 1]; 0 for boxes of no area.
    """
    height, width = ops.shape(ignore)[1], ops.shape(ignore)[2]
    integral = ops.cumsum(ops.cumsum(ops.cast(ignore > 0, "float32"), axis=1), axis=2)
    integral = ops.reshape(ops.pad(integral, [[0, 0], [1, 0], [1, 0]]), (-1, (height + 1) * (width + 1)))
    scale = ops.cast(ops.stack([height, width, height, width]), "float32") - 1.0
    pixels = ops.round(boxes * scale + ops.convert_to_tensor([0.0, 0.0, 1.0, 1.0]))
    pixels = ops.cast(ops.maximum(pixels, 0.0), "int32")
    y1, x1 = ops.minimum(pixels[..., 0], height), ops.minimum(pixels[..., 1], width)
    y2, x2 = ops.minimum(pixels[..., 2], height), ops.minimum(pixels[..., 3], width)

    def corner(y, x):
        return ops.take_along_axis(integral, y * (width + 1) + x, axis=1)

    inside = corner(y2, x2) - corner(y1, x2) - corner(y2, x1) + corner(y1, x1)
    area = ops.cast((y2 - y1) * (x2 - x1), "float32")
    return ops.where(area > 0, inside / ops.maximum(area, 1.0), 0.0)
