"""Anchors: the boxes, fixed by the image shape alone, that the region proposal network scores and refines.

Shape shorthand: A anchors, L pyramid levels.
"""

import functools
import math

import numpy as np

from cyclic.mrcnn.geometry.boxes_numpy import norm_boxes


def generate_anchors(scales, ratios, shape, feature_stride: int, anchor_stride: int) -> np.ndarray:
    """Return the anchors of one feature map.

    Args:
        scales: one side length in pixels, or several.
        ratios: width / height of the anchors, several.
        shape: (height, width) of the feature map in cells.
        feature_stride: image pixels per cell.
        anchor_stride: cells between neighbouring anchor centres.

    Returns:
        `[A, 4]` float64 (y1, x1, y2, x2) in pixels, ordered by row, column, ratio, scale.
    """
    scales, roots = np.atleast_1d(scales), np.sqrt(np.atleast_1d(ratios))
    sizes = np.stack([scales / roots[:, None], scales * roots[:, None]], axis=-1).reshape(-1, 2)
    rows = np.arange(0, shape[0], anchor_stride) * feature_stride
    columns = np.arange(0, shape[1], anchor_stride) * feature_stride
    centers = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 1, 2)
    return np.concatenate([centers - 0.5 * sizes, centers + 0.5 * sizes], axis=-1).reshape(-1, 4)


def generate_pyramid_anchors(scales, ratios, feature_shapes, feature_strides, anchor_stride: int) -> np.ndarray:
    """Return the anchors of a feature pyramid: each level has one scale, every level all ratios.

    Args:
        scales: `[L]` side lengths in pixels, one for each level.
        ratios: width / height of the anchors.
        feature_shapes: `[L, 2]` (height, width) of each level in cells.
        feature_strides: `[L]` image pixels per cell.
        anchor_stride: cells between neighbouring anchor centres.

    Returns:
        `[A, 4]` float64 (y1, x1, y2, x2) in pixels, level after level.
    """
    levels = zip(scales, feature_shapes, feature_strides, strict=True)
    return np.concatenate(
        [generate_anchors(scale, ratios, shape, stride, anchor_stride) for scale, shape, stride in levels]
    )


def compute_backbone_shapes(config, image_shape) -> np.ndarray:
    """Return `[L, 2]` int: height and width of each pyramid level of an image of `image_shape` (height, width)."""
    if callable(config.BACKBONE):
        return config.COMPUTE_BACKBONE_SHAPE(image_shape)
    height, width = (int(side) for side in image_shape[:2])
    return np.array([[math.ceil(height / stride), math.ceil(width / stride)] for stride in config.BACKBONE_STRIDES])


def pyramid_anchors(config, image_shape) -> np.ndarray:
    """Return the anchors of an image of `image_shape`: `[A, 4]` float64 in pixels, cached and read-only."""
    return _cached_anchors(*_cache_key(config, image_shape))[0]


def pyramid_anchors_normalized(config, image_shape) -> np.ndarray:
    """Return the anchors of an image of `image_shape`: `[A, 4]` float32, normalized, cached and read-only.

    Normalized coordinates are those of `boxes_numpy.norm_boxes`: 0 is the centre of the first pixel, 1 of the last.
    """
    return _cached_anchors(*_cache_key(config, image_shape))[1]


def _cache_key(config, image_shape) -> tuple:
    shapes = compute_backbone_shapes(config, image_shape)
    return (
        tuple(config.RPN_ANCHOR_SCALES),
        tuple(config.RPN_ANCHOR_RATIOS),
        tuple(tuple(int(side) for side in shape) for shape in shapes),
        tuple(config.BACKBONE_STRIDES),
        config.RPN_ANCHOR_STRIDE,
        (int(image_shape[0]), int(image_shape[1])),
    )


@functools.lru_cache(maxsize=16)
def _cached_anchors(scales, ratios, shapes, strides, anchor_stride, image_size) -> tuple[np.ndarray, np.ndarray]:
    anchors = generate_pyramid_anchors(scales, ratios, shapes, strides, anchor_stride)
    normalized = norm_boxes(anchors, image_size)
    anchors.flags.writeable = normalized.flags.writeable = False
    return anchors, normalized
