"""`MaskRCNN`: Matterport's model class, for training and detection.

Shape shorthand: B images, D detections, K classes with background, M mask side.
"""

import datetime
import importlib.util
import logging
import re
from pathlib import Path

import keras
import numpy as np

from cyclic.errors import InputError
from cyclic.mrcnn import utils, weights
from cyclic.mrcnn.loader import DataGenerator, load_image_gt
from cyclic.mrcnn.network import Network, detection_model, mask_model, training_model
from cyclic.mrcnn.resizing import resize_linear
from cyclic.mrcnn.training import NaNGuard, build_optimizer, set_trainable
from cyclic.mrcnn.utils import compose_image_meta, mold_image, parse_image_meta, unmold_image

__all__ = ["MaskRCNN", "compose_image_meta", "load_image_gt", "mold_image", "parse_image_meta", "unmold_image"]

logger = logging.getLogger(__name__)

# The mask head runs on a multiple of this many boxes, so that few different graphs are compiled.
MASK_BUCKET = 16


class MaskRCNN:
    """Mask R-CNN with Matterport's names and calls.

    Args:
        mode: "training" or "inference".
        config: `cyclic.mrcnn.config.Config` or a class derived from it.
        model_dir: folder for checkpoints and TensorBoard logs (where TensorBoard is installed); None writes none.
        network: `Network` whose weights to use, e.g. that of a model in the other mode; None builds one.

    Attributes:
        network: the layers and their weights.
        keras_model: the Keras model of the mode, see `network.training_model` and `network.detection_model`.
        epoch: epochs trained so far.
    """

    def __init__(self, mode, config, model_dir=None, network=None):
        if mode not in ("training", "inference"):
            raise ValueError(f"mode = {mode!r}: use training or inference")
        self.mode, self.config = mode, config
        self.model_dir = None if model_dir is None else Path(model_dir)
        self.network = network or Network(config)
        self.epoch, self._log_dir = 0, None
        if mode == "training":
            self.keras_model = training_model(self.network)
        else:
            self.keras_model = detection_model(self.network)
            self._mask_model = mask_model(self.network)

    # --- weights ---
    def load_weights(self, filepath, by_name=True, exclude=None):
        """Load weights by layer name; see `weights.load_weights`.

        Args:
            filepath: h5 file in Matterport's layout.
            by_name: kept for Matterport's callers; loading always goes by name.
            exclude: layer names to leave as they are.

        Returns:
            `weights.LoadReport`.
        """
        report = weights.load_weights(filepath, self.network, exclude or ())
        checkpoint = re.fullmatch(self._checkpoint_name(r"(\d{4})"), Path(filepath).name)
        self.epoch = int(checkpoint.group(1)) if checkpoint else 0
        if checkpoint:
            self._log_dir = Path(filepath).parent
        return report

    def save_weights(self, filepath):
        """Write all weights to `filepath` in Matterport's h5 layout."""
        weights.save_weights(filepath, self.network, {"epoch": self.epoch})

    def find_last(self):
        """Return the path of the newest checkpoint of the newest run in `model_dir`.

        Raises:
            FileNotFoundError: there is none.
        """
        runs = sorted(self.model_dir.glob(f"{self.config.NAME.lower()}*")) if self.model_dir else []
        for run in reversed(runs):
            checkpoints = sorted(run.glob(self._checkpoint_name("*")))
            if checkpoints:
                return str(checkpoints[-1])
        raise FileNotFoundError(f"{self.model_dir}: no checkpoint of {self.config.NAME} in this folder")

    def _checkpoint_name(self, epoch):
        return f"mask_rcnn_{str(self.config.NAME).lower()}_{epoch}.h5"

    @property
    def log_dir(self):
        """Folder of this run's checkpoints, named for the configuration and the time of the first use."""
        if self._log_dir is None:
            stamp = datetime.datetime.now().strftime("%Y%m%dT%H%M%S")
            self._log_dir = self.model_dir / f"{self.config.NAME.lower()}{stamp}"
        return self._log_dir

    # --- training ---
    def train(
        self,
        train_dataset,
        val_dataset,
        learning_rate,
        epochs,
        layers="all",
        augmentation=None,
        custom_callbacks=None,
        no_augmentation_sources=None,
    ):
        """Train to `epochs` epochs in total.

        Args:
            train_dataset, val_dataset: prepared `utils.Dataset` objects; val_dataset may be None.
            learning_rate: peak learning rate.
            epochs: epoch to train to; a model that stands at epoch 10 trains 10 more for `epochs=20`.
            layers: "heads", "3+", "4+", "5+", "all" or a regular expression of layer names.
            augmentation: imgaug augmenter or callable, see `loader.DataGenerator`.
            custom_callbacks: more Keras callbacks.
            no_augmentation_sources: sources of the data set that are not augmented.

        Returns:
            `keras.callbacks.History`.

        Raises:
            FloatingPointError: the loss is no longer finite.
        """
        if self.mode != "training":
            raise ValueError("train() needs a model in training mode")
        config = self.config
        set_trainable(self.network, layers)
        total_steps = (epochs - self.epoch) * config.STEPS_PER_EPOCH
        self.keras_model.compile(
            optimizer=build_optimizer(config, learning_rate, config.LEARNING_MOMENTUM, total_steps)
        )
        # Variables made within the first step would have TensorFlow trace it twice.
        self.keras_model.optimizer.build(self.keras_model.trainable_variables)
        train_data = DataGenerator(
            train_dataset,
            config,
            shuffle=True,
            augmentation=augmentation,
            no_augmentation_sources=no_augmentation_sources,
            epoch=self.epoch,
        )
        val_data = None if val_dataset is None else DataGenerator(val_dataset, config, shuffle=False)
        callbacks = [NaNGuard(), *(custom_callbacks or ())]
        if self.model_dir is not None:
            callbacks += [_Checkpoint(self), *_tensorboard(self.log_dir)]
        history = self.keras_model.fit(
            train_data,
            validation_data=val_data,
            initial_epoch=self.epoch,
            epochs=epochs,
            steps_per_epoch=config.STEPS_PER_EPOCH,
            validation_steps=config.VALIDATION_STEPS if val_data is not None else None,
            callbacks=callbacks,
            shuffle=False,
            verbose=0 if custom_callbacks else 1,
        )
        self.epoch = max(self.epoch, epochs)
        return history

    # --- detection ---
    def detect(self, images, verbose=0):
        """Detect instances.

        Args:
            images: list of at most any number of `[H, W, 3]` uint8 RGB images; their molded shapes must agree.
            verbose: 1 logs the shapes.

        Returns:
            One dict an image: rois `[N, 4]` int32 (y1, x1, y2, x2), class_ids `[N]` int32, scores `[N]` float32,
            masks `[H, W, N]` bool.
        """
        if verbose:
            logger.info("detecting in %d images, the first of shape %s", len(images), images[0].shape)
        results = []
        for image, found in zip(images, self.detect_crops(images), strict=True):
            crops = found.pop("masks")
            full = np.zeros((*image.shape[:2], len(crops)), bool)
            for index, ((y1, x1, y2, x2), crop) in enumerate(zip(found["rois"], crops, strict=True)):
                full[y1:y2, x1:x2, index] = crop
            results.append({**found, "masks": full})
        return results

    def detect_crops(self, images):
        """Like `detect`, but masks are lists of N bool crops of the size of their ROI: no stack of full images."""
        molded, metas, windows = self.mold_inputs(images)
        detections, masks = self.detect_molded(molded, metas)
        return [
            unmold_crops(detections[index], masks[index], image.shape, molded[index].shape, windows[index])
            for index, image in enumerate(images)
        ]

    def detect_molded(self, molded_images, image_metas):
        """Run the network on prepared images.

        Args:
            molded_images: `[B, H, W, 3]` float32, sides divisible by 64.
            image_metas: `[B, meta]`.

        Returns:
            detections `[B, D, 6]` float32, normalized, and a list of B mask arrays `[N, M, M]` float32: for each of the
            image's N detections the mask of its class.
        """
        if self.mode != "inference":
            raise ValueError("detection needs a model in inference mode")
        shape = molded_images.shape[1:3]
        windows = np.stack([utils.norm_boxes(meta[7:11], shape) for meta in image_metas]).astype("float32")
        output = self.keras_model.predict_on_batch({"image": molded_images.astype("float32"), "window": windows})
        detections = output["detections"]
        counts = (detections[..., 4] > 0).sum(axis=1)
        slots = max(-(-int(counts.max()) // MASK_BUCKET) * MASK_BUCKET, MASK_BUCKET)
        boxes = np.zeros((len(detections), slots, 4), "float32")
        boxes[:, : detections.shape[1]] = detections[:, :slots, :4]
        pyramid = {name: output[name] for name in ("p2", "p3", "p4", "p5")}
        masks = self._mask_model.predict_on_batch({"boxes": boxes, **pyramid})
        masks = masks.reshape(len(boxes), slots, *masks.shape[1:])
        class_ids = detections[..., 4].astype(int)
        chosen = [masks[i, np.arange(n), :, :, class_ids[i, :n]] for i, n in enumerate(counts)]
        return detections, chosen

    def mold_inputs(self, images):
        """Resize and pad images for the network.

        Returns:
            molded `[B, H, W, 3]` float32, metas `[B, meta]`, windows `[B, 4]` int (part that is not padding).

        Raises:
            InputError: the images have different molded shapes; detect them one by one.
        """
        config, molded, metas, windows = self.config, [], [], []
        for image in images:
            resized, window, scale, _, _ = utils.resize_image(
                image,
                min_dim=config.IMAGE_MIN_DIM,
                min_scale=config.IMAGE_MIN_SCALE,
                max_dim=config.IMAGE_MAX_DIM,
                mode=config.IMAGE_RESIZE_MODE,
            )
            active = np.zeros(config.NUM_CLASSES, np.int32)
            metas.append(compose_image_meta(0, image.shape, resized.shape, window, scale, active))
            molded.append(mold_image(resized, config))
            windows.append(window)
        if len({image.shape for image in molded}) > 1:
            raise InputError("images of different sizes in one batch: pass them to detect() one by one")
        return np.stack(molded).astype("float32"), np.stack(metas), np.stack(windows)

    def unmold_detections(self, detections, mrcnn_mask, original_image_shape, image_shape, window):
        """Return boxes, class ids, scores and full masks `[H, W, N]`, as Matterport's method of this name.

        Args:
            detections: `[D, 6]` normalized.
            mrcnn_mask: `[D, M, M, K]`.
            original_image_shape, image_shape: shapes before and after molding.
            window: (y1, x1, y2, x2) pixels of the molded image that are not padding.
        """
        count = int((detections[:, 4] > 0).sum())
        class_ids = detections[:count, 4].astype(int)
        masks = mrcnn_mask[np.arange(count), :, :, class_ids]
        found = unmold_crops(detections, masks, original_image_shape, image_shape, window)
        full = np.zeros((*original_image_shape[:2], len(found["masks"])), bool)
        for index, ((y1, x1, y2, x2), crop) in enumerate(zip(found["rois"], found["masks"], strict=True)):
            full[y1:y2, x1:x2, index] = crop
        return found["rois"], found["class_ids"], found["scores"], full


def unmold_crops(detections, masks, original_shape, image_shape, window):
    """Convert one image's detections to pixels of the original image.

    Args:
        detections: `[D, 6]` normalized, zero rows at the end.
        masks: `[N, M, M]` float32 probabilities of the N detections.
        original_shape, image_shape: shapes before and after molding.
        window: (y1, x1, y2, x2) pixels of the molded image that are not padding.

    Returns:
        dict of rois `[N, 4]` int32, class_ids `[N]` int32, scores `[N]` float32, masks: list of N bool crops.
    """
    count = len(masks)
    window = utils.norm_boxes(np.asarray(window), image_shape[:2])
    shift = np.concatenate([window[:2], window[:2]])
    size = np.concatenate([window[2:] - window[:2]] * 2)
    boxes = utils.denorm_boxes((detections[:count, :4] - shift) / size, original_shape[:2])
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    kept = np.flatnonzero(area > 0)
    crops = [resize_linear(masks[i], (boxes[i, 2] - boxes[i, 0], boxes[i, 3] - boxes[i, 1])) >= 0.5 for i in kept]
    return {
        "rois": boxes[kept].astype(np.int32),
        "class_ids": detections[kept, 4].astype(np.int32),
        "scores": detections[kept, 5],
        "masks": crops,
    }


def _tensorboard(log_dir):
    """Return the callback that writes TensorBoard events, in a list that is empty where TensorBoard is missing."""
    if importlib.util.find_spec("tensorboard") is None:
        logger.warning("TensorBoard is not installed: %s gets checkpoints but no events", log_dir)
        return []
    return [keras.callbacks.TensorBoard(str(log_dir))]


class _Checkpoint(keras.callbacks.Callback):
    """Write the weights after every epoch as `mask_rcnn_<name>_<epoch>.h5`."""

    def __init__(self, owner):
        super().__init__()
        self.owner = owner

    def on_epoch_end(self, epoch, logs=None):
        self.owner.epoch = epoch + 1
        self.owner.save_weights(self.owner.log_dir / self.owner._checkpoint_name(f"{epoch + 1:04d}"))
