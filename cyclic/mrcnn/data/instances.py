"""Instances of one image: boxes and masks, from a label map (without a stack of masks) or from a stack of masks.

Shape shorthand: N instances.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from scipy import ndimage

from cyclic.mrcnn.geometry.masks_numpy import extract_bboxes, minimize_mask

# With fewer pixels left, an instance that the image border cuts shows no shape to learn from.
MIN_CUT_AREA = 10


@dataclass
class Instances:
    """Ground truth of one image.

    Attributes:
        class_ids: `[N]` int32.
        boxes: `[N, 4]` int32 (y1, x1, y2, x2) in pixels.
        masks: `[N, h, w]` uint8 0 or 1: mini-masks, or masks of the whole image.
        left_out: `[H, W]` bool: pixels of instances that were left out.
    """

    class_ids: np.ndarray
    boxes: np.ndarray
    masks: np.ndarray
    left_out: np.ndarray


def instances_of_labels(labels: np.ndarray, mini_shape=None, limit=None, rng=None) -> Instances:
    """Return the instances of a label map, all of class 1, in the order of their labels.

    Two kinds of instances are left out: those that the border cuts to fewer than `MIN_CUT_AREA` pixels and, where more
    than `limit` are left, random ones.

    Args:
        labels: `[H, W]` integer, 0 background.
        mini_shape: (height, width) of the mini-masks; None returns masks of the whole image.
        limit: the most instances to return, or None.
        rng: `numpy.random.Generator` of the choice.
    """
    labels, count = _renumber(labels)
    height, width = labels.shape
    # Consecutive labels: none of the slices is None.
    slices = ndimage.find_objects(labels, count)
    boxes = np.array([(y.start, x.start, y.stop, x.stop) for y, x in slices], dtype=np.int32).reshape(-1, 4)
    areas = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    cut = (boxes[:, :2] == 0).any(axis=1) | (boxes[:, 2:] == (height, width)).any(axis=1)
    kept = draw_at_most(np.flatnonzero(~cut | (areas >= MIN_CUT_AREA)), limit, rng)

    left_out = np.ones(count + 1, dtype=bool)
    left_out[0] = left_out[kept + 1] = False
    if mini_shape is None:
        masks = (labels == (kept + 1)[:, None, None]).astype(np.uint8)
    else:
        masks = _mini_masks(labels, slices, kept, mini_shape)
    return Instances(np.ones(len(kept), dtype=np.int32), boxes[kept], masks, left_out[labels])


def instances_of_masks(class_ids: np.ndarray, masks: np.ndarray, mini_shape=None, limit=None, rng=None) -> Instances:
    """Return the instances of a stack of masks, without empty ones; where more than `limit` are left, random ones.

    Args:
        class_ids: `[N]` int.
        masks: `[H, W, N]` bool.
        mini_shape, limit, rng: see `instances_of_labels`.
    """
    present = np.flatnonzero(masks.any(axis=(0, 1)))
    kept = draw_at_most(present, limit, rng)
    left_out = np.asarray(masks[..., np.setdiff1d(present, kept)].any(axis=-1))
    masks = masks[..., kept]
    boxes = extract_bboxes(masks)
    if mini_shape is not None:
        masks = minimize_mask(boxes, masks, mini_shape)
    masks = np.ascontiguousarray(np.moveaxis(masks, -1, 0), dtype=np.uint8)
    return Instances(np.asarray(class_ids)[kept].astype(np.int32), boxes, masks, left_out)


def draw_at_most(indices: np.ndarray, limit, rng) -> np.ndarray:
    """Return `limit` of `indices`, drawn from `rng` and sorted, or all of them if there are no more than that."""
    if limit is None or len(indices) <= limit:
        return indices
    return np.sort(rng.choice(indices, limit, replace=False))


def _renumber(labels: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the label map with its labels renamed 1..count in their order (int32), and the count."""
    flat = labels.ravel()
    highest = int(flat.max(initial=0))
    if highest > 8 * flat.size:
        # A table with an entry for each possible label would be far larger than the image.
        values, flat = np.unique(np.append(flat, 0), return_inverse=True)
        return flat[:-1].reshape(labels.shape).astype(np.int32), len(values) - 1
    present = np.bincount(flat, minlength=1) > 0
    present[0] = False
    return (np.cumsum(present) * present).astype(np.int32)[labels], int(present.sum())


def _mini_masks(labels: np.ndarray, slices, kept: np.ndarray, mini_shape) -> np.ndarray:
    """Return `[N, height, width]` uint8, 0 or 1: each kept instance, cut to its box and resized."""
    height, width = mini_shape
    soft = np.empty((len(kept), height, width), dtype=np.uint8)
    for mask, index in zip(soft, kept, strict=True):
        inside = (labels[slices[index]] == index + 1).view(np.uint8) * 255
        cv2.resize(inside, (width, height), dst=mask, interpolation=cv2.INTER_LINEAR)
    return (soft > 127).view(np.uint8)
