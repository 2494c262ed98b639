"""Anchors as a layer, so that the network takes images of any size."""

import keras
import numpy as np
from keras import ops

from cyclic.mrcnn.geometry.boxes import normalize_boxes


@keras.saving.register_keras_serializable(package="cyclic")
class PyramidAnchors(keras.layers.Layer):
    """Normalized anchors of all pyramid levels for the images of a batch.

    These are the anchors of `anchors_numpy.pyramid_anchors_normalized`, in the same order.

    Args:
        scales: anchor side in pixels, one for each level.
        ratios: width / height ratios at each cell.
        strides: feature map stride of each level in pixels.
        anchor_stride: put anchors at every `anchor_stride`-th cell.

    Call arguments:
        images: `[B, H, W, C]`.

    Returns:
        `[1, A, 4]` float32 normalized boxes.

    Example:
        >>> tuple(PyramidAnchors((8, 16), (0.5, 1, 2), (4, 8))(keras.ops.zeros((1, 32, 48, 3))).shape)
        (1, 360, 4)
    """

    def __init__(self, scales, ratios, strides, anchor_stride=1, **kwargs):
        super().__init__(autocast=False, **{**kwargs, "dtype": "float32"})
        self.scales, self.ratios, self.strides = tuple(scales), tuple(ratios), tuple(strides)
        self.anchor_stride = anchor_stride
        self._last = None

    def call(self, images):
        height, width = ops.shape(images)[1], ops.shape(images)[2]
        if keras.backend.backend() != "torch":
            return self._anchors(height, width)
        # PyTorch would compute them again in every step, and would wait while each constant is copied to the device.
        key = (height, width, str(images.device))
        if self._last is None or self._last[0] != key:
            self._last = key, self._anchors(height, width)
        return self._last[1]

    def _anchors(self, height, width):
        pairs = zip(self.scales, self.strides, strict=True)
        levels = [self._level(scale, stride, height, width) for scale, stride in pairs]
        return normalize_boxes(ops.concatenate(levels, axis=0), (height, width))[None]

    def _level(self, scale, stride, height, width):
        roots = np.sqrt(np.asarray(self.ratios, "float64"))
        half = 0.5 * np.stack([scale / roots, scale * roots], axis=-1)
        corners = ops.convert_to_tensor(np.concatenate([-half, half], axis=-1).astype("float32"))
        step = stride * self.anchor_stride
        ys = ops.cast(ops.arange(0, (height + step - 1) // step), "float32") * step
        xs = ops.cast(ops.arange(0, (width + step - 1) // step), "float32") * step
        y, x = ops.meshgrid(ys, xs, indexing="ij")
        centres = ops.reshape(ops.stack([y, x, y, x], axis=-1), (-1, 1, 4))
        return ops.reshape(centres + corners[None], (-1, 4))

    def compute_output_shape(self, images_shape):
        return (1, None, 4)

    def get_config(self):
        return {
            **super().get_config(),
            "scales": self.scales,
            "ratios": self.ratios,
            "strides": self.strides,
            "anchor_stride": self.anchor_stride,
        }
