"""Colours that can be told apart on stained tissue, in print and by colour-blind eyes (Okabe-Ito)."""

import cv2
import numpy as np
from skimage.segmentation import expand_labels

# Okabe and Ito (2008) without black and reddish purple, which vanish on stained nuclei.
OUTLINE_COLORS = np.array(
    [(240, 228, 66), (86, 180, 233), (0, 158, 115), (230, 159, 0), (0, 114, 178), (213, 94, 0)], np.uint8
)
ERROR_COLORS = {
    "hit": (0, 158, 115),
    "missed": (213, 94, 0),
    "false": (0, 114, 178),
    "merged": (240, 228, 66),
    "split": (86, 180, 233),
}
# Nuclei closer than twice this (px) count as neighbours and get different colours.
NEIGHBOUR_REACH = 8


def map_colors(values: np.ndarray) -> np.ndarray:
    """Return a map (`[H, W]` float in [0, 1]) in the colours of magma, `[H, W, 3]` uint8: 0 is black, 1 pale yellow."""
    return cv2.applyColorMap(np.round(values * 255).astype(np.uint8), cv2.COLORMAP_MAGMA)[..., ::-1]


def neighbour_colors(labels: np.ndarray, colors: int) -> np.ndarray:
    """Return a colour number for each label, so that neighbouring nuclei differ.

    The nucleus with the most neighbours chooses first. Where its neighbours have all colours already, it takes the one
    that fewest of them have.

    Args:
        labels: `[H, W]` integer label map.
        colors: how many colours there are.

    Returns:
        `[labels.max() + 1]` int64, 0 to `colors` - 1.
    """
    grown = expand_labels(labels, NEIGHBOUR_REACH)
    sides = [(grown[1:], grown[:-1]), (grown[:, 1:], grown[:, :-1])]
    pairs = np.concatenate([np.stack([a[a != b], b[a != b]], axis=1) for a, b in sides])
    pairs = np.unique(np.sort(pairs[(pairs > 0).all(axis=1)], axis=1), axis=0)
    neighbours: list[list[int]] = [[] for _ in range(labels.max(initial=0) + 1)]
    for a, b in pairs.tolist():
        neighbours[a].append(b)
        neighbours[b].append(a)
    chosen = np.full(len(neighbours), -1)
    for nucleus in sorted(range(len(neighbours)), key=lambda i: -len(neighbours[i])):
        taken = chosen[neighbours[nucleus]] if neighbours[nucleus] else np.zeros(0, np.int64)
        used = np.bincount(taken[taken >= 0], minlength=colors)
        # Starting at another colour each time spreads the colours over nuclei without neighbours.
        start = nucleus % colors
        chosen[nucleus] = (start + np.argmin(np.roll(used, -start))) % colors
    return chosen
