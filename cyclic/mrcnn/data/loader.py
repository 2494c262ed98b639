"""`DataGenerator`: the batches Mask R-CNN trains on.

Shape shorthand: B images, A anchors, G = MAX_GT_INSTANCES.
"""

import keras
import numpy as np

from cyclic.errors import InputError
from cyclic.mrcnn.data.molding import mold_image
from cyclic.mrcnn.data.rpn_targets import build_rpn_targets
from cyclic.mrcnn.data.sample import load_sample
from cyclic.mrcnn.geometry.anchors_numpy import pyramid_anchors


class DataGenerator(keras.utils.PyDataset):
    """Batches of molded images with their ground truth and RPN targets.

    The images form an endless stream: pass after pass over the data set, each in a new order. Each sample has its own
    random generator, so batch `i` depends on the seed and on `i`, but not on the worker that makes it.

    A batch is `(inputs,)`, as `fit` takes it; `inputs` holds

        image: `[B, H, W, 3]` float32, less MEAN_PIXEL.
        image_meta: `[B, 12 + NUM_CLASSES]` float32, see `molding.compose_image_meta`.
        rpn_match: `[B, A, 1]` int32: 1 positive, -1 negative, 0 neutral.
        rpn_target_bbox: `[B, RPN_TRAIN_ANCHORS_PER_IMAGE, 4]` float32, see `rpn_targets.build_rpn_targets`.
        gt_class_ids: `[B, G]` int32, 0 where there is no instance.
        gt_boxes: `[B, G, 4]` float32 (y1, x1, y2, x2) in pixels.
        gt_masks: `[B, G, h, w]` uint8, 0 or 1; MINI_MASK_SHAPE with USE_MINI_MASK, else the image's.
        ignore: `[B, H, W]` uint8, 1 where nothing bears loss; only with USE_IGNORE.

    An image without instances is kept: all its RPN targets are negative. Where an image has more than G instances,
    G random ones are used, and the others are ignored (with USE_IGNORE) or left out.

    Args:
        dataset: prepared `utils.Dataset`, or an object with the same methods.
        config: `Config`.
        shuffle: True for training: an endless stream in random order; give `fit` its `steps_per_epoch`. False for
            validation: the images in order, the same batches in every epoch.
        augmentation: None; an imgaug augmenter; or a function `(image, labels, ignore, rng)` that returns the first
            three, where labels is the `[H, W]` label map, or the `[H, W, N]` masks of a data set without label maps
            (ignore is None then).
        no_augmentation_sources: sources of the data set (e.g. `["nuclei"]`) whose images are not augmented.
        seed: integer; None takes config.SEED, or draws one if that is None, too.
        epoch: epochs trained before; the stream goes on where they ended.
        workers, use_multiprocessing, max_queue_size: see `keras.utils.PyDataset`.

    Raises:
        InputError: the data set has no image.
    """

    def __init__(
        self,
        dataset,
        config,
        shuffle=True,
        augmentation=None,
        no_augmentation_sources=None,
        seed=None,
        epoch=0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if len(dataset.image_ids) == 0:
            raise InputError("the data set has no image; add images and call prepare()")
        self.dataset, self.config, self.shuffle = dataset, config, shuffle
        self.augmentation = augmentation
        self.no_augmentation_sources = frozenset(no_augmentation_sources or ())
        seed = config.SEED if seed is None else seed
        self.seed = int(np.random.default_rng().integers(2**31)) if seed is None else seed
        self.steps = config.STEPS_PER_EPOCH if shuffle else config.VALIDATION_STEPS
        self.epoch = epoch

    def __len__(self) -> int:
        """Return the number of batches in an epoch: STEPS_PER_EPOCH when shuffling, else VALIDATION_STEPS."""
        return self.steps

    @property
    def num_batches(self):
        """None, an endless stream, when shuffling; else the number of batches."""
        return None if self.shuffle else self.steps

    def __getitem__(self, index: int) -> tuple[dict[str, np.ndarray]]:
        """Return batch `index`.

        Raises:
            InputError: the images of the batch have different sizes.
        """
        size = self.config.BATCH_SIZE
        first = (self.epoch * self.steps + index) * size
        inputs = [self._sample_inputs(position) for position in range(first, first + size)]
        if len({sample["image"].shape for sample in inputs}) > 1:
            raise InputError(
                f"IMAGE_RESIZE_MODE = {self.config.IMAGE_RESIZE_MODE!r} gives the images of one batch different sizes; "
                "use square or crop, or IMAGES_PER_GPU = 1"
            )
        return ({name: np.stack([sample[name] for sample in inputs]) for name in inputs[0]},)

    def _sample_inputs(self, position: int) -> dict[str, np.ndarray]:
        """Return the inputs of the sample at `position` in the stream, without the batch axis."""
        config = self.config
        rng = np.random.default_rng([self.seed, 1, position])
        image_id = self._image_id(position)
        source = self.dataset.image_info[image_id]["source"]
        augmentation = None if source in self.no_augmentation_sources else self.augmentation
        sample = load_sample(self.dataset, config, image_id, augmentation, rng, config.MAX_GT_INSTANCES)
        truth, shape = sample.instances, sample.image.shape
        ignore = sample.ignore if config.USE_IGNORE else None
        anchors = pyramid_anchors(config, shape)
        rpn_match, rpn_bbox = build_rpn_targets(shape, anchors, truth.class_ids, truth.boxes, config, ignore, rng)
        inputs = {
            "image": mold_image(sample.image, config),
            "image_meta": sample.meta.astype(np.float32),
            "rpn_match": rpn_match[:, None],
            "rpn_target_bbox": rpn_bbox.astype(np.float32),
            "gt_class_ids": _pad_rows(truth.class_ids, config.MAX_GT_INSTANCES),
            "gt_boxes": _pad_rows(truth.boxes.astype(np.float32), config.MAX_GT_INSTANCES),
            "gt_masks": _pad_rows(truth.masks, config.MAX_GT_INSTANCES),
        }
        if ignore is not None:
            inputs["ignore"] = ignore.astype(np.uint8)
        return inputs

    def _image_id(self, position: int) -> int:
        image_ids = self.dataset.image_ids
        turn, index = divmod(position, len(image_ids))
        if self.shuffle:
            index = np.random.default_rng([self.seed, 0, turn]).permutation(len(image_ids))[index]
        return image_ids[index]


def _pad_rows(array: np.ndarray, length: int) -> np.ndarray:
    """Return `array` with zero rows added up to `length`."""
    padded = np.zeros((length, *array.shape[1:]), dtype=array.dtype)
    padded[: len(array)] = array
    return padded
