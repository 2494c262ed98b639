"""ROIAlign over a feature pyramid, and the bilinear crop below it.

Shape shorthand: B images, R ROIs an image, M crops, P pooled side, C channels.
"""

import math

import keras
from keras import ops

from cyclic.mrcnn.geometry.boxes import box_area
from cyclic.mrcnn.kernels.crops import crop_pyramid


def crop_bilinear(flat, boxes, base, height, width, size):
    """Crop and resize boxes, each out of its own map; all maps stand in one table, one after the other.

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

    def sample_axis(low, high, length):
        """Return index and weight of the two pixels that each sample point lies between."""
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

    rows = sample_axis(boxes[:, 0], boxes[:, 2], height)
    columns = sample_axis(boxes[:, 1], boxes[:, 3], width)
    dtype = flat.dtype if keras.backend.is_float_dtype(flat.dtype) else "float32"
    crops = 0.0
    for y, y_weight in rows:
        for x, x_weight in columns:
            index = base[:, None, None] + y[:, :, None] * width[:, None, None] + x[:, None, :]
            weight = ops.cast(y_weight[:, :, None] * x_weight[:, None, :], dtype)
            crops = crops + ops.cast(ops.take(flat, index, axis=0), dtype) * weight[..., None]
    return crops


def crop_and_resize(maps, boxes, size):
    """Crop R boxes out of each map and resize them.

    Args:
        maps: `[B, H, W, C]`.
        boxes: `[B, R, 4]` normalized.
        size: side of a crop in samples.

    Returns:
        `[B * R, size, size, C]`, map by map.
    """
    batch, height, width = ops.shape(maps)[0], ops.shape(maps)[1], ops.shape(maps)[2]
    rois = ops.shape(boxes)[1]
    base = ops.repeat(ops.arange(batch, dtype="int32") * (height * width), rois)
    full = ops.ones_like(base)
    flat = ops.reshape(maps, (-1, ops.shape(maps)[3]))
    return crop_bilinear(flat, ops.reshape(boxes, (-1, 4)), base, full * height, full * width, size)


def flatten_maps(feature_maps):
    """Return the pixels of maps `[B, h, w, C]` as one table `[rows, C]`.

    Map follows map; inside a map image follows image, in row-major order.
    """
    return ops.concatenate([ops.reshape(level, (-1, level.shape[-1])) for level in feature_maps], axis=0)


def crop_pyramid_reference(feature_maps, boxes, image, level, size):
    """`kernels.crops.crop_pyramid` in plain `keras.ops`."""
    shapes = [ops.shape(level) for level in feature_maps]
    heights = ops.stack([ops.cast(shape[1], "int32") for shape in shapes])
    widths = ops.stack([ops.cast(shape[2], "int32") for shape in shapes])
    pixels = heights * widths
    first_row = (ops.cumsum(pixels) - pixels) * ops.cast(shapes[0][0], "int32")
    base = ops.take(first_row, level) + image * ops.take(pixels, level)
    flat = flatten_maps(feature_maps)
    return crop_bilinear(flat, boxes, base, ops.take(heights, level), ops.take(widths, level), size)


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

    Example:
        >>> pyramid = [keras.random.normal((1, side, side, 16)) for side in (32, 16, 8, 4)]
        >>> tuple(PyramidROIAlign(7)(keras.ops.convert_to_tensor([[[0.0, 0.0, 0.5, 0.5]]]), pyramid).shape)
        (1, 7, 7, 16)
    """

    def __init__(self, pool_size, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.pool_size = pool_size

    def call(self, rois, feature_maps):
        image_height, image_width = (4 * side for side in ops.shape(feature_maps[0])[1:3])
        return pool_pyramid(rois, feature_maps, image_height, image_width, self.pool_size)

    def compute_output_shape(self, rois_shape, feature_maps_shape):
        return (None, self.pool_size, self.pool_size, feature_maps_shape[0][-1])

    def get_config(self):
        return {**super().get_config(), "pool_size": self.pool_size}


def pool_pyramid(rois, feature_maps, image_height, image_width, size):
    """Return the pooled ROIs, see `PyramidROIAlign`, of images whose height and width are known in pixels."""
    batch, count = ops.shape(rois)[0], ops.shape(rois)[1]
    # With NaN among the weights, the pooling must not fail: the guard against NaN is to report them.
    rois = ops.stop_gradient(ops.where(ops.isfinite(rois), rois, 0.0))
    level = ops.reshape(pyramid_levels(rois, image_height, image_width), (-1,))
    image = ops.repeat(ops.arange(batch, dtype="int32"), count)
    boxes = ops.reshape(rois, (-1, 4))
    crops = crop_pyramid(feature_maps, boxes, image, level, size)
    return crop_pyramid_reference(feature_maps, boxes, image, level, size) if crops is None else crops


def pyramid_levels(rois, image_height, image_width):
    """Return the index into the pyramid (`[B, R]` int32): a 224 pixel ROI belongs to P4, half of it to P3."""
    image_area = ops.cast(image_height * image_width, "float32")
    relative = ops.sqrt(ops.maximum(box_area(rois), 1e-12)) * ops.sqrt(image_area) / 224.0
    level = ops.round(ops.log(relative) / math.log(2.0))
    return ops.cast(ops.clip(level + 2, 0, 3), "int32")
