"""Unmolding as Matterport does it: the network's detections of one image, back in pixels of the original image.

Shape shorthand: D detections with padding, N real ones, M mask side.
"""

import numpy as np

from cyclic.mrcnn.geometry.boxes_numpy import denorm_boxes, norm_boxes
from cyclic.mrcnn.geometry.resizing import resize_linear


def unmold_crops(detections, masks, original_shape, image_shape, window):
    """Convert one image's detections to pixels of the original image; detections without area are left out.

    The arithmetic is Matterport's. Where the image was scaled, a box may be up to half a pixel too large. There is an
    exact version for tiles that are enlarged before detection, `cyclic.inference.unmold`.

    Args:
        detections: `[D, 6]` normalized, zero rows at the end.
        masks: `[N, M, M]` float32 probabilities of the N detections.
        original_shape, image_shape: shapes before and after molding.
        window: (y1, x1, y2, x2) pixels of the molded image that are not padding.

    Returns:
        dict of rois `[N, 4]` int32, class_ids `[N]` int32, scores `[N]` float32, masks: list of N bool crops.
    """
    count = len(masks)
    window = norm_boxes(np.asarray(window), image_shape[:2])
    shift = np.concatenate([window[:2], window[:2]])
    size = np.concatenate([window[2:] - window[:2]] * 2)
    boxes = denorm_boxes((detections[:count, :4] - shift) / size, original_shape[:2])
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    kept = np.flatnonzero(area > 0)
    crops = [resize_linear(masks[i], (boxes[i, 2] - boxes[i, 0], boxes[i, 3] - boxes[i, 1])) >= 0.5 for i in kept]
    return {
        "rois": boxes[kept].astype(np.int32),
        "class_ids": detections[kept, 4].astype(np.int32),
        "scores": detections[kept, 5],
        "masks": crops,
    }


def paste_crops(rois, crops, shape):
    """Return full masks `[H, W, N]` bool of an image of `shape` (H, W, ...) from N boxes `[N, 4]` and their crops."""
    full = np.zeros((*shape[:2], len(crops)), bool)
    for index, ((y1, x1, y2, x2), crop) in enumerate(zip(rois, crops, strict=True)):
        full[y1:y2, x1:x2, index] = crop
    return full
