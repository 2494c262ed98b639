"""`data_generator`: Matterport's batches as lists of arrays; training itself takes those of `data.loader`."""

import numpy as np

from cyclic.errors import InputError
from cyclic.mrcnn.data.molding import mold_image
from cyclic.mrcnn.data.rpn_targets import build_rpn_targets
from cyclic.mrcnn.data.sample import load_image_gt
from cyclic.mrcnn.geometry.anchors_numpy import pyramid_anchors
from cyclic.mrcnn.matterport.targets import build_detection_targets, generate_random_rois


def data_generator(
    dataset,
    config,
    shuffle=True,
    augment=False,
    augmentation=None,
    random_rois=0,
    batch_size=1,
    detection_targets=False,
    no_augmentation_sources=None,
):
    """Yield batches of images and their targets, without end.

    Images without an instance are left out. Order and samples are drawn from NumPy's global generator, crops and
    augmentation from Python's `random`; Matterport's programs seed these two.

    Shape shorthand: B = batch_size, A anchors, G = MAX_GT_INSTANCES, R = random_rois, T = TRAIN_ROIS_PER_IMAGE,
    K = NUM_CLASSES, M mask side.

    Args:
        dataset: prepared `utils.Dataset`.
        config: `Config`.
        shuffle: True draws a new order for each pass over the images.
        augment, augmentation: see `load_image_gt`.
        random_rois: how many ROIs to draw for each image, see `generate_random_rois`; 0 draws none.
        batch_size: B.
        detection_targets: True adds the targets of the random ROIs, see `build_detection_targets`.
        no_augmentation_sources: sources of the data set that `augmentation` leaves as they are.

    Yields:
        inputs: list of images `[B, H, W, 3]` float32, mean subtracted; image_meta `[B, 12 + K]` float64; rpn_match
            `[B, A, 1]` int32; rpn_bbox `[B, RPN_TRAIN_ANCHORS_PER_IMAGE, 4]` float64; gt_class_ids `[B, G]` int32;
            gt_boxes `[B, G, 4]` int32 in pixels; gt_masks `[B, h, w, G]` bool, mini-masks with USE_MINI_MASK; with
            `random_rois` also rpn_rois `[B, R, 4]` int32; with `detection_targets`, too, rois `[B, T, 4]` int32.
        outputs: empty list; with `random_rois` and `detection_targets` a list of class ids `[B, T, 1]` int32, deltas
            `[B, T, K, 4]` float32 and masks `[B, T, M, M, K]` float32.

    Raises:
        InputError: no image has an instance, the images of a batch have different sizes, or see `load_image_gt`.
    """
    spared = frozenset(no_augmentation_sources or ())

    def load(image_id):
        chosen = None if dataset.image_info[image_id]["source"] in spared else augmentation
        return load_image_gt(dataset, config, image_id, augment, chosen, config.USE_MINI_MASK)

    truths = _truths(dataset, load, shuffle)
    while True:
        samples = [_sample(next(truths), config, random_rois, detection_targets) for _ in range(batch_size)]
        inputs, outputs = zip(*samples, strict=True)
        if len({image.shape for image, *_ in inputs}) > 1:
            raise InputError(
                f"IMAGE_RESIZE_MODE = {config.IMAGE_RESIZE_MODE!r} gives the images of one batch different sizes; "
                "use square or crop, or batch_size = 1"
            )
        yield _stack(inputs), _stack(outputs)


def _truths(dataset, load, shuffle):
    """Yield what `load` returns for the images that have an instance, pass after pass."""
    image_ids, found = np.copy(dataset.image_ids), True
    while found:
        found = False
        if shuffle:
            np.random.shuffle(image_ids)
        for image_id in image_ids:
            truth = load(image_id)
            if (truth[2] > 0).any():
                found = True
                yield truth
    raise InputError(f"none of {len(image_ids)} images has an instance; check load_mask")


def _sample(truth, config, random_rois, detection_targets):
    """Return the inputs and the outputs of `data_generator` for one image, without the batch axis."""
    image, image_meta, class_ids, boxes, masks = truth
    anchors = pyramid_anchors(config, image.shape)
    rpn_match, rpn_bbox = build_rpn_targets(image.shape, anchors, class_ids, boxes, config, rng=np.random)
    rois, outputs = [], []
    if random_rois:
        rois = [generate_random_rois(image.shape, random_rois, class_ids, boxes)]
        if detection_targets:
            chosen, roi_ids, deltas, roi_masks = build_detection_targets(rois[0], class_ids, boxes, masks, config)
            rois, outputs = [*rois, chosen], [roi_ids[:, None], deltas, roi_masks]
    if len(class_ids) > config.MAX_GT_INSTANCES:
        kept = np.random.choice(len(class_ids), config.MAX_GT_INSTANCES, replace=False)
        class_ids, boxes, masks = class_ids[kept], boxes[kept], masks[..., kept]
    missing, whole = (0, config.MAX_GT_INSTANCES - len(class_ids)), (0, 0)
    padded = [np.pad(class_ids, missing), np.pad(boxes, (missing, whole)), np.pad(masks, (whole, whole, missing))]
    return [mold_image(image, config), image_meta, rpn_match[:, None], rpn_bbox, *padded, *rois], outputs


def _stack(samples):
    """Return the arrays of the samples of a batch, one with a batch axis for each."""
    return [np.stack(arrays) for arrays in zip(*samples, strict=True)]
