"""Boxes in NumPy: overlaps, suppression, refinements and the change between pixel and normalized coordinates.

Boxes are `[N, 4]` (y1, x1, y2, x2); pixel coordinates have an exclusive end.
"""

import numpy as np


def norm_boxes(boxes: np.ndarray, shape) -> np.ndarray:
    """Return pixel `boxes` in normalized coordinates, `[N, 4]` float32.

    The exclusive end moves one pixel in, so that 0 and 1 are the centres of the first and the last pixel.

    Args:
        boxes: `[N, 4]` in pixels.
        shape: (height, width) of the image.
    """
    height, width = shape
    scale = np.array([height - 1, width - 1, height - 1, width - 1])
    return ((boxes - np.array([0, 0, 1, 1])) / scale).astype(np.float32)


def denorm_boxes(boxes: np.ndarray, shape) -> np.ndarray:
    """Return normalized `boxes` in pixels, `[N, 4]` int32; the inverse of `norm_boxes`, rounded."""
    height, width = shape
    scale = np.array([height - 1, width - 1, height - 1, width - 1])
    return np.around(boxes * scale + np.array([0, 0, 1, 1])).astype(np.int32)


def enlarge_boxes(boxes: np.ndarray, margin: float, windows: np.ndarray) -> np.ndarray:
    """Return boxes that are larger by the share `margin` along both axes about the same centre, cut to their window.

    Args:
        boxes: `[..., 4]` (y1, x1, y2, x2).
        margin: 0 or more; 0.1 makes a side of 20 one of 22.
        windows: `[..., 4]`, broadcast against `boxes`, in the same coordinates.
    """
    grown = 0.5 * margin * (boxes[..., 2:] - boxes[..., :2])
    low, high = boxes[..., :2] - grown, boxes[..., 2:] + grown
    return np.concatenate([np.maximum(low, windows[..., :2]), np.minimum(high, windows[..., 2:])], axis=-1)


def _areas(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def compute_iou(box: np.ndarray, boxes: np.ndarray, box_area, boxes_area: np.ndarray) -> np.ndarray:
    """Return the intersection over union of `box` (`[4]`) with each of `boxes` (`[N, 4]`), `[N]`.

    The areas are arguments so that a caller computes them once.
    """
    height = np.minimum(box[2], boxes[:, 2]) - np.maximum(box[0], boxes[:, 0])
    width = np.minimum(box[3], boxes[:, 3]) - np.maximum(box[1], boxes[:, 1])
    intersection = np.maximum(width, 0) * np.maximum(height, 0)
    return intersection / (box_area + boxes_area - intersection)


def compute_overlaps(boxes1: np.ndarray, boxes2: np.ndarray) -> np.ndarray:
    """Return the intersection over union of every pair, `[N1, N2]` float64."""
    height = np.minimum(boxes1[:, None, 2], boxes2[None, :, 2]) - np.maximum(boxes1[:, None, 0], boxes2[None, :, 0])
    width = np.minimum(boxes1[:, None, 3], boxes2[None, :, 3]) - np.maximum(boxes1[:, None, 1], boxes2[None, :, 1])
    intersection = np.maximum(width, 0) * np.maximum(height, 0)
    return intersection / (_areas(boxes1)[:, None] + _areas(boxes2)[None, :] - intersection)


def non_max_suppression(boxes: np.ndarray, scores: np.ndarray, threshold: float) -> np.ndarray:
    """Return the indices of the boxes kept, best score first, `[K]` int32.

    A box is dropped when it overlaps a better one that is kept by more than `threshold`.
    """
    boxes = boxes.astype(np.float32)
    areas = _areas(boxes)
    order = np.argsort(-scores, kind="stable")
    kept = []
    while len(order):
        best, rest = order[0], order[1:]
        kept.append(best)
        order = rest[compute_iou(boxes[best], boxes[rest], areas[best], areas[rest]) <= threshold]
    return np.array(kept, dtype=np.int32)


def _centers_and_sizes(boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    sizes = boxes[:, 2:] - boxes[:, :2]
    return boxes[:, :2] + 0.5 * sizes, sizes


def apply_box_deltas(boxes: np.ndarray, deltas: np.ndarray) -> np.ndarray:
    """Return `boxes` moved and scaled by `deltas` (`[N, 4]`: dy, dx, log dh, log dw), `[N, 4]` float32."""
    centers, sizes = _centers_and_sizes(boxes.astype(np.float32))
    centers = centers + deltas[:, :2] * sizes
    sizes = sizes * np.exp(deltas[:, 2:])
    top_left = centers - 0.5 * sizes
    return np.concatenate([top_left, top_left + sizes], axis=1)


def box_refinement(box: np.ndarray, gt_box: np.ndarray) -> np.ndarray:
    """Return the deltas that take `box` to `gt_box`, both `[N, 4]`; `[N, 4]` float32 (dy, dx, log dh, log dw)."""
    centers, sizes = _centers_and_sizes(box.astype(np.float32))
    gt_centers, gt_sizes = _centers_and_sizes(gt_box.astype(np.float32))
    return np.concatenate([(gt_centers - centers) / sizes, np.log(gt_sizes / sizes)], axis=1)
