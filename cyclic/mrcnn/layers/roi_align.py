"""ROIAlign over a feature pyramid, and the bilinear crop below it.

Shape shorthand: B images, R ROIs an image, M crops, P pooled side, C channels.
"""

import math

import keras
from keras import ops

from cyclic.mrcnn.kernels.crops import pyramid_crops


def bilinear_crops(flat, boxes, base, height, width, size):
    """Crop and resize boxes out of maps that lie one after the other in one table.

    A crop's sample points run from the centre of the box's first pixel to that of its last, both included, as in
    TensorFlow's `crop_and_resize`; points outside the map read 0.

    Args:
        flat: `[rows, C]`, each row a pixel, maps in row-major order.
        boxes: `[M, 4]` float32 normalized boxes.
        base: `[M]` int32 row of the first pixel of each box's map.
        height: `[M]` int32 height of each box's map; `width` alike.
        size: side of a crop in samples.

    Returns:
        `[M, size, size, C]` in the dtype of `flat`, float32 for integers.
    """
    steps = ops.arange(size, dtype="float32") / max(size - 1, 1)

    def axis(low, high, length):
        last = ops.cast(length - 1, "float32")[:, None]
        points = (low[:, None] + steps[None] * (high - low)[:, None]) * last
        if size == 1:
            points = 0.5 * (low + high)[:, None] * last
        inside = (points >= 0) & (points <= last)
        points = ops.clip(points, 0.0, last)
        floor = ops.floor(points)
        first = ops.cast(floor, "int32")
        second = ops.minimum(first + 1, length[:, None] - 1)
        share = points - floor
        inside = ops.cast(inside, "float32")
        return (first, (1 - share) * inside), (second, share * inside)

    rows = axis(boxes[:, 0], boxes[:, 2], height)
    columns = axis(boxes[:, 1], boxes[:, 3], width)
    dtype = flat.dtype if keras.backend.is_float_dtype(flat.dtype) else "float32"
    crops = 0.0
    for y, y_weight in rows:
        for x, x_weight in columns:
            index = base[:, None, None] + y[:, :, None] * width[:, None, None] + x[:, None, :]
            weight = ops.cast(y_weight[:, :, None] * x_weight[:, None, :], dtype)
            crops = crops + ops.cast(ops.take(flat, index, axis=0), dtype) * weight[..., None]
    return crops


def crop_and_resize(maps, boxes, size):
    """Crop each map's own boxes: `maps` `[B, H, W, C]`, `boxes` `[B, R, 4]` normalized -> `[B * R, size, size, C]`."""
    batch, height, width = ops.shape(maps)[0], ops.shape(maps)[1], ops.shape(maps)[2]
    rois = ops.shape(boxes)[1]
    base = ops.repeat(ops.arange(batch, dtype="int32") * (height * width), rois)
    full = ops.ones_like(base)
    flat = ops.reshape(maps, (-1, ops.shape(maps)[3]))
    return bilinear_crops(flat, ops.reshape(boxes, (-1, 4)), base, full * height, full * width, size)


def pixel_table(feature_maps):
    """Return `[rows, C]`: the pixels of maps `[B, h, w, C]`, map after map, each image by image in row-major order."""
    return ops.concatenate([ops.reshape(each, (-1, each.shape[-1])) for each in feature_maps], axis=0)


def reference_crops(feature_maps, boxes, image, level, size):
    """`kernels.crops.pyramid_crops` in plain `keras.ops`."""
    shapes = [ops.shape(each) for each in feature_maps]
    heights = ops.stack([ops.cast(shape[1], "int32") for shape in shapes])
    widths = ops.stack([ops.cast(shape[2], "int32") for shape in shapes])
    pixels = heights * widths
    first_row = (ops.cumsum(pixels) - pixels) * ops.cast(shapes[0][0], "int32")
    base = ops.take(first_row, level) + image * ops.take(pixels, level)
    flat = pixel_table(feature_maps)
    return bilinear_crops(flat, boxes, base, ops.take(heights, level), ops.take(widths, level), size)


@keras.saving.register_keras_serializable(package="cyclic")
class PyramidROIAlign(keras.layers.Layer):
    """Pool each ROI from the pyramid level that fits its size (Lin et al. 2017, equation 1).

    Args:
        pool_size: side P of the pooled map.

    Call arguments:
        rois: `[B, R, 4]` normalized boxes.
        feature_maps: `[P2, P3, P4, P5]`, each `[B, h, w, C]`, strides 4, 8, 16, 32.

    Returns:
        `[B * R, P, P, C]`: all ROIs of the batch, image by image.
    """

    def __init__(self, pool_size, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.pool_size = pool_size

    def call(self, rois, feature_maps):
        batch, count = ops.shape(rois)[0], ops.shape(rois)[1]
        image_height, image_width = (4 * side for side in ops.shape(feature_maps[0])[1:3])
        # The guard against NaN has to report weights that are no numbers, not a look-up that fails.
        rois = ops.stop_gradient(ops.where(ops.isfinite(rois), rois, 0.0))
        level = self._levels(rois, image_height, image_width)

        level = ops.reshape(level, (-1,))
        image = ops.repeat(ops.arange(batch, dtype="int32"), count)
        boxes = ops.reshape(rois, (-1, 4))
        crops = pyramid_crops(feature_maps, boxes, image, level, self.pool_size)
        return reference_crops(feature_maps, boxes, image, level, self.pool_size) if crops is None else crops

    @staticmethod
    def _levels(rois, image_height, image_width):
        """Return the index into `feature_maps` (`[B, R]` int32): a 224 pixel ROI belongs to P4, half of it to P3."""
        area = (rois[..., 2] - rois[..., 0]) * (rois[..., 3] - rois[..., 1])
        image_area = ops.cast(image_height * image_width, "float32")
        relative = ops.sqrt(ops.maximum(area, 1e-12)) * ops.sqrt(image_area) / 224.0
        level = ops.round(ops.log(relative) / math.log(2.0))
        return ops.cast(ops.clip(level + 2, 0, 3), "int32")

    def compute_output_shape(self, rois_shape, feature_maps_shape):
        return (None, self.pool_size, self.pool_size, feature_maps_shape[0][-1])

    def get_config(self):
        return {**super().get_config(), "pool_size": self.pool_size}
