"""Detect nuclei in several flips and turns of an image, and merge them: mean scores, and outlines by majority.

Shape shorthand: V views, D detections of all views, N nuclei.
"""

import itertools
from collections.abc import Callable, Iterator

import numpy as np
from scipy import ndimage

from cyclic.labels import paint_largest_part
from cyclic.symmetry import SYMMETRIES, restore, transform

# Detections of two views that overlap this much (IoU) show the same nucleus.
SAME_NUCLEUS = 0.4

Detections = tuple[np.ndarray, np.ndarray]


def detect_in_views(
    detect: Callable[[np.ndarray], Detections], image: np.ndarray, views: int, min_area: int
) -> Detections:
    """Return what `views` of the image agree on.

    Args:
        detect: `[H, W, 3]` uint8 image -> `[H, W]` int32 labels 1..N in descending score, and `[N]` float32 scores.
        image: `[H, W, 3]` uint8.
        views: 1 to 8, the number of flips and turns; 1 is the image alone.
        min_area: smaller nuclei are dropped, pixels.

    Returns:
        Labels and scores like those of `detect`; a score is the mean over the views, 0 in those that miss the nucleus.
    """
    detections = []
    for turns, flipped in SYMMETRIES[:views]:
        labels, scores = detect(transform(image, turns, flipped))
        detections.append((restore(labels, turns, flipped), scores))
    return detections[0] if views == 1 else merge_views(detections, min_area)


def merge_views(detections: list[Detections], min_area: int) -> Detections:
    """Return the nuclei of several label maps of one image.

    In order of falling score, a detection gathers from each other view the free detection that overlaps it most, by
    `SAME_NUCLEUS` or more. The nucleus is what at least half of the gathered masks share.

    Args:
        detections: V label maps `[H, W]` int32, each with the scores `[n]` of its labels 1..n.
        min_area: smaller nuclei are dropped, pixels.

    Returns:
        `[H, W]` int32 labels 1..N in descending score, and `[N]` float32 mean scores over the views.
    """
    clusters = list(_group_by_nucleus(detections))
    boxes = [ndimage.find_objects(labels) for labels, _ in detections]
    sums = [sum(float(detections[view][1][index]) for view, index in members) for members in clusters]
    scores = np.array([total / len(detections) for total in sums], np.float32)
    painted = np.zeros(detections[0][0].shape, np.int32)
    kept: list[np.float32] = []
    for number in np.argsort(-scores, kind="stable"):
        members = clusters[number]
        spans = [boxes[view][index] for view, index in members]
        window = tuple(slice(min(s[axis].start for s in spans), max(s[axis].stop for s in spans)) for axis in (0, 1))
        votes = np.sum([detections[view][0][window] == index + 1 for view, index in members], axis=0)
        if paint_largest_part(painted[window], 2 * votes >= len(members), len(kept) + 1, min_area):
            kept.append(scores[number])
    return painted, np.array(kept, np.float32)


def _group_by_nucleus(detections: list[Detections]) -> Iterator[list[tuple[int, int]]]:
    """Yield `(view, index of the detection)` of the detections that show one nucleus."""
    pairs = itertools.permutations(range(len(detections)), 2)
    overlapping = {(a, b): _find_best_overlap(detections[a], detections[b]) for a, b in pairs}
    best_first = sorted(
        (-float(score), view, index)
        for view, (_, scores) in enumerate(detections)
        for index, score in enumerate(scores)
    )
    taken = [np.zeros(len(scores), bool) for _, scores in detections]
    for _, view, index in best_first:
        if taken[view][index]:
            continue
        members = [(view, index)]
        for other in range(len(detections)):
            if other != view:
                partner = int(overlapping[view, other][index])
                if partner >= 0 and not taken[other][partner]:
                    members.append((other, partner))
        for member_view, member in members:
            taken[member_view][member] = True
        yield members


def _find_best_overlap(first: Detections, second: Detections) -> np.ndarray:
    """Return for each detection of `first` the index of the one of `second` that overlaps it most, or -1."""
    (a, a_scores), (b, b_scores) = first, second
    pairs = a.astype(np.int64) * (len(b_scores) + 1) + b
    codes, shared = np.unique(pairs[(a > 0) & (b > 0)], return_counts=True)
    one, other = np.divmod(codes, len(b_scores) + 1)
    a_area = np.bincount(a.ravel(), minlength=len(a_scores) + 1)
    b_area = np.bincount(b.ravel(), minlength=len(b_scores) + 1)
    iou = shared / (a_area[one] + b_area[other] - shared)
    best = np.full(len(a_scores), -1)
    for index in np.argsort(iou, kind="stable"):
        if iou[index] >= SAME_NUCLEUS:
            best[one[index] - 1] = other[index] - 1
    return best
