"""Anchors in NumPy: their order and places, the cache, and equality with Matterport's."""

import numpy as np
import pytest
from golden import golden_file, needs_parity

from cyclic.mrcnn.config import Config
from cyclic.mrcnn.geometry.anchors_numpy import (
    compute_backbone_shapes,
    generate_anchors,
    generate_pyramid_anchors,
    pyramid_anchors,
    pyramid_anchors_normalized,
)


class SmallConfig(Config):
    RPN_ANCHOR_SCALES = (8, 16, 32, 64, 128)


def test_one_cell_has_the_ratios_around_its_centre():
    anchors = generate_anchors(8, [0.25, 1, 4], (1, 1), 4, 1)
    np.testing.assert_allclose(anchors, [[-8, -2, 8, 2], [-4, -4, 4, 4], [-2, -8, 2, 8]])


def test_order_is_row_column_ratio_and_stride_thins():
    anchors = generate_anchors([2], [1], (3, 4), 10, 2)
    np.testing.assert_allclose(anchors[:, :2] + 1, [[0, 0], [0, 20], [20, 0], [20, 20]])


def test_several_scales_vary_fastest():
    sides = np.diff(generate_anchors([2, 6], [1, 4], (1, 1), 1, 1)[:, [0, 2]])[:, 0]
    np.testing.assert_allclose(sides, [2, 6, 1, 3])


def test_backbone_shapes_round_up():
    assert compute_backbone_shapes(Config(), (100, 64, 3)).tolist() == [[25, 16], [13, 8], [7, 4], [4, 2], [2, 1]]


def test_callable_backbone_brings_its_own_shapes():
    config = SmallConfig()
    config.RPN_ANCHOR_SCALES, config.BACKBONE_STRIDES = (8,), [4]
    config.BACKBONE = config.COMPUTE_BACKBONE_SHAPE = lambda shape: np.array([[shape[0] // 4, shape[1] // 4]])
    assert compute_backbone_shapes(config, (64, 32, 3)).tolist() == [[16, 8]]
    assert len(pyramid_anchors(config, (64, 32, 3))) == 16 * 8 * 3


def test_cached_anchors_are_shared_and_read_only():
    first = pyramid_anchors_normalized(SmallConfig(), (128, 128, 3))
    assert first is pyramid_anchors_normalized(SmallConfig(), np.array([128, 128, 3]))
    assert first.dtype == np.float32 and first.shape == (4092, 4)
    with pytest.raises(ValueError, match="read-only"):
        first[0] = 0
    assert pyramid_anchors(Config(), (128, 128)).max() > pyramid_anchors(SmallConfig(), (128, 128)).max()


@needs_parity
def test_anchors_equal_matterports():
    config = SmallConfig()
    shapes = compute_backbone_shapes(config, (256, 256, 3))
    anchors = generate_pyramid_anchors(
        config.RPN_ANCHOR_SCALES, config.RPN_ANCHOR_RATIOS, shapes, config.BACKBONE_STRIDES, config.RPN_ANCHOR_STRIDE
    )
    np.testing.assert_array_equal(anchors, golden_file("targets")["anchors"])
    golden = golden_file("infer")["anchors"]
    np.testing.assert_array_equal(pyramid_anchors_normalized(config, (256, 256, 3)), golden)
