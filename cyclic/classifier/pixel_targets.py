"""What single pixels of a tile are known to be: the targets of the classifier's evidence.

A negative tile has no nucleus anywhere. Of a positive tile nothing is known of any single pixel, until Mask R-CNN has
found nuclei in it: those that it is sure of go back to the classifier.
"""

from collections.abc import Mapping

import numpy as np

from cyclic.datasets.tile_folder import parse_tile_name
from cyclic.labels import relabel
from cyclic.tiling import flush_starts

NUCLEUS, BACKGROUND, SILENT = 1, 0, -1
# Label of a tile that nobody has answered for.
UNANSWERED = -1


def image_targets(
    labels: np.ndarray, scores: np.ndarray, score: float, background: np.ndarray | None = None
) -> np.ndarray:
    """Return what is known of the pixels of an image, `[H, W]` int8: `NUCLEUS`, `BACKGROUND` or `SILENT`.

    Args:
        labels: `[H, W]` int32 detections, 1..N in descending score.
        scores: `[N]` float in [0, 1], of labels 1..N.
        score: a detection of this score or more is a nucleus.
        background: `[H, W]` bool, where negative tiles lie; they have the last word. None: nothing is known.
    """
    sure = relabel(labels, np.append(False, scores >= score)) > 0
    targets = np.where(sure, NUCLEUS, SILENT).astype(np.int8)
    if background is not None:
        targets[background] = BACKGROUND
    return targets


def tile_targets(
    names: list[str], answers: np.ndarray, size: int, known: Mapping[str, np.ndarray] | None = None
) -> np.ndarray:
    """Return what is known of the pixels of answered tiles, `[N, size, size]` int8.

    Args:
        names: of the tiles, `<image id>_<y>_<x>` where their place is known.
        answers: `[N]` integer, 0 negative, 1 positive.
        size: side of a tile in pixels.
        known: `{image id: image_targets}`, from which positive tiles take theirs; None or without the image: silent.
    """
    targets = np.full((len(names), size, size), SILENT, np.int8)
    targets[answers == 0] = BACKGROUND
    for index in np.flatnonzero(answers == 1):
        place = parse_tile_name(names[index])
        if known and place is not None and place[0] in known:
            image_id, y, x = place
            targets[index] = known[image_id][y : y + size, x : x + size]
    return targets


def unanswered_tiles(
    images: Mapping[str, np.ndarray], known: Mapping[str, np.ndarray], size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return tiles side by side over all images, where a nucleus is known, and what is known of their pixels.

    Args:
        images: `{image id: [H, W, 3] uint8}`, each at least a tile large.
        known: `{image id: image_targets}` of the images to cut.
        size: side of a tile in pixels.

    Returns:
        `[N, size, size, 3]` uint8 and `[N, size, size]` int8.
    """
    tiles, targets = [np.zeros((0, size, size, 3), np.uint8)], [np.zeros((0, size, size), np.int8)]
    for name, target in known.items():
        for y in flush_starts(target.shape[0], size, size):
            for x in flush_starts(target.shape[1], size, size):
                part = np.s_[y : y + size, x : x + size]
                if (target[part] == NUCLEUS).any():
                    tiles.append(images[name][part][None])
                    targets.append(target[part][None])
    return np.concatenate(tiles), np.concatenate(targets)
