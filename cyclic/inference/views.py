"""Agreement of several views of one image, flips and turns of it: nuclei by their mean score, outlines by majority.

Shape shorthand: V views, D detections of all views, N nuclei.
"""

import itertools
from collections.abc import Callable, Iterator

import cv2
import numpy as np
from scipy import ndimage

# Detections of two views that overlap this much (IoU) show the same nucleus.
SAME_NUCLEUS = 0.4
# (quarter turns, flipped): the first two, four or all eight.
SYMMETRIES = ((0, False), (2, True), (1, True), (3, False), (2, False), (0, True), (1, False), (3, True))

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
    found = []
    for turns, flipped in SYMMETRIES[:views]:
        view = np.rot90(image[:, ::-1] if flipped else image, turns)
        labels, scores = detect(np.ascontiguousarray(view))
        labels = np.rot90(labels, -turns)
        found.append((np.ascontiguousarray(labels[:, ::-1] if flipped else labels), scores))
    return found[0] if views == 1 else agreement(found, min_area)


def agreement(found: list[Detections], min_area: int = 1) -> Detections:
    """Return the nuclei of several label maps of one image.

    Best first, a detection gathers from each other view the free detection that overlaps it most, by `SAME_NUCLEUS` or
    more. The nucleus is what at least half of the gathered masks share.

    Args:
        found: V label maps `[H, W]` int32, each with the scores `[n]` of its labels 1..n.
        min_area: smaller nuclei are dropped, pixels.

    Returns:
        `[H, W]` int32 labels 1..N in descending score, and `[N]` float32 mean scores over the views.
    """
    clusters = list(_clusters(found))
    boxes = [ndimage.find_objects(labels) for labels, _ in found]
    scores = np.array([sum(float(found[v][1][i]) for v, i in each) / len(found) for each in clusters], np.float32)
    painted, kept = np.zeros(found[0][0].shape, np.int32), []
    for index in np.argsort(-scores, kind="stable"):
        members = clusters[index]
        spans = [boxes[view][place] for view, place in members]
        window = tuple(slice(min(s[axis].start for s in spans), max(s[axis].stop for s in spans)) for axis in (0, 1))
        votes = sum((found[view][0][window] == place + 1).astype(np.uint8) for view, place in members)
        free = (2 * votes >= len(members)) & (painted[window] == 0)
        _, parts, stats, _ = cv2.connectedComponentsWithStats(free.astype(np.uint8), connectivity=8)
        areas = stats[1:, cv2.CC_STAT_AREA]
        if areas.max(initial=0) >= max(min_area, 1):
            kept.append(scores[index])
            painted[window][parts == 1 + areas.argmax()] = len(kept)
    return painted, np.array(kept, np.float32)


def _clusters(found: list[Detections]) -> Iterator[list[tuple[int, int]]]:
    """Yield `(view, index of the detection)` of the detections that show one nucleus."""
    pairs = itertools.permutations(range(len(found)), 2)
    overlapping = {(a, b): _best_overlap(found[a], found[b]) for a, b in pairs}
    order = sorted(
        ((float(score), view, index) for view, (_, scores) in enumerate(found) for index, score in enumerate(scores)),
        key=lambda each: (-each[0], each[1], each[2]),
    )
    taken = [np.zeros(len(scores), bool) for _, scores in found]
    for _, view, index in order:
        if taken[view][index]:
            continue
        members = [(view, index)]
        for other in range(len(found)):
            if other != view:
                place = overlapping[view, other][index]
                if place >= 0 and not taken[other][place]:
                    members.append((other, int(place)))
        for each, place in members:
            taken[each][place] = True
        yield members


def _best_overlap(first: Detections, second: Detections) -> np.ndarray:
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
