"""Boxes drawn by hypothesis, and painted as masks."""

import numpy as np
from hypothesis import strategies as st

corners = st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(1, 30), st.integers(1, 30))
box_lists = st.lists(corners, min_size=1, max_size=8).map(
    lambda rows: np.array([(y, x, y + h, x + w) for y, x, h, w in rows])
)


def paint_boxes(*boxes, shape=(20, 24)):
    """Return a stack of masks `[*shape, N]` bool, each full inside one of the N boxes."""
    masks = np.zeros((*shape, len(boxes)), dtype=bool)
    for i, (y1, x1, y2, x2) in enumerate(boxes):
        masks[y1:y2, x1:x2, i] = True
    return masks
