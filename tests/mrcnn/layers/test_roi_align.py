"""Bilinear crops and the pyramid level a ROI is pooled from."""

import keras
import numpy as np
import pytest
from keras import ops

from cyclic.mrcnn.geometry.boxes_numpy import norm_boxes
from cyclic.mrcnn.layers.roi_align import PyramidROIAlign, crop_and_resize

STRIDES = (4, 8, 16, 32)


def crops_of(maps, boxes, size):
    return ops.convert_to_numpy(crop_and_resize(np.float32(maps), np.float32(boxes), size))


def pyramid(values, side=256, batch=1, channels=2):
    """Return constant levels P2..P5 of an image of `side`, level i filled with `values[i]`."""
    shapes = [(batch, side // stride, side // stride, channels) for stride in STRIDES]
    return [np.full(shape, value, "float32") for shape, value in zip(shapes, values, strict=True)]


def test_constant_map_gives_the_constant():
    crops = crops_of(np.full((1, 9, 13, 2), 3.5), [[[0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1]]], 7)
    assert crops.shape == (2, 7, 7, 2)
    np.testing.assert_allclose(crops, 3.5, rtol=1e-6)


def test_linear_ramp_gives_the_exact_sample_points():
    y, x = np.meshgrid(np.arange(9.0), np.arange(17.0), indexing="ij")
    ramp = np.stack([y, x], axis=-1)[None]
    y1, x1, y2, x2 = 0.1, 0.2, 0.7, 0.95
    crops = crops_of(ramp, [[[y1, x1, y2, x2]]], 5)[0]
    np.testing.assert_allclose(crops[:, 2, 0], np.linspace(y1 * 8, y2 * 8, 5), rtol=1e-5)
    np.testing.assert_allclose(crops[3, :, 1], np.linspace(x1 * 16, x2 * 16, 5), rtol=1e-5)


def test_whole_map_at_its_own_size_is_the_map():
    image = np.random.default_rng(0).random((1, 6, 6, 1))
    np.testing.assert_allclose(crops_of(image, [[[0, 0, 1, 1]]], 6), image, atol=1e-6)


def test_box_outside_reads_zero_and_one_across_the_border_keeps_its_inner_half():
    crops = crops_of(np.ones((1, 8, 8, 1)), [[[1.2, 1.2, 1.5, 1.5], [-1, 0, 1, 1]]], 4)[..., 0]
    assert not crops[0].any()
    np.testing.assert_array_equal(crops[1], np.repeat([[0.0], [0], [1], [1]], 4, axis=1))


def test_single_sample_is_the_centre():
    ramp = np.arange(9.0)[None, :, None, None] * np.ones((1, 1, 5, 1))
    np.testing.assert_allclose(crops_of(ramp, [[[0.25, 0, 0.75, 1]]], 1).ravel(), [4.0])


def test_each_image_crops_its_own_map():
    maps = np.stack([np.zeros((4, 4, 1)), np.ones((4, 4, 1))])
    crops = crops_of(maps, np.tile([0.0, 0, 1, 1], (2, 3, 1)), 2)
    np.testing.assert_array_equal(crops.mean(axis=(1, 2, 3)), [0, 0, 0, 1, 1, 1])


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the oracle is a TensorFlow operation")
@pytest.mark.parametrize("size", [1, 2, 7, 14])
def test_crops_equal_tensorflows(size):
    import tensorflow as tf

    rng = np.random.default_rng(size)
    maps = rng.normal(size=(2, 21, 30, 3)).astype("float32")
    corner = rng.uniform(-0.2, 0.9, (2, 40, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(0, 0.5, (2, 40, 2))], axis=-1).astype("float32")
    expected = tf.image.crop_and_resize(maps, boxes.reshape(-1, 4), np.repeat([0, 1], 40), (size, size))
    np.testing.assert_allclose(crops_of(maps, boxes, size), expected.numpy(), atol=2e-4)


@pytest.mark.parametrize("side, level", [(8, 0), (60, 0), (100, 1), (120, 1), (200, 2), (240, 2), (400, 3), (510, 3)])
def test_level_follows_the_roi_size_in_pixels(side, level):
    rois = norm_boxes(np.array([[[0, 0, side, side]]]), (512, 512))
    pooled = ops.convert_to_numpy(PyramidROIAlign(3)(rois, pyramid([10, 11, 12, 13], side=512)))
    np.testing.assert_allclose(pooled, 10 + level, rtol=1e-6)


def test_elongated_roi_goes_by_its_area():
    rois = norm_boxes(np.array([[[0, 0, 40, 490]]]), (512, 512))
    pooled = ops.convert_to_numpy(PyramidROIAlign(2)(rois, pyramid([10, 11, 12, 13], side=512)))
    np.testing.assert_allclose(pooled, 11, rtol=1e-6)


def test_rois_of_a_batch_read_their_image_and_level():
    levels = [np.concatenate([level, level + 100]) for level in pyramid([1, 2, 3, 4], side=512)]
    boxes = np.array([[0, 0, 30, 30], [100, 100, 500, 500], [20, 20, 140, 140]])
    rois = np.stack([norm_boxes(boxes, (512, 512)), norm_boxes(boxes[::-1], (512, 512))])
    pooled = ops.convert_to_numpy(PyramidROIAlign(2)(rois, levels))
    assert pooled.shape == (6, 2, 2, 2)
    np.testing.assert_allclose(pooled.mean(axis=(1, 2, 3)), [1, 4, 2, 102, 104, 101], rtol=1e-6)


def test_padding_rois_are_finite():
    pooled = ops.convert_to_numpy(PyramidROIAlign(2)(np.zeros((1, 3, 4), "float32"), pyramid([1, 2, 3, 4])))
    assert np.isfinite(pooled).all()


def test_half_precision_maps_are_sampled_at_exact_places():
    maps = [ops.cast(level, "bfloat16") for level in pyramid([1, 2, 3, 4], side=512)]
    rois = norm_boxes(np.array([[[0, 0, 30, 30], [0, 0, 511, 511]]]), (512, 512))
    pooled = PyramidROIAlign(2, dtype="mixed_bfloat16")(rois, maps)
    assert keras.backend.standardize_dtype(pooled.dtype) == "bfloat16"
    values = ops.convert_to_numpy(ops.cast(pooled, "float32")).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(values, [1, 4], rtol=1e-2)


def test_layer_survives_its_config():
    assert PyramidROIAlign.from_config(PyramidROIAlign(7).get_config()).pool_size == 7
