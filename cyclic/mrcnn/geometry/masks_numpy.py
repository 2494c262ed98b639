"""Instance masks in NumPy: boxes, mini-masks, overlaps, and back to the full image.

A stack of masks is `[H, W, N]`, as in Matterport's API.
"""

import numpy as np

from cyclic.mrcnn.geometry.resizing import resize_linear


def extract_bboxes(mask: np.ndarray) -> np.ndarray:
    """Return the tight box of each mask of a `[H, W, N]` stack, `[N, 4]` int32; zeros for an empty mask."""
    boxes = np.zeros((mask.shape[-1], 4), dtype=np.int32)
    for axis in (0, 1):
        inside = (mask != 0).any(axis=1 - axis)
        boxes[:, axis] = inside.argmax(axis=0)
        boxes[:, axis + 2] = len(inside) - inside[::-1].argmax(axis=0)
        boxes[~inside.any(axis=0)] = 0
    return boxes


def compute_overlaps_masks(masks1: np.ndarray, masks2: np.ndarray) -> np.ndarray:
    """Return the intersection over union of every pair of masks (`[H, W, N1]`, `[H, W, N2]`), `[N1, N2]` float32.

    Two empty masks overlap by 0.
    """
    if masks1.shape[-1] == 0 or masks2.shape[-1] == 0:
        return np.zeros((masks1.shape[-1], masks2.shape[-1]), dtype=np.float32)
    flat1, flat2 = ((masks > 0.5).reshape(-1, masks.shape[-1]).astype(np.float32) for masks in (masks1, masks2))
    intersections = flat1.T @ flat2
    unions = flat1.sum(axis=0)[:, None] + flat2.sum(axis=0)[None, :] - intersections
    return intersections / np.maximum(unions, 1)


def minimize_mask(bbox: np.ndarray, mask: np.ndarray, mini_shape) -> np.ndarray:
    """Cut each mask to its box and resize it to `mini_shape`.

    Args:
        bbox: `[N, 4]` (y1, x1, y2, x2) int, pixels.
        mask: `[H, W, N]` bool.
        mini_shape: (height, width).

    Returns:
        `[height, width, N]` bool.

    Raises:
        ValueError: a box has no area.
    """
    mini = np.zeros((*mini_shape, mask.shape[-1]), dtype=bool)
    for i, (y1, x1, y2, x2) in enumerate(bbox[:, :4]):
        inside = mask[y1:y2, x1:x2, i]
        if inside.size == 0:
            raise ValueError(f"box {i} ({y1}, {x1}, {y2}, {x2}) has no area; leave the instance out")
        mini[:, :, i] = resize_linear(inside.astype(bool), mini_shape) > 0.5
    return mini


def expand_mask(bbox: np.ndarray, mini_mask: np.ndarray, image_shape) -> np.ndarray:
    """Undo `minimize_mask`: resize each mini-mask to its box in an image of `image_shape`, `[H, W, N]` bool."""
    mask = np.zeros((*image_shape[:2], mini_mask.shape[-1]), dtype=bool)
    for i, (y1, x1, y2, x2) in enumerate(bbox[:, :4]):
        mask[y1:y2, x1:x2, i] = resize_linear(mini_mask[:, :, i], (y2 - y1, x2 - x1)) > 0.5
    return mask


def unmold_mask(mask: np.ndarray, bbox: np.ndarray, image_shape) -> np.ndarray:
    """Turn the network's mask of one instance into a mask of the whole image.

    Args:
        mask: `[height, width]` float in [0, 1], e.g. 28 x 28.
        bbox: (y1, x1, y2, x2) int, the instance's box in pixels.
        image_shape: (H, W, ...) of the image.

    Returns:
        `[H, W]` bool, True where the resized mask is 0.5 or more.
    """
    y1, x1, y2, x2 = bbox
    full = np.zeros(image_shape[:2], dtype=bool)
    full[y1:y2, x1:x2] = resize_linear(mask, (y2 - y1, x2 - x1)) >= 0.5
    return full
