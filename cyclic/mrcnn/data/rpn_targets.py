"""Targets of the region proposal network: which anchors are positive, negative or neutral, and their box refinements.

An anchor overlaps only the few instances near it, so only the overlaps of such pairs are computed. Anchors of one size
form a regular grid, and those that overlap a box fill a rectangle of its rows and columns.

Shape shorthand: A anchors, G instances, P pairs of an anchor and an instance that overlap.
"""

import cv2
import numpy as np

from cyclic.mrcnn.geometry.anchors_numpy import compute_backbone_shapes

# Overlaps that make an anchor positive, negative, or touch a crowd box (Ren et al. 2015, section 3.1.2; Matterport).
POSITIVE_OVERLAP = 0.7
NEGATIVE_OVERLAP = 0.3
CROWD_OVERLAP = 0.001


def build_rpn_targets(
    image_shape, anchors: np.ndarray, gt_class_ids: np.ndarray, gt_boxes: np.ndarray, config, ignore=None, rng=None
) -> tuple[np.ndarray, np.ndarray]:
    """Match anchors to ground-truth boxes.

    An anchor is positive when it overlaps a box by 0.7 or more, or when no anchor overlaps that box more; negative
    when it overlaps every box by less than 0.3; otherwise neutral. A random RPN_TRAIN_ANCHORS_PER_IMAGE of them, at
    most half positive, are kept, the others become neutral.

    Args:
        image_shape: (H, W, ...) of the image the anchors are made for.
        anchors: `[A, 4]` float64 (y1, x1, y2, x2) in pixels, `anchors_numpy.pyramid_anchors(config, image_shape)`.
        gt_class_ids: `[G]` int; negative ids mark crowd boxes, near which no anchor is negative. G may be 0.
        gt_boxes: `[G, 4]` (y1, x1, y2, x2) in pixels.
        config: `Config`.
        ignore: `[H, W]` bool or None; an anchor with more than IGNORE_OVERLAP of its area inside the image in this
            region is neutral unless it is positive.
        rng: `numpy.random.Generator` of the sampling.

    Returns:
        rpn_match: `[A]` int32: 1 positive, -1 negative, 0 neutral.
        rpn_bbox: `[RPN_TRAIN_ANCHORS_PER_IMAGE, 4]` float64 (dy, dx, log dh, log dw) / RPN_BBOX_STD_DEV of the positive
            anchors in their order, then zeros.

    Raises:
        ValueError: the anchors are not those of `config` and `image_shape`.
    """
    grid_shapes = compute_backbone_shapes(config, image_shape)
    crowd = gt_class_ids < 0
    boxes = gt_boxes[gt_class_ids > 0] if crowd.any() else gt_boxes

    pair_anchor, pair_box, overlap = _overlapping_pairs(anchors, boxes, grid_shapes, config)
    anchor_best, box_best = np.zeros(len(anchors)), np.zeros(len(boxes))
    np.maximum.at(anchor_best, pair_anchor, overlap)
    np.maximum.at(box_best, pair_box, overlap)
    # Where several boxes overlap an anchor equally, the first one counts. The order is reversed, so it is written last.
    best_pairs = np.flatnonzero(overlap == anchor_best[pair_anchor])[::-1]
    matched_box = np.zeros(len(anchors), dtype=np.int64)
    matched_box[pair_anchor[best_pairs]] = pair_box[best_pairs]

    negative = anchor_best < NEGATIVE_OVERLAP
    if crowd.any():
        crowd_anchor, _, crowd_overlap = _overlapping_pairs(anchors, gt_boxes[crowd], grid_shapes, config)
        negative[crowd_anchor[crowd_overlap >= CROWD_OVERLAP]] = False
    if ignore is not None:
        negative[_ignored_share(anchors, ignore) > config.IGNORE_OVERLAP] = False
    match = np.where(negative, -1, 0).astype(np.int32)
    match[pair_anchor[overlap == box_best[pair_box]]] = 1
    match[anchor_best >= POSITIVE_OVERLAP] = 1

    rng = rng or np.random.default_rng()
    _keep_at_most(match, 1, config.RPN_TRAIN_ANCHORS_PER_IMAGE // 2, rng)
    positive = np.flatnonzero(match == 1)
    _keep_at_most(match, -1, config.RPN_TRAIN_ANCHORS_PER_IMAGE - len(positive), rng)

    targets = np.zeros((config.RPN_TRAIN_ANCHORS_PER_IMAGE, 4))
    refinements = _refinements(anchors[positive], boxes[matched_box[positive]]) if len(positive) else np.zeros((0, 4))
    targets[: len(positive)] = refinements / config.RPN_BBOX_STD_DEV
    return match, targets


def _overlapping_pairs(anchors, boxes, grid_shapes, config) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the pairs that overlap: anchor index `[P]`, box index `[P]`, intersection over union `[P]` float64.

    The pairs of one anchor are in the order of the boxes.
    """
    ratios, step = len(config.RPN_ANCHOR_RATIOS), config.RPN_ANCHOR_STRIDE
    sides = [(-(-int(height) // step), -(-int(width) // step)) for height, width in grid_shapes]
    if len(anchors) != sum(rows * columns for rows, columns in sides) * ratios:
        raise ValueError(f"{len(anchors)} anchors do not fit pyramid levels of {sides} cells with {ratios} ratios")
    parts, first = [], 0
    for rows, columns in sides:
        level = anchors[first : first + rows * columns * ratios].reshape(rows, columns, ratios, 4)
        for ratio in range(ratios):
            cell, box, overlap = _grid_pairs(level[:, 0, ratio, 0::2], level[0, :, ratio, 1::2], boxes)
            parts.append((first + cell * ratios + ratio, box, overlap))
        first += rows * columns * ratios
    pair_anchor, pair_box, overlap = (np.concatenate(part) for part in zip(*parts, strict=True))
    return pair_anchor, pair_box, overlap


def _grid_pairs(row_spans, column_spans, boxes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the pairs of a grid of equal anchors: cell index, box index, intersection over union, each `[P]`.

    Args:
        row_spans, column_spans: `[rows, 2]` (y1, y2) and `[columns, 2]` (x1, x2) of the anchors, rising.
        boxes: `[G, 4]`.
    """
    height, row_from, row_count = _shared_lengths(row_spans, boxes[:, 0::2])
    width, column_from, column_count = _shared_lengths(column_spans, boxes[:, 1::2])
    count = row_count * column_count
    box = np.repeat(np.arange(len(boxes)), count)
    within = np.arange(len(box)) - np.repeat(np.cumsum(count) - count, count)
    row_offset, column_offset = np.divmod(within, column_count[box])
    row, column = row_from[box] + row_offset, column_from[box] + column_offset
    intersection = height[box, row] * width[box, column]
    anchor_areas = np.diff(row_spans) * np.diff(column_spans)[:, 0]
    box_areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return (
        row * len(column_spans) + column,
        box,
        intersection / (box_areas[box] + anchor_areas[row, column] - intersection),
    )


def _shared_lengths(spans, box_spans) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Intersect boxes with spans along one axis.

    Returns:
        shared: `[G, spans]` the length that each box shares with each span.
        first: `[G]` the first span that the box overlaps.
        count: `[G]` how many spans it overlaps.
    """
    ends = np.minimum(spans[None, :, 1], box_spans[:, 1:])
    shared = np.maximum(ends - np.maximum(spans[None, :, 0], box_spans[:, :1]), 0)
    meets = shared > 0
    return shared, meets.argmax(axis=1), meets.sum(axis=1)


def _ignored_share(anchors, ignore) -> np.ndarray:
    """Return the share of each anchor's area inside the image that is in the ignore region, `[A]` float64."""
    height, width = ignore.shape
    integral = cv2.integral(ignore.astype(np.uint8))
    y1, y2 = np.clip(np.rint(anchors[:, 0::2]), 0, height).astype(np.int64).T
    x1, x2 = np.clip(np.rint(anchors[:, 1::2]), 0, width).astype(np.int64).T
    inside = integral[y2, x2] - integral[y1, x2] - integral[y2, x1] + integral[y1, x1]
    return inside / np.maximum((y2 - y1) * (x2 - x1), 1)


def _keep_at_most(match, value, limit, rng) -> None:
    """Set random anchors with `value` to neutral, in place, until `limit` are left."""
    anchors = np.flatnonzero(match == value)
    if len(anchors) > limit:
        match[rng.choice(anchors, len(anchors) - limit, replace=False)] = 0


def _refinements(anchors, boxes) -> np.ndarray:
    """Return the deltas (dy, dx, log dh, log dw) that take each anchor to its box, `[N, 4]` float64."""
    anchor_sizes, box_sizes = anchors[:, 2:] - anchors[:, :2], boxes[:, 2:] - boxes[:, :2]
    shift = (boxes[:, :2] + 0.5 * box_sizes) - (anchors[:, :2] + 0.5 * anchor_sizes)
    return np.concatenate([shift / anchor_sizes, np.log(box_sizes / anchor_sizes)], axis=1)
