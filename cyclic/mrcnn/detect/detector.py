"""Detection: images in, boxes, classes, scores and masks out.

Shape shorthand: B images, D detections with padding, N real ones, K classes with background, M mask side.
"""

import logging

import keras
import numpy as np

from cyclic.allocator import release_freed_memory
from cyclic.images import as_rgb
from cyclic.mrcnn.config import Config
from cyclic.mrcnn.data.molding import mold_images, read_meta
from cyclic.mrcnn.detect.unmolding import paste_crops, unmold_crops
from cyclic.mrcnn.geometry.boxes_numpy import enlarge_boxes, norm_boxes
from cyclic.mrcnn.kernels.on_device import on_device
from cyclic.mrcnn.layers.network import MASK_LEVELS, Network, detection_model, mask_model

logger = logging.getLogger(__name__)

# The mask head runs on a multiple of this many boxes, so that few different graphs are compiled.
MASK_BUCKET = 16


class Detector:
    """A network and the methods that detect: the base class of `MaskRCNN`.

    Args:
        mode: "training" or "inference"; detection needs the latter.
        config: `cyclic.mrcnn.config.Config`.
        network: `Network` whose weights to use.
        jit_compile: True has XLA compile the graphs of detection.

    Attributes:
        mode, config, network: the arguments.
    """

    def __init__(self, mode: str, config: Config, network: Network, jit_compile: bool = False):
        self.mode, self.config, self.network = mode, config, network
        # Shape of the images that the network ran on last.
        self._last_shape: tuple[int, ...] | None = None
        if mode == "training":
            return
        self._detection_model, self._mask_model = detection_model(network), mask_model(network)
        for model in (self._detection_model, self._mask_model):
            # Keras' own choice is XLA where TensorFlow has a GPU, but XLA lacks TensorFlow's crops.
            model.jit_compile = jit_compile
        self._detect, self._mask = on_device(self._detection_model), on_device(self._mask_model)

    def detect(self, images, verbose=0):
        """Detect instances.

        Args:
            images: list of images, any number; their molded shapes must agree. Grey, RGBA and other depths become RGB
                as `cyclic.images.as_rgb` says.
            verbose: 1 logs the shapes.

        Returns:
            One dict an image: rois `[N, 4]` int32 (y1, x1, y2, x2), class_ids `[N]` int32, scores `[N]` float32,
            masks `[H, W, N]` bool.

        Raises:
            InputError: no image, or images of different molded shapes.
        """
        if verbose:
            logger.info("detecting in images of shape %s", [image.shape for image in images])
        crops = self.detect_crops(images)
        return [_with_full_masks(detections, image.shape) for image, detections in zip(images, crops, strict=True)]

    def detect_crops(self, images):
        """Detect instances as `detect` does, but return each mask as a bool crop of the size of its ROI.

        So no stack of masks of the whole image is built; masks is a list of N crops.
        """
        if self.config.IMAGE_CHANNEL_COUNT == 3:
            images = [as_rgb(image, f"image {index}") for index, image in enumerate(images)]
        molded, metas, windows = self.mold_inputs(images)
        detections, masks = self.predict_molded(molded, metas)
        return [
            unmold_crops(detections[index], masks[index], image.shape, molded[index].shape, windows[index])
            for index, image in enumerate(images)
        ]

    def detect_molded(self, molded_images, image_metas, verbose=0):
        """Detect instances in prepared images, such as those of `load_image_gt` after `mold_image`.

        Args:
            molded_images: `[B, H, W, 3]` float32, sides divisible by 64.
            image_metas: `[B, meta]`, see `utils.compose_image_meta`.
            verbose: 1 logs the shape.

        Returns:
            One dict an image, as `detect` returns it, in pixels of the molded image.
        """
        molded_images = np.asarray(molded_images)
        if verbose:
            logger.info("detecting in molded images of shape %s", molded_images.shape)
        shape = molded_images.shape[1:]
        window = (0, 0, *shape[:2])
        predictions = zip(*self.predict_molded(molded_images, np.asarray(image_metas)), strict=True)
        return [
            _with_full_masks(unmold_crops(detections, masks, shape, shape, window), shape)
            for detections, masks in predictions
        ]

    def predict_molded(self, molded_images, image_metas):
        """Run the whole network on prepared images.

        Args:
            molded_images, image_metas: see `predict_boxes`.

        Returns:
            detections: `[B, D, 6]`, see `predict_boxes`.
            masks: list of B arrays `[N, M, M]`, see `predict_masks`.

        Raises:
            ValueError: the model is in training mode.
        """
        detections, pyramid = self.predict_boxes(molded_images, image_metas)
        return detections, self.predict_masks([rows[rows[:, 4] > 0] for rows in detections], pyramid)

    def predict_boxes(self, molded_images, image_metas):
        """Run the network on prepared images, up to the mask head.

        Args:
            molded_images: `[B, H, W, 3]` float32, sides divisible by 64.
            image_metas: `[B, meta]`.

        Returns:
            detections: `[B, D, 6]` float32, normalized, boxes enlarged by DETECTION_MASK_MARGIN; zero rows at the end.
            pyramid: what `predict_masks` reads of these images, on the device that computed it.

        Raises:
            ValueError: the model is in training mode.
        """
        if self.mode != "inference":
            raise ValueError("detection needs a model in inference mode")
        if molded_images.shape != self._last_shape:
            release_freed_memory()
            self._last_shape = molded_images.shape
        windows = norm_boxes(read_meta(np.asarray(image_metas), "window"), molded_images.shape[1:3])
        output = self._detect({"image": molded_images.astype("float32"), "window": windows})
        detections = np.array(keras.ops.convert_to_numpy(output["detections"]))
        margin = self.config.DETECTION_MASK_MARGIN
        if margin:
            detections[..., :4] = enlarge_boxes(detections[..., :4], margin, windows[:, None])
        return detections, {level: output[level] for level in MASK_LEVELS}

    def predict_masks(self, detections, pyramid):
        """Run the mask head on some detections of the images that `predict_boxes` saw last.

        Args:
            detections: list of B arrays `[N, 6]`, rows of `predict_boxes` without padding; N may be 0.
            pyramid: of `predict_boxes`.

        Returns:
            List of B arrays `[N, M, M]` float32: for each detection, the mask of its class in its box.
        """
        most = max(len(rows) for rows in detections)
        if most == 0:
            return [np.zeros((0, *self._mask_model.output.shape[1:3]), "float32") for _ in detections]
        slots = _mask_slots(most, self.config.DETECTION_MAX_INSTANCES)
        boxes = np.zeros((len(detections), slots, 4), "float32")
        for image_boxes, rows in zip(boxes, detections, strict=True):
            image_boxes[: len(rows)] = rows[:, :4]
        masks = keras.ops.convert_to_numpy(self._mask({"boxes": boxes, **pyramid}))
        masks = masks.reshape(len(boxes), slots, *masks.shape[1:])
        return [
            image_masks[np.arange(len(rows)), :, :, rows[:, 4].astype(int)]
            for image_masks, rows in zip(masks, detections, strict=True)
        ]

    def mold_inputs(self, images):
        """Resize and pad images for the network.

        Returns:
            molded `[B, H, W, 3]` float32, metas `[B, meta]`, windows `[B, 4]` int (part that is not padding).

        Raises:
            InputError: no image, or images of different molded shapes, which have to be detected one by one.
        """
        return mold_images(images, self.config)

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
        crops = unmold_crops(detections, masks, original_image_shape, image_shape, window)
        result = _with_full_masks(crops, original_image_shape)
        return result["rois"], result["class_ids"], result["scores"], result["masks"]


def _with_full_masks(detections, shape):
    """Return the detections of `unmold_crops` with masks `[H, W, N]` instead of crops."""
    return {**detections, "masks": paste_crops(detections["rois"], detections["masks"], shape)}


def _mask_slots(count, most):
    """Return how many boxes the mask head runs on: `count` detections, rounded up; `most` is the highest count."""
    buckets = max(-(-count // MASK_BUCKET), 1)
    if keras.backend.backend() == "jax":  # compiles anew for each number
        return min(MASK_BUCKET * 2 ** (buckets - 1).bit_length(), max(most, MASK_BUCKET))
    return MASK_BUCKET * buckets
