"""Detections of a tile that the network saw enlarged, back in its pixels, neither larger nor smaller.

Shape shorthand: D detections with padding, N those with a pixel, M mask side.
"""

import cv2
import numpy as np


def unmold_boxes(
    detections: np.ndarray, molded_shape: tuple[int, int], scale: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the detections that hold a pixel's centre of a tile that the network saw enlarged, and their boxes in it.

    Matterport's normalized coordinates count from the centre of the first pixel to that of the last. Read in the pixels
    of the smaller tile, as `mrcnn.detect.unmolding` does, a box gains up to half a pixel in height and width. At twice
    the size that is 3 percent of the area of a nucleus 21 pixels wide. Each cycle that learns from the last one's
    detections would add to it. Here boxes become pixel edges before they are made smaller, and masks are sampled at
    pixels' centres.

    Args:
        detections: `[D, 6]` (y1, x1, y2, x2, class, score), normalized; padding at the end.
        molded_shape: (height, width) of the network's input, which starts at the tile's corner.
        scale: enlargement of the tile before the network.

    Returns:
        `[N, 6]` rows of `detections`, `[N, 4]` int32 boxes, and `[N, 4]` float64 edges of the boxes before rounding.
    """
    rows = detections[detections[:, 4] > 0]
    last = np.tile(np.subtract(molded_shape, 1), 2)
    edges = (rows[:, :4].astype(np.float64) * last + (0, 0, 1, 1)) / scale
    boxes = np.round(edges).astype(np.int32)
    kept = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    return rows[kept], boxes[kept], edges[kept]


def unmold_masks(masks: np.ndarray, boxes: np.ndarray, edges: np.ndarray, threshold: float = 0.5) -> list[np.ndarray]:
    """Return the masks of detections in pixels of the tile.

    Args:
        masks: `[N, M, M]` float32 in [0, 1], probabilities.
        boxes, edges: `[N, 4]` each, see `unmold_boxes`.
        threshold: lowest probability of a mask's pixel, in (0, 1).

    Returns:
        N bool masks of their boxes' sizes.
    """
    return [_sample(mask, box, edge) >= threshold for mask, box, edge in zip(masks, boxes, edges, strict=True)]


def _sample(mask: np.ndarray, box: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return the mask that spans `edges` at the centres of the pixels of `box`, `[height, width]` float32."""
    height, width = box[2:] - box[:2]
    steps = len(mask) / (edges[2:] - edges[:2])
    start = (box[:2] + 0.5 - edges[:2]) * steps - 0.5
    inverse = np.array([[steps[1], 0, start[1]], [0, steps[0], start[0]]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(mask.astype(np.float32), inverse, (int(width), int(height)), flags=flags)
