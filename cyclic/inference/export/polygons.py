"""Outlines of masks as polygons."""

import cv2
import numpy as np

Ring = list[list[int]]


def polygons(mask: np.ndarray, offset: tuple[int, int] = (0, 0)) -> list[list[Ring]]:
    """Outline a mask along its pixel edges.

    Args:
        mask: `[H, W]` bool.
        offset: (x, y) added to every vertex.

    Returns:
        A polygon for each 4-connected part (parts that touch at a corner alone would give an invalid ring): its outer
        ring, then its holes, each a closed list of [x, y] at right angles. Filling them gives back exactly `mask`.
    """
    count, parts = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)
    found = []
    for part in range(1, count):
        # At double size a pixel has a first and a second half: contour pixel c of the half then maps to the edge (c +
        # 1) // 2.
        double = np.repeat(np.repeat((parts == part).astype(np.uint8), 2, axis=0), 2, axis=1)
        contours, hierarchy = cv2.findContours(double, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
        outer_first = np.argsort(hierarchy[0, :, 3] >= 0, kind="stable")
        found.append([_ring((contours[i][:, 0] + 1) // 2 + np.array(offset)) for i in outer_first])
    return found


def _ring(points: np.ndarray) -> Ring:
    """Closed ring of the corners among `points` (`[n, 2]` int, each step along one axis)."""
    points = points[np.any(points != np.roll(points, 1, axis=0), axis=1)]
    before, after = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
    corners = points[before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]].tolist()
    return [*corners, corners[0]]
