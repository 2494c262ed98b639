"""Detections of a tile that the network saw enlarged, back in its pixels, neither larger nor smaller.

Shape shorthand: D detections with padding, N real ones, M mask side.
"""

import cv2
import numpy as np


def unmold_tile(
    detections: np.ndarray, masks: np.ndarray, molded_shape: tuple[int, int], scale: float
) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Return boxes, scores and masks in pixels of a tile that the network saw enlarged.

    Matterport's normalized coordinates count from the centre of the first pixel to that of the last. Read in the pixels
    of the smaller tile, as `mrcnn.detect.unmolding` does, a box gains up to half a pixel in height and width. At twice
    the size that is 3 percent of the area of a nucleus 21 pixels wide. Each cycle that learns from the last one's
    detections would add to it. Here boxes become pixel edges before they are made smaller, and masks are sampled at
    pixels' centres.

    Args:
        detections: `[D, 6]` (y1, x1, y2, x2, class, score), normalized; padding at the end.
        masks: `[N, M, M]` float32 in [0, 1], probabilities of the N detections.
        molded_shape: (height, width) of the network's input, which starts at the tile's corner.
        scale: enlargement of the tile before the network.

    Returns:
        `[n, 4]` int32 boxes, `[n]` float32 scores, and n bool masks of their boxes' sizes. Left out are detections that
        hold no pixel's centre.
    """
    count, side = len(masks), masks.shape[-1]
    last = np.tile(np.subtract(molded_shape, 1), 2)
    edges = (detections[:count, :4].astype(np.float64) * last + (0, 0, 1, 1)) / scale
    boxes = np.round(edges).astype(np.int32)
    kept = np.flatnonzero((boxes[:, 2:] > boxes[:, :2]).all(axis=1))
    crops = [_sample(masks[i], boxes[i], edges[i], side) >= 0.5 for i in kept]
    return boxes[kept], detections[kept, 5], crops


def _sample(mask: np.ndarray, box: np.ndarray, edges: np.ndarray, side: int) -> np.ndarray:
    """Return the mask that spans `edges` at the centres of the pixels of `box`, `[height, width]` float32."""
    height, width = box[2:] - box[:2]
    steps = side / (edges[2:] - edges[:2])
    start = (box[:2] + 0.5 - edges[:2]) * steps - 0.5
    inverse = np.array([[steps[1], 0, start[1]], [0, steps[0], start[0]]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(mask.astype(np.float32), inverse, (int(width), int(height)), flags=flags)
