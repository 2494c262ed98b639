"""Matterport's random ROIs and their targets, in NumPy: to look at, or to train the heads without the RPN.

Random numbers come from NumPy's global generator, which Matterport's programs seed with `np.random.seed`.

Shape shorthand: N ROIs, G ground-truth instances, T = TRAIN_ROIS_PER_IMAGE, K = NUM_CLASSES, M mask side.
"""

import numpy as np

from cyclic.mrcnn.geometry.boxes_numpy import box_refinement, compute_overlaps
from cyclic.mrcnn.geometry.masks_numpy import expand_mask
from cyclic.mrcnn.geometry.resizing import resize_linear

# An overlap of exactly this much is neither positive nor negative, as in Matterport.
IOU = 0.5
# Share of the random ROIs that lie around an instance.
NEAR_SHARE = 0.9


def generate_random_rois(image_shape, count, gt_class_ids, gt_boxes):
    """Draw boxes as an RPN might propose them: nine tenths around the instances, the others anywhere.

    Args:
        image_shape: (H, W, ...).
        count: N.
        gt_class_ids: `[G]`, not used.
        gt_boxes: `[G, 4]` int (y1, x1, y2, x2) in pixels.

    Returns:
        `[N, 4]` int32 in pixels, each of at least one pixel: those around the first instance, the second and so on,
        then the others.
    """
    height, width = image_shape[:2]
    each = int(NEAR_SHARE * count / max(len(gt_boxes), 1))
    rois = []
    for y1, x1, y2, x2 in gt_boxes:
        # As far as the instance's own size on each side.
        rows = max(2 * y1 - y2, 0), min(2 * y2 - y1, height)
        columns = max(2 * x1 - x2, 0), min(2 * x2 - x1, width)
        rois.append(_draw_boxes(rows, columns, each))
    rois.append(_draw_boxes((0, height), (0, width), count - each * len(gt_boxes)))
    return np.concatenate(rois).astype(np.int32)


def _draw_boxes(rows, columns, count):
    """Return `[count, 4]` random boxes between the two rows and the two columns, the last of them excluded."""
    while True:
        # Twice as many as needed, since those without area are left out.
        spans = [np.random.randint(low, high, (2 * count, 2)) for low, high in (rows, columns)]
        ys, xs = (np.sort(span[span[:, 0] != span[:, 1]][:count], axis=1) for span in spans)
        if len(ys) == len(xs) == count:
            return np.stack([ys[:, 0], xs[:, 0], ys[:, 1], xs[:, 1]], axis=1)


def build_detection_targets(rpn_rois, gt_class_ids, gt_boxes, gt_masks, config):
    """Choose ROIs to train on, and give each the target of its own class.

    A ROI that overlaps an instance by more than 0.5 is positive, one that overlaps all by less negative. At most
    ROI_POSITIVE_RATIO of T are positive; negatives fill the rest, repeated where there are too few.

    Args:
        rpn_rois: `[N, 4]` int (y1, x1, y2, x2) in pixels.
        gt_class_ids: `[G]` int; only positive ones count.
        gt_boxes: `[G, 4]` int, in pixels.
        gt_masks: `[H, W, G]` bool, or mini-masks with USE_MINI_MASK.
        config: `Config`.

    Returns:
        rois: `[T, 4]`, dtype of `rpn_rois`; the positive ones first.
        class_ids: `[T]`, dtype of `gt_class_ids`; 0 for negatives.
        bboxes: `[T, K, 4]` float32 (dy, dx, log dh, log dw) / BBOX_STD_DEV at the ROI's class, 0 elsewhere.
        masks: `[T, M, M, K]` float32 in [0, 1] at the ROI's class, 0 elsewhere.

    Raises:
        ValueError: no instance, or no ROI to fill up with.
    """
    real = gt_class_ids > 0
    if not real.any():
        raise ValueError("no instance with a positive class; leave the image out")
    gt_class_ids, gt_boxes, gt_masks = gt_class_ids[real], gt_boxes[real], gt_masks[:, :, real]
    overlaps = compute_overlaps(rpn_rois, gt_boxes)
    kept, positives = _choose(overlaps.max(axis=1), config)
    rois, assigned = rpn_rois[kept], overlaps.argmax(axis=1)[kept]
    class_ids = gt_class_ids[assigned]
    class_ids[positives:] = 0

    bboxes = np.zeros((len(kept), config.NUM_CLASSES, 4), dtype=np.float32)
    masks = np.zeros((len(kept), *config.MASK_SHAPE, config.NUM_CLASSES), dtype=np.float32)
    rows, targets = np.arange(positives), assigned[:positives]
    bboxes[rows, class_ids[:positives]] = box_refinement(rois[:positives], gt_boxes[targets]) / config.BBOX_STD_DEV
    # Large enough for every box, whatever the size of the image.
    shape = np.maximum(gt_boxes.max(axis=0), rpn_rois.max(axis=0))[2:].astype(int)
    for row, target in enumerate(targets):
        mask = gt_masks[:, :, [target]]
        if config.USE_MINI_MASK:
            mask = expand_mask(gt_boxes[[target]], mask, shape)
        y1, x1, y2, x2 = rois[row].astype(int)
        masks[row, :, :, class_ids[row]] = resize_linear(mask[y1:y2, x1:x2, 0], config.MASK_SHAPE)
    return rois, class_ids, bboxes, masks


def _choose(best_iou, config):
    """Return `[T]` indices of ROIs, positive ones first, and how many are positive."""
    total = config.TRAIN_ROIS_PER_IMAGE
    positives = _draw_at_most(np.flatnonzero(best_iou > IOU), int(total * config.ROI_POSITIVE_RATIO))
    negatives = _draw_at_most(np.flatnonzero(best_iou < IOU), total - len(positives))
    missing = total - len(positives) - len(negatives)
    if missing and not len(negatives):
        raise ValueError(f"{len(best_iou)} ROIs, and none overlaps all instances by less than {IOU}; pass more ROIs")
    more = np.random.choice(negatives, missing) if missing else negatives[:0]
    return np.concatenate([positives, negatives, more]), len(positives)


def _draw_at_most(indices, limit):
    return indices if len(indices) <= limit else np.random.choice(indices, limit, replace=False)
