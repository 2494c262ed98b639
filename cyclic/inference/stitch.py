"""Put the detections of overlapping tiles together into one label map.

Works on crops throughout: a mask is never larger than its box, and only detections with intersecting boxes are
compared. Shape shorthand: n detections of a tile, D detections of all tiles, N nuclei of the label map.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from cyclic.labels import areas, ellipse_fit, paint_largest_part

Window = tuple[int, int, int, int]

# A box this near to its tile's edge counts as cut by it: box regression rarely ends on the very last pixel.
EDGE_PX = 1
# A detection goes if a better one covers this share of the smaller of the two.
CONTAINMENT = 0.6


class TileDetections(NamedTuple):
    """What the model found in one tile; a plain tuple of the four is taken as well.

    Attributes:
        window: (y1, x1, y2, x2) of the tile in the image.
        rois: `[n, 4]` int (y1, x1, y2, x2) px within the tile.
        scores: `[n]` float in [0, 1].
        masks: n bool arrays, each of its ROI's height and width; None will do for those that are not `best_seen`.
    """

    window: Window
    rois: np.ndarray
    scores: np.ndarray
    masks: Sequence[np.ndarray | None]


def stitch(
    tile_detections: Iterable[TileDetections],
    shape: tuple[int, int],
    *,
    mask_iou: float,
    min_area: int,
    shape_power: float = 0.0,
    max_area_ratio: float | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the label map and scores of the whole image.

    A detection that an inner tile edge cuts is dropped if its centre lies deeper inside another tile, which sees it
    better. Then, in descending rank: a detection is suppressed by a better one with the same pixels, the others are
    painted where nothing better lies, each with the largest connected part that is left of it. The rank is the score
    times the ellipse fit to the power `shape_power`: of two detections of a clump that the class head is as sure of,
    the one that looks like a nucleus wins.

    Args:
        tile_detections: one `TileDetections` a tile, of any number of tiles, with the empty ones.
        shape: (H, W) of the image.
        mask_iou: a detection is suppressed by a better one from this mask IoU up.
        min_area: px that must be left of a detection.
        shape_power: 0 or more; 0 ranks by the score alone.
        max_area_ratio: a detection larger than this many median areas (see `median_area`) is a clump. It is left out,
            and the others are suppressed and painted anew. None: no limit.

    Returns:
        `[H, W]` int32 label map with the labels 1..N in descending score, and `[N]` float32 scores (of label i at i -
        1).

    Raises:
        ValueError: a mask has another size than its ROI, or one that is read is None.
    """
    boxes, scores, rank, masks = collect([TileDetections(*tile) for tile in tile_detections], shape, shape_power)
    order = np.argsort(-rank, kind="stable")
    boxes, scores, masks = boxes[order], scores[order], [masks[i] for i in order]
    sizes = np.array([np.count_nonzero(mask) for mask in masks], int)
    later, better, hides = overlaps(boxes, masks, sizes, mask_iou)

    def put_together(candidates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        kept = suppress(candidates, later[hides], better[hides])
        return _by_score(*_paint(boxes, scores, masks, kept, shape, min_area))

    labels, found = put_together(sizes > 0)
    if max_area_ratio is None or len(found) == 0:
        return labels, found
    small = sizes <= max_area_ratio * median_area(labels, found)
    return (labels, found) if small.all() else put_together(small & (sizes > 0))


def median_area(labels: np.ndarray, scores: np.ndarray) -> float:
    """Return the median area in pixels of the better-scored half of the detections 1..N, N > 0."""
    area = areas(labels, len(scores))
    return float(np.median(area[: (len(area) + 1) // 2]))


def _shapes(masks: list[np.ndarray]) -> np.ndarray:
    """`[D]` float: the ellipse fit of each mask, 1 for one without pixels."""
    return np.array([ellipse_fit(mask) if mask.any() else 1.0 for mask in masks])


def collect(
    tiles: Sequence[TileDetections], shape: tuple[int, int], shape_power: float, windows: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[np.ndarray]]:
    """Return the detections that their tile sees best.

    Args:
        tiles: what was found in each.
        shape: (H, W) of the image.
        shape_power: see `stitch`.
        windows: `[tiles, 4]` of all tiles, or of all that these meet; None: `tiles` are all.

    Returns:
        `[D, 4]` int64 boxes in px of the image, `[D]` float32 scores, `[D]` float ranks, and D bool masks of their
        boxes' sizes; in the order of the tiles.

    Raises:
        ValueError: see `stitch`.
    """
    if windows is None:
        windows = np.array([tile.window for tile in tiles], np.int64).reshape(-1, 4)
    boxes, scores, masks = [np.zeros((0, 4), np.int64)], [np.zeros(0, np.float32)], []
    for tile in tiles:
        rois = np.asarray(tile.rois, np.int64).reshape(-1, 4)
        for roi, mask in zip(rois, tile.masks, strict=True):
            if mask is not None and mask.shape != (roi[2] - roi[0], roi[3] - roi[1]):
                raise ValueError(f"mask of shape {mask.shape} for the ROI {roi.tolist()}; a mask has its ROI's size")
        inside = boxes_in_image(rois, tile.window)
        index = np.flatnonzero(best_seen(rois, tile.window, windows, shape))
        boxes.append(inside[index])
        scores.append(np.asarray(tile.scores, np.float32)[index])
        relative = inside - np.tile(tile.window[:2], 2)
        masks += [_cut(tile.masks[i], rois[i], relative[i]) for i in index.tolist()]
    score = np.concatenate(scores)
    rank = score * _shapes(masks) ** shape_power if shape_power else score
    return np.concatenate(boxes), score, rank, masks


def _cut(mask: np.ndarray | None, roi: np.ndarray, inside: np.ndarray) -> np.ndarray:
    if mask is None:
        raise ValueError(f"no mask for the ROI {roi.tolist()}, which no other tile sees better")
    y1, x1, y2, x2 = inside - np.tile(roi[:2], 2)
    return np.asarray(mask, bool)[y1:y2, x1:x2]


def boxes_in_image(rois: np.ndarray, window: Window) -> np.ndarray:
    """Return the boxes of a tile in px of the image, cut back to its window; padding of a small image lies outside.

    Args:
        rois: `[n, 4]` int px within the tile.
        window: (y1, x1, y2, x2) of the tile in the image.

    Returns:
        `[n, 4]` int64; what lies outside has no pixels.
    """
    start, end = np.tile(window[:2], 2), np.tile(window[2:], 2)
    return np.clip(np.asarray(rois, np.int64).reshape(-1, 4) + start, start, end)


def best_seen(rois: np.ndarray, window: Window, windows: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return which boxes of a tile `stitch` reads: it sees them whole, or no other tile sees them better.

    Further windows never make it read more of them.

    Args:
        rois, window: see `TileDetections`.
        windows: `[tiles, 4]` of all tiles, this one among them.
        shape: (H, W) of the image.

    Returns:
        `[n]` bool; False as well where a box has no pixels in the window.
    """
    boxes, own = boxes_in_image(rois, window), np.array([window])
    keep = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    cut = np.flatnonzero(depth(boxes[:, :2], boxes[:, 2:], own, shape)[:, 0] <= EDGE_PX)
    near = windows[intersects(own[0], windows)]
    centres = (boxes[cut, :2] + boxes[cut, 2:]) / 2
    keep[cut] &= depth(centres, centres, near, shape).max(axis=1) <= depth(centres, centres, own, shape)[:, 0]
    return keep


def depth(low: np.ndarray, high: np.ndarray, windows: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Px from each box `low`, `high` (`[n, 2]` each) to the nearest inner edge of each window, `[n, windows]`."""
    start = np.where(windows[:, :2] > 0, windows[:, :2], -np.inf)
    end = np.where(windows[:, 2:] < np.array(shape), windows[:, 2:], np.inf)
    return np.minimum(low[:, None] - start, end - high[:, None]).min(axis=2)


def intersects(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return `[n]` bool: which of `boxes` (`[n, 4]`) share pixels with `box`."""
    return np.all((boxes[:, :2] < box[2:]) & (boxes[:, 2:] > box[:2]), axis=1)


def overlaps(
    boxes: np.ndarray,
    masks: Sequence[np.ndarray],
    sizes: np.ndarray,
    mask_iou: float,
    of: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return which detections, in descending rank, share pixels.

    Args:
        boxes: `[D, 4]` int px of the image.
        masks: D bool arrays of their boxes' sizes.
        sizes: `[D]` int, pixels of each mask.
        mask_iou: see `stitch`.
        of: `[D]` bool, the later ones that are asked for; None: all.

    Returns:
        `[pairs]` int64 each: the later one and the better one, sorted by them; and `[pairs]` bool, whether the later
        one goes if both are there.
    """
    pairs = np.array(_intersecting_pairs(boxes), np.int64)
    if of is not None:
        pairs = pairs[:, of[pairs[0]]]
    shared = np.array([_intersection(boxes[a], masks[a], boxes[b], masks[b]) for a, b in pairs.T.tolist()], np.int64)
    later, better = pairs[:, shared > 0]
    shared = shared[shared > 0]
    union, smaller = sizes[later] + sizes[better] - shared, np.minimum(sizes[later], sizes[better])
    return later, better, (shared >= mask_iou * union) | (shared >= CONTAINMENT * smaller)


def suppress(candidates: np.ndarray, later: np.ndarray, better: np.ndarray) -> np.ndarray:
    """Return the detections that stay: greedy suppression in descending rank.

    Args:
        candidates: `[D]` bool, those that count at all.
        later, better: `[pairs]` int, sorted; the later one goes if the better one stays.

    Returns:
        `[D]` bool.
    """
    kept = candidates.copy()
    for worse, good in zip(later.tolist(), better.tolist(), strict=True):
        if kept[good]:
            kept[worse] = False
    return kept


def _intersecting_pairs(boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices (later, better), better < later, of boxes that share area, sorted by `later`, then `better`."""
    # Sorted by the top edge, the boxes that begin within box i's height follow it directly.
    order = np.argsort(boxes[:, 0], kind="stable")
    tops = boxes[order, 0]
    position = np.arange(len(order))
    count = np.maximum(np.searchsorted(tops, boxes[order, 2]) - position - 1, 0)
    first = np.repeat(position, count)
    second = first + 1 + np.arange(len(first)) - np.repeat(np.cumsum(count) - count, count)
    a, b = order[first], order[second]
    meet = (boxes[a, 1] < boxes[b, 3]) & (boxes[b, 1] < boxes[a, 3])
    later, better = np.maximum(a[meet], b[meet]), np.minimum(a[meet], b[meet])
    by_score = np.lexsort((better, later))
    return later[by_score], better[by_score]


def _intersection(box_a: np.ndarray, mask_a: np.ndarray, box_b: np.ndarray, mask_b: np.ndarray) -> int:
    (ay, ax, ay2, ax2), (by, bx, by2, bx2) = box_a.tolist(), box_b.tolist()
    y1, x1, y2, x2 = max(ay, by), max(ax, bx), min(ay2, by2), min(ax2, bx2)
    part_a = mask_a[y1 - ay : y2 - ay, x1 - ax : x2 - ax]
    part_b = mask_b[y1 - by : y2 - by, x1 - bx : x2 - bx]
    return int(np.count_nonzero(part_a & part_b))


def _paint(
    boxes: np.ndarray,
    scores: np.ndarray,
    masks: list[np.ndarray],
    kept: np.ndarray,
    shape: tuple[int, int],
    min_area: int,
) -> tuple[np.ndarray, np.ndarray]:
    labels = np.zeros(shape, np.int32)
    painted: list[float] = []
    for i in np.flatnonzero(kept):
        y1, x1, y2, x2 = boxes[i]
        if paint_largest_part(labels[y1:y2, x1:x2], masks[i], len(painted) + 1, min_area):
            painted.append(scores[i])
    return labels, np.array(painted, np.float32)


def _by_score(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The label map with its labels 1..N renumbered by descending score, and the scores in that order."""
    order = np.argsort(-scores, kind="stable")
    number = np.zeros(len(scores) + 1, np.int32)
    number[order + 1] = np.arange(1, len(scores) + 1)
    return number[labels], scores[order]
