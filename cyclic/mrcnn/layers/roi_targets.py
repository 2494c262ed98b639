"""Proposals to training targets of the heads.

Shape shorthand: B images, R proposals, G ground-truth slots, T ROIs trained on, P of them for positives, M mask side.
"""

import keras
from keras import ops

from cyclic.mrcnn.geometry.boxes import box_refinement, ignored_share, overlaps
from cyclic.mrcnn.kernels.devices import uniform
from cyclic.mrcnn.kernels.top_k import top_k
from cyclic.mrcnn.layers.roi_align import crop_and_resize, crop_bilinear

POSITIVE_IOU = 0.5
CROWD_IOU = 0.001


@keras.saving.register_keras_serializable(package="cyclic")
class DetectionTargetLayer(keras.layers.Layer):
    """Sample positive and negative ROIs and give each its target, as Matterport's layer of this name does.

    The first P slots are for positive ROIs, the others for negative ones, so the mask head runs on P slots only. An
    empty slot has zero coordinates and weight 0. An image without positives still trains T - P negatives.

    Args:
        rois_per_image: T.
        positive_ratio: share of T that positives may take.
        mask_shape: (M, M).
        bbox_std_dev: standard deviations that divide the box deltas.
        use_mini_mask: masks are cut to their box rather than the size of the image.
        ignore_overlap: a negative ROI with a larger share of its area in the ignore region is left out.
        seed: seed of the sampling.

    Call arguments:
        proposals: `[B, R, 4]` normalized, zero-padded.
        gt_class_ids: `[B, G]` int, 0 for empty slots, negative for crowds.
        gt_boxes: `[B, G, 4]` normalized.
        gt_masks: `[B, G, h, w]`, 0 or 1.
        ignore: `[B, H, W]` or None; non-zero where no loss may look.

    Returns:
        rois `[B, T, 4]`, class ids `[B, T]` int32, weights `[B, T]` float32 (1 real, 0 empty), box deltas `[B, P, 4]`,
        masks `[B, P, M, M]` and mask weights `[B, P, M, M]`.

    Example:
        >>> layer = DetectionTargetLayer(6, 0.34, (28, 28), (0.1, 0.1, 0.2, 0.2), True, 0.3)
        >>> box, ids = keras.ops.convert_to_tensor([[[0.1, 0.1, 0.4, 0.4]]]), keras.ops.ones((1, 1), "int32")
        >>> [tuple(target.shape) for target in layer(box, ids, box, keras.ops.ones((1, 1, 28, 28)))]
        [(1, 6, 4), (1, 6), (1, 6), (1, 2, 4), (1, 2, 28, 28), (1, 2, 28, 28)]
    """

    def __init__(
        self,
        rois_per_image,
        positive_ratio,
        mask_shape,
        bbox_std_dev,
        use_mini_mask,
        ignore_overlap,
        seed=None,
        **kwargs,
    ):
        super().__init__(autocast=False, **{**kwargs, "dtype": "float32"})
        self.rois_per_image, self.positive_ratio = rois_per_image, positive_ratio
        self.mask_shape, self.bbox_std_dev = tuple(mask_shape), tuple(float(x) for x in bbox_std_dev)
        self.use_mini_mask, self.ignore_overlap, self.seed = use_mini_mask, ignore_overlap, seed
        self.positives = int(rois_per_image * positive_ratio)
        self.generator = keras.random.SeedGenerator(seed)

    def call(self, proposals, gt_class_ids, gt_boxes, gt_masks, ignore=None):
        proposals, gt_boxes = ops.stop_gradient(proposals), ops.cast(gt_boxes, "float32")
        real = ops.any(proposals != 0, axis=-1)
        iou = overlaps(proposals, gt_boxes)
        best_iou = ops.max(ops.where((gt_class_ids > 0)[:, None], iou, 0.0), axis=-1)
        crowd_iou = ops.max(ops.where((gt_class_ids < 0)[:, None], iou, 0.0), axis=-1)
        positive = real & (best_iou >= POSITIVE_IOU)
        negative = real & (best_iou < POSITIVE_IOU) & (crowd_iou < CROWD_IOU)
        if ignore is not None:
            negative = negative & (ignored_share(proposals, ignore) <= self.ignore_overlap)

        positives, is_positive = self._sample(positive, self.positives)
        negatives, is_negative = self._sample(negative, self.rois_per_image - self.positives)
        is_negative = is_negative & self._wanted_negatives(is_positive)

        positive_rois = self._take(proposals, positives, is_positive)
        negative_rois = self._take(proposals, negatives, is_negative)
        iou = ops.where((gt_class_ids > 0)[:, None], ops.take_along_axis(iou, positives[..., None], axis=1), -1.0)
        assigned = ops.argmax(iou, axis=-1)
        class_ids = ops.take_along_axis(ops.cast(gt_class_ids, "int32"), assigned, axis=1)
        class_ids = ops.where(is_positive, class_ids, 0)
        boxes = ops.take_along_axis(gt_boxes, assigned[..., None], axis=1)
        deltas = box_refinement(positive_rois, boxes) / ops.convert_to_tensor(self.bbox_std_dev)
        deltas = ops.where(is_positive[..., None], deltas, 0.0)
        masks = self._masks(positive_rois, boxes, gt_masks, assigned, is_positive)
        return (
            ops.concatenate([positive_rois, negative_rois], axis=1),
            ops.concatenate([class_ids, ops.zeros_like(negatives, dtype="int32")], axis=1),
            ops.cast(ops.concatenate([is_positive, is_negative], axis=1), "float32"),
            deltas,
            masks,
            self._mask_weights(positive_rois, masks, ignore),
        )

    def _sample(self, eligible, count):
        """Return `[B, count]` random indices of eligible proposals, and which of these slots hold one."""
        priority = uniform(ops.shape(eligible), self.generator)
        priority = ops.where(eligible, priority, -1.0)
        missing = count - priority.shape[1]
        if missing > 0:
            priority = ops.pad(priority, [[0, 0], [0, missing]], constant_values=-1.0)
        values, indices = top_k(priority, count)
        return ops.where(values >= 0, indices, 0), values >= 0

    def _wanted_negatives(self, is_positive):
        """Return which negative slots keep the ratio of positives; without any positive, all slots do."""
        slots = self.rois_per_image - self.positives
        positives = ops.sum(ops.cast(is_positive, "float32"), axis=1, keepdims=True)
        wanted = ops.floor(positives / self.positive_ratio) - positives
        wanted = ops.where(positives > 0, wanted, float(slots))
        return ops.arange(slots, dtype="float32")[None] < wanted

    @staticmethod
    def _take(proposals, indices, valid):
        return ops.where(valid[..., None], ops.take_along_axis(proposals, indices[..., None], axis=1), 0.0)

    def _masks(self, rois, boxes, gt_masks, assigned, is_positive):
        if self.use_mini_mask:
            # The mini mask spans its box, so the ROI is expressed relative to that box.
            size = ops.maximum(boxes[..., 2:] - boxes[..., :2], 1e-7)
            origin = ops.concatenate([boxes[..., :2], boxes[..., :2]], axis=-1)
            rois = (rois - origin) / ops.concatenate([size, size], axis=-1)
        batch, count, height, width = ops.shape(gt_masks)
        instance = ops.arange(batch, dtype="int32")[:, None] * count + ops.cast(assigned, "int32")
        base = ops.reshape(instance * (height * width), (-1,))
        sides = ops.full_like(base, height), ops.full_like(base, width)
        flat = ops.reshape(gt_masks, (-1, 1))
        crops = crop_bilinear(flat, ops.reshape(rois, (-1, 4)), base, *sides, self.mask_shape[0])
        crops = ops.round(ops.reshape(crops, (-1, self.positives, *self.mask_shape)))
        return ops.where(is_positive[..., None, None], crops, 0.0)

    def _mask_weights(self, rois, masks, ignore):
        """Return `[B, P, M, M]`: 0 for pixels in the ignore region that are not of the mask itself, else 1."""
        if ignore is None:
            return ops.ones_like(masks)
        ignore = ops.cast(ignore > 0, "float32")[..., None]
        crops = crop_and_resize(ignore, rois, self.mask_shape[0])
        crops = ops.reshape(crops, (-1, self.positives, *self.mask_shape))
        return ops.where(masks > 0.5, 1.0, ops.cast(crops < 0.5, "float32"))

    def compute_output_shape(self, proposals_shape, *others, **named):
        batch, positives = proposals_shape[0], self.positives
        total, mask = (batch, self.rois_per_image), (batch, positives, *self.mask_shape)
        return (*total, 4), total, total, (batch, positives, 4), mask, mask

    def compute_output_spec(self, proposals, *others, **named):
        dtypes = ("float32", "int32", "float32", "float32", "float32", "float32")
        shapes = self.compute_output_shape(proposals.shape)
        return tuple(keras.KerasTensor(shape, dtype) for shape, dtype in zip(shapes, dtypes, strict=True))

    def get_config(self):
        return {
            **super().get_config(),
            "rois_per_image": self.rois_per_image,
            "positive_ratio": self.positive_ratio,
            "mask_shape": self.mask_shape,
            "bbox_std_dev": self.bbox_std_dev,
            "use_mini_mask": self.use_mini_mask,
            "ignore_overlap": self.ignore_overlap,
            "seed": self.seed,
        }
