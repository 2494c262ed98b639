"""RPN outputs of the few anchors that bear loss.

Shape shorthand: B images, A anchors, N sampled ones, K ratios, C channels.
"""

import keras
import numpy as np
from keras import ops

from cyclic.mrcnn.kernels.top_k import top_k
from cyclic.mrcnn.layers.roi_align import flatten_maps

KERNEL = 3  # side of the RPN's shared convolution


@keras.saving.register_keras_serializable(package="cyclic")
class SampledAnchors(keras.layers.Layer):
    """Run the RPN again on the 3 x 3 cells around each anchor that is not neutral.

    Only a few hundred of some 65,000 anchors bear loss. Outputs and gradients are those of the RPN on whole feature
    maps, but the backward pass over the maps, a sixth of a training step, is not needed.

    Args:
        rpn: what `rpn.build_rpn` returned.
        samples: N, the most anchors of an image that are not neutral.

    Call arguments:
        pyramid: the levels with anchors, each `[B, h, w, C]` with known sides.
        rpn_match: `[B, A, 1]` int: 1 positive, -1 negative, 0 neutral.

    Returns:
        match `[B, N, 1]` int32, logits `[B, N, 2]` and deltas `[B, N, 4]` float32 of the anchors that are not neutral,
        in the order of the anchors; the slots left over are neutral.

    Example: `match, logits, deltas = SampledAnchors(build_rpn(1, 3, 256, 512), 256)(pyramid, rpn_match)`
    """

    def __init__(self, rpn, samples, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.rpn, self.samples = rpn, samples

    def call(self, pyramid, rpn_match):
        match = ops.cast(rpn_match[..., 0], "int32")
        count = ops.shape(match)[1]
        # Anchors that bear loss rank first, in their own order; neutral ones have rank 0.
        rank = ops.where(match != 0, count - ops.arange(count, dtype="int32"), 0)
        rank, anchor = top_k(rank, self.samples)
        match = ops.where(rank > 0, ops.take_along_axis(match, anchor, axis=1), 0)
        heads = [self.rpn.get_layer(name) for name in ("rpn_class_raw", "rpn_bbox_pred")]
        ratios = heads[1].filters // 4
        shared = self._shared(self._patches(pyramid, anchor // ratios))
        logits, deltas = (self._of_ratio(head(shared), anchor % ratios, ratios) for head in heads)
        return match[..., None], logits, deltas

    def _patches(self, pyramid, cell):
        """Return `[B * N, 9 * C]`, the cells around each anchor's cell; those outside the map are 0."""
        sides = np.array([level.shape[1:3] for level in pyramid])
        stride = self.rpn.get_layer("rpn_conv_shared").strides[0]
        grid = -(-sides // stride)
        padding = np.maximum((grid - 1) * stride + KERNEL - sides, 0) // 2
        cells, pixels, batch = grid.prod(axis=1), sides.prod(axis=1), ops.shape(cell)[0]
        first_cell, pixels_before = np.cumsum(cells) - cells, np.cumsum(pixels) - pixels
        starts = ops.convert_to_tensor(first_cell[1:].astype("int32"))
        level = ops.sum(ops.cast(cell[..., None] >= starts, "int32"), axis=-1)

        def of_level(values):
            return ops.take(ops.convert_to_tensor(values.astype("int32")), level)[..., None]

        within, columns = cell[..., None] - of_level(first_cell), of_level(grid[:, 1])
        offset = ops.arange(KERNEL * KERNEL, dtype="int32")
        y = within // columns * stride - of_level(padding[:, 0]) + offset // KERNEL
        x = within % columns * stride - of_level(padding[:, 1]) + offset % KERNEL
        height, width = of_level(sides[:, 0]), of_level(sides[:, 1])
        inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        image = ops.arange(batch, dtype="int32")[:, None, None]
        pixel = of_level(pixels_before) * batch + image * of_level(pixels) + y * width + x
        table = flatten_maps(pyramid)
        patches = ops.take(table, ops.where(inside, pixel, 0), axis=0) * ops.cast(inside, table.dtype)[..., None]
        return ops.reshape(patches, (-1, KERNEL * KERNEL * table.shape[1]))

    def _shared(self, patches):
        """Return `[B * N, 1, 1, C']`: the shared convolution of each patch, a matrix product."""
        conv = self.rpn.get_layer("rpn_conv_shared")
        kernel = ops.reshape(ops.cast(conv.kernel, patches.dtype), (-1, conv.filters))
        product = ops.matmul(patches, kernel) + ops.cast(conv.bias, patches.dtype)
        return conv.activation(product)[:, None, None]

    def _of_ratio(self, values, ratio, ratios):
        """Return `[B, N, values of one anchor]` float32: the values of the anchor's own ratio at its cell."""
        values = ops.reshape(ops.cast(values, "float32"), (-1, self.samples, ratios, values.shape[-1] // ratios))
        return ops.take_along_axis(values, ratio[..., None, None], axis=2)[:, :, 0]

    def compute_output_spec(self, pyramid, rpn_match):
        batch = rpn_match.shape[0]
        return (
            keras.KerasTensor((batch, self.samples, 1), "int32"),
            keras.KerasTensor((batch, self.samples, 2), "float32"),
            keras.KerasTensor((batch, self.samples, 4), "float32"),
        )

    def get_config(self):
        rpn = keras.saving.serialize_keras_object(self.rpn)
        return {**super().get_config(), "rpn": rpn, "samples": self.samples}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "rpn": keras.saving.deserialize_keras_object(config["rpn"])})
