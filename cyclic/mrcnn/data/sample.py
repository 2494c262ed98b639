"""One training sample: image and ground truth, cropped, apply_augmentation and resized for the network."""

import functools
import random
from dataclasses import dataclass

import cv2
import numpy as np

from cyclic.errors import InputError
from cyclic.mrcnn.data.instances import Instances, instances_of_labels, instances_of_masks
from cyclic.mrcnn.data.molding import check_channels, compose_image_meta
from cyclic.mrcnn.geometry.resizing import image_scale, resize_image, resize_mask, resize_nearest


@dataclass
class Sample:
    """One image with its ground truth, at the scale of the network.

    Attributes:
        image: `[H, W, 3]` uint8.
        meta: `[12 + NUM_CLASSES]`, see `molding.compose_image_meta`.
        instances: `Instances`.
        ignore: `[H, W]` bool, pixels that bear no loss unless an instance covers them.
    """

    image: np.ndarray
    meta: np.ndarray
    instances: Instances
    ignore: np.ndarray


def load_image_gt(dataset, config, image_id, augment=False, augmentation=None, use_mini_mask=False, rng=None):
    """Load one image with its ground truth, as Matterport's function of this name.

    Args:
        dataset: prepared `utils.Dataset`.
        config: `Config`.
        image_id: one of `dataset.image_ids`.
        augment: True mirrors every second image, as Matterport did before it took augmenters.
        augmentation: None, an imgaug augmenter or a function, see `loader.DataGenerator`.
        use_mini_mask: False returns masks of the size of the returned image, True mini-masks, whatever
            config.USE_MINI_MASK is.
        rng: `numpy.random.Generator` of mirror, crop and augmentation. None seeds one from Python's `random`, which
            Matterport's programs seed.

    Returns:
        image: `[H, W, 3]` uint8.
        image_meta: `[12 + NUM_CLASSES]`.
        class_ids: `[N]` int32, negative for crowds.
        bbox: `[N, 4]` int32 (y1, x1, y2, x2) in pixels.
        mask: `[H, W, N]` bool, or `[*MINI_MASK_SHAPE, N]` with `use_mini_mask`.

    Raises:
        InputError: see `load_sample`.
    """
    rng = rng or np.random.default_rng(random.getrandbits(64))
    if augment:
        augmentation = functools.partial(_mirror_half, augmentation)
    sample = load_sample(dataset, config, image_id, augmentation, rng, use_mini_mask=bool(use_mini_mask))
    truth = sample.instances
    return sample.image, sample.meta, truth.class_ids, truth.boxes, np.moveaxis(truth.masks, 0, -1).astype(bool)


def load_sample(dataset, config, image_id, augmentation, rng, limit=None, use_mini_mask=None) -> Sample:
    """Load one sample, from the label map if the data set has `load_label_map`, else from the masks of `load_mask`.

    Args:
        dataset, config, image_id, augmentation: see `load_image_gt`.
        rng: `numpy.random.Generator`.
        limit: the most instances, or None; where there are more, random ones are left out and join `ignore`.
        use_mini_mask: None follows config.USE_MINI_MASK; True and False override it.

    Raises:
        InputError: the label map or the masks are not of the image's size, or a class is none of NUM_CLASSES.
    """
    image = dataset.load_image(image_id)
    info = dataset.image_info[image_id]
    check_channels(image, config, str(info.get("path") or info.get("id", image_id)))
    use_mini_mask = config.USE_MINI_MASK if use_mini_mask is None else use_mini_mask
    mini_shape = tuple(config.MINI_MASK_SHAPE) if use_mini_mask else None
    if hasattr(dataset, "load_label_map"):
        labels, ignore = dataset.load_label_map(image_id), _load_ignore(dataset, config, image_id, image.shape)
        _check_shape(dataset, image_id, "label map", labels, image)
        resized, labels, ignore, window, scale = _prepare_labels(image, labels, ignore, config, augmentation, rng)
        instances = instances_of_labels(labels, mini_shape, limit, rng)
        ignore = (ignore & (labels == 0)) | instances.left_out
    else:
        masks, class_ids = dataset.load_mask(image_id)
        _check_masks(dataset, image_id, masks, class_ids)
        _check_classes(dataset, image_id, class_ids, config)
        masks = masks if len(class_ids) else np.zeros((*image.shape[:2], 0), dtype=bool)
        _check_shape(dataset, image_id, "masks", masks, image)
        resized, window, scale, padding, crop = _resize(image, config, rng)
        masks = resize_mask(masks.astype(bool), scale, padding, crop)
        resized, masks, _ = apply_augmentation(augmentation, resized, masks, None, rng)
        instances = instances_of_masks(class_ids, masks, mini_shape, limit, rng)
        ignore = instances.left_out
    active = np.zeros(config.NUM_CLASSES, dtype=np.int32)
    known = dataset.source_class_ids[dataset.image_info[image_id]["source"]]
    _check_classes(dataset, image_id, known, config)
    active[known] = 1
    meta = compose_image_meta(image_id, image.shape, resized.shape, window, scale, active)
    return Sample(resized, meta, instances, ignore)


def _check_classes(dataset, image_id, class_ids, config):
    """Raise InputError if a class of an image is none of the NUM_CLASSES that the network tells apart.

    A crowd of COCO has the negative number of its class.
    """
    wrong = sorted({int(class_id) for class_id in class_ids if abs(int(class_id)) >= config.NUM_CLASSES})
    if wrong:
        raise InputError(
            f"{_name(dataset, image_id)}: class {wrong[0]}, and NUM_CLASSES = {config.NUM_CLASSES} has 0 to "
            f"{config.NUM_CLASSES - 1}; raise NUM_CLASSES or correct load_mask"
        )


def _check_masks(dataset, image_id, masks, class_ids):
    """Raise InputError if an image has not one mask for each class id."""
    if len(class_ids) and np.shape(masks)[2:] != (len(class_ids),):
        raise InputError(
            f"{_name(dataset, image_id)}: masks of shape {np.shape(masks)} for {len(class_ids)} class ids; load_mask "
            "has to return [height, width, N] and N"
        )


def _name(dataset, image_id):
    info = dataset.image_info[image_id]
    return info.get("path") or info["id"]


def apply_augmentation(augmentation, image, labels, ignore, rng):
    """Augment an image with its labels and ignore map, and return the three.

    Args:
        augmentation: None; an imgaug augmenter; or a function `(image, labels, ignore, rng)` that returns the first
            three. Geometry has to move all three alike.
        image: `[H, W, 3]` uint8.
        labels: `[H, W]` int label map, or `[H, W, N]` bool masks.
        ignore: `[H, W]` bool, or None beside a stack of masks.
        rng: `numpy.random.Generator`.
    """
    if augmentation is None:
        return image, labels, ignore
    if not hasattr(augmentation, "to_deterministic"):
        return augmentation(image, labels, ignore, rng)
    from cyclic.datasets.augment import augment

    if ignore is None:
        return *augment(image, labels, augmentation, rng), None
    # The ignore region travels as one more label, so that the geometry is drawn once.
    extra = int(labels.max(initial=0)) + 1
    image, labels = augment(image, np.where(ignore & (labels == 0), extra, labels), augmentation, rng)
    return image, np.where(labels == extra, 0, labels), labels == extra


def _mirror_half(augmentation, image, labels, ignore, rng):
    """Mirror left and right with probability 0.5, then augment; what is left is a function for `apply_augmentation`."""
    if rng.random() >= 0.5:
        image, labels, ignore = (None if array is None else array[:, ::-1] for array in (image, labels, ignore))
    return apply_augmentation(augmentation, image, labels, ignore, rng)


def _prepare_labels(image, labels, ignore, config, augmentation, rng):
    """Return image, labels and ignore map at network scale, window and scale.

    In crop mode the crop comes first, so that all later steps work on the crop instead of the whole image.
    """
    if config.IMAGE_RESIZE_MODE != "crop":
        image, labels, ignore = apply_augmentation(augmentation, image, labels, ignore, rng)
        image, window, scale, padding, crop = _resize(image, config, rng)
        labels, ignore = (resize_mask(array, scale, padding, crop) for array in (labels, ignore))
        return image, labels, ignore, window, scale
    side = config.IMAGE_MIN_DIM
    height, width = image.shape[:2]
    scale = image_scale(height, width, side, min_scale=config.IMAGE_MIN_SCALE, mode="crop")
    if config.IMAGE_SCALE_JITTER:
        scale *= (1 + config.IMAGE_SCALE_JITTER) ** rng.uniform(-1, 1)
    source_side = min(round(side / scale), height, width)
    y, x = (int(rng.integers(size - source_side + 1)) for size in (height, width))
    cut = (slice(y, y + source_side), slice(x, x + source_side))
    image, labels, ignore = apply_augmentation(augmentation, image[cut], labels[cut], ignore[cut], rng)
    if source_side != side:
        image = cv2.resize(image, (side, side), interpolation=cv2.INTER_LINEAR).reshape(side, side, -1)
        labels, ignore = resize_nearest(labels, (side, side)), resize_nearest(ignore, (side, side))
    return image, labels, ignore, (0, 0, side, side), scale


def _resize(image, config, rng):
    return resize_image(
        image, config.IMAGE_MIN_DIM, config.IMAGE_MAX_DIM, config.IMAGE_MIN_SCALE, config.IMAGE_RESIZE_MODE, rng
    )


def _load_ignore(dataset, config, image_id, shape) -> np.ndarray:
    if config.USE_IGNORE and hasattr(dataset, "load_ignore"):
        return dataset.load_ignore(image_id).astype(bool)
    return np.zeros(shape[:2], dtype=bool)


def _check_shape(dataset, image_id, what, array, image) -> None:
    if array.shape[:2] != image.shape[:2]:
        raise InputError(
            f"{dataset.image_info[image_id]['path']}: the {what} have shape {array.shape[:2]}, the image has "
            f"{image.shape[:2]}; use files that belong together"
        )
