"""Detection: images in, boxes, classes, scores and masks out.

Shape shorthand: B images, D detections with padding, N real ones, K classes with background, M mask side.
"""

import logging

import keras
import numpy as np

from cyclic.allocator import release_freed_memory
from cyclic.errors import InputError
from cyclic.mrcnn import utils
from cyclic.mrcnn.detect.unmolding import paste_crops, unmold_crops
from cyclic.mrcnn.geometry.boxes_numpy import enlarge_boxes
from cyclic.mrcnn.utils import compose_image_meta, mold_image

logger = logging.getLogger(__name__)

# The mask head runs on a multiple of this many boxes, so that few different graphs are compiled.
MASK_BUCKET = 16


class Detector:
    """The methods of `MaskRCNN` that detect; they need its inference mode."""

    # Shape of the images that the network ran on last.
    _last_shape = None

    def detect(self, images, verbose=0):
        """Detect instances.

        Args:
            images: list of at most any number of `[H, W, 3]` uint8 RGB images; their molded shapes must agree.
            verbose: 1 logs the shapes.

        Returns:
            One dict an image: rois `[N, 4]` int32 (y1, x1, y2, x2), class_ids `[N]` int32, scores `[N]` float32,
            masks `[H, W, N]` bool.

        Raises:
            InputError: no image, or images of different molded shapes.
        """
        if verbose:
            logger.info("detecting in images of shape %s", [image.shape for image in images])
        results = []
        for image, found in zip(images, self.detect_crops(images), strict=True):
            results.append({**found, "masks": paste_crops(found["rois"], found["masks"], image.shape)})
        return results

    def detect_crops(self, images):
        """Like `detect`, but masks are lists of N bool crops of the size of their ROI: no stack of full images."""
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
        results = []
        for boxes, crops in zip(*self.predict_molded(molded_images, np.asarray(image_metas)), strict=True):
            found = unmold_crops(boxes, crops, shape, shape, (0, 0, *shape[:2]))
            results.append({**found, "masks": paste_crops(found["rois"], found["masks"], shape)})
        return results

    def predict_molded(self, molded_images, image_metas):
        """Run the network on prepared images.

        Args:
            molded_images: `[B, H, W, 3]` float32, sides divisible by 64.
            image_metas: `[B, meta]`.

        Returns:
            detections `[B, D, 6]` float32, normalized, boxes enlarged by DETECTION_MASK_MARGIN, and a list of B mask
            arrays `[N, M, M]` float32: for each of the image's N detections the mask of its class in that box.
        """
        if self.mode != "inference":
            raise ValueError("detection needs a model in inference mode")
        shape = molded_images.shape[1:3]
        if molded_images.shape != self._last_shape:
            release_freed_memory()
            self._last_shape = molded_images.shape
        windows = np.stack([utils.norm_boxes(meta[7:11], shape) for meta in image_metas]).astype("float32")
        output = self._detect({"image": molded_images.astype("float32"), "window": windows})
        detections = np.array(keras.ops.convert_to_numpy(output["detections"]))
        margin = self.config.DETECTION_MASK_MARGIN
        if margin:
            detections[..., :4] = enlarge_boxes(detections[..., :4], margin, windows[:, None])
        counts = (detections[..., 4] > 0).sum(axis=1)
        slots = _slots(int(counts.max()), detections.shape[1])
        boxes = np.zeros((len(detections), slots, 4), "float32")
        boxes[:, : detections.shape[1]] = detections[:, :slots, :4]
        pyramid = {name: output[name] for name in ("p2", "p3", "p4", "p5")}
        masks = keras.ops.convert_to_numpy(self._mask({"boxes": boxes, **pyramid}))
        masks = masks.reshape(len(boxes), slots, *masks.shape[1:])
        class_ids = detections[..., 4].astype(int)
        chosen = [masks[i, np.arange(n), :, :, class_ids[i, :n]] for i, n in enumerate(counts)]
        return detections, chosen

    def mold_inputs(self, images):
        """Resize and pad images for the network.

        Returns:
            molded `[B, H, W, 3]` float32, metas `[B, meta]`, windows `[B, 4]` int (part that is not padding).

        Raises:
            InputError: no image, or images of different molded shapes, which have to be detected one by one.
        """
        if not len(images):
            raise InputError("no image to detect in; pass a list of one image or more")
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
        full = paste_crops(found["rois"], found["masks"], original_image_shape)
        return found["rois"], found["class_ids"], found["scores"], full


def _slots(count, most):
    """Return how many boxes the mask head runs on for `count` detections of `most` that there may be."""
    buckets = max(-(-count // MASK_BUCKET), 1)
    if keras.backend.backend() == "jax":  # compiles anew for each number
        return min(MASK_BUCKET * 2 ** (buckets - 1).bit_length(), max(most, MASK_BUCKET))
    return MASK_BUCKET * buckets
