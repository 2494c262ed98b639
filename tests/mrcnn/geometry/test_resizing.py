"""Resizing: against skimage, and every mode of `resize_image` with the masks of its image."""

import numpy as np
import pytest
import skimage.transform
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cyclic.mrcnn import utils
from cyclic.mrcnn.geometry.resizing import resize_linear, resize_nearest


@settings(deadline=None)
@given(
    hnp.arrays(np.float64, st.tuples(st.integers(2, 20), st.integers(2, 20)), elements=st.floats(0, 255)),
    st.integers(1, 40),
    st.integers(1, 40),
)
def test_linear_resize_equals_skimage(image, height, width):
    expected = utils.resize(image, (height, width), preserve_range=True)
    np.testing.assert_allclose(resize_linear(image, (height, width)), expected, atol=1e-3)


def test_linear_resize_keeps_channels_and_range():
    image = np.random.default_rng(0).integers(50, 200, (7, 9, 1), dtype=np.uint8)
    resized = resize_linear(image, (20, 30))
    assert resized.shape == (20, 30, 1) and resized.min() >= image.min() and resized.max() <= image.max()


def test_nearest_resize_mixes_no_labels():
    labels = np.array([[0, 7], [900, 3]])
    assert resize_nearest(labels, (4, 4)).tolist() == np.kron(labels, np.ones((2, 2), int)).tolist()
    assert resize_nearest(np.arange(4)[None], (1, 2)).tolist() == [[1, 3]]


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (100, 60, 3), dtype=np.uint8)


def test_none_changes_nothing(image):
    resized, window, scale, padding, crop = utils.resize_image(image, 64, 128, 2, "none")
    assert resized is image and window == (0, 0, 100, 60) and scale == 1 and crop is None
    assert padding == [(0, 0), (0, 0), (0, 0)]


def test_square_scales_down_to_the_longest_side_and_pads(image):
    resized, window, scale, padding, _ = utils.resize_image(image, 48, 50, mode="square")
    assert resized.shape == (50, 50, 3) and resized.dtype == np.uint8
    assert window == (0, 10, 50, 40) and scale == 0.5 and padding == [(0, 0), (10, 10), (0, 0)]
    assert not resized[:, :10].any() and not resized[:, 40:].any()


def test_a_thin_image_keeps_a_row():
    resized, window, _, _, _ = utils.resize_image(np.ones((2, 3000, 3), np.uint8), 64, 64)
    assert window == (31, 0, 32, 64) and resized[31].all()


def test_square_enlarges_by_the_minimum_scale(image):
    resized, window, scale, _, _ = utils.resize_image(image, 60, 256, min_scale=2, mode="square")
    assert scale == 2 and window == (28, 68, 228, 188)
    expected = skimage.transform.resize(image, (200, 120), order=1, mode="constant", preserve_range=True)
    np.testing.assert_array_equal(resized[28:228, 68:188], (expected + 1e-4).astype(np.uint8))


def test_pad64_pads_to_multiples_of_64(image):
    resized, window, _, padding, _ = utils.resize_image(image, mode="pad64")
    assert resized.shape == (128, 64, 3) and window == (14, 2, 114, 62) and padding[0] == (14, 14)
    with pytest.raises(ValueError, match="multiple of 64"):
        utils.resize_image(image, 65, mode="pad64")


def test_crop_is_random_but_seeded(image):
    first = utils.resize_image(image, 32, mode="crop", rng=np.random.default_rng(3))
    again = utils.resize_image(image, 32, mode="crop", rng=np.random.default_rng(3))
    np.testing.assert_array_equal(first[0], again[0])
    y, x, height, width = first[4]
    np.testing.assert_array_equal(first[0], image[y : y + height, x : x + width])
    assert len({utils.resize_image(image, 32, mode="crop", rng=np.random.default_rng(i))[4] for i in range(9)}) > 3


def test_unknown_mode_is_refused(image):
    with pytest.raises(ValueError, match="squeeze"):
        utils.resize_image(image, 32, 64, mode="squeeze")


@pytest.mark.parametrize(("mode", "scale"), [("square", 0), ("square", 1.5), ("pad64", 1.5), ("crop", 2), ("none", 0)])
def test_masks_move_with_their_image(mode, scale):
    mask = np.zeros((96, 80), dtype=bool)
    mask[30:61, 20:60] = True
    image = np.repeat(mask[..., None].astype(np.uint8) * 200, 3, axis=-1)
    resized, _, scale, padding, crop = utils.resize_image(image, 64, 160, scale, mode, np.random.default_rng(0))
    moved = utils.resize_mask(mask[..., None], scale, padding, crop)[..., 0]
    np.testing.assert_array_equal(moved, utils.resize_mask(mask, scale, padding, crop))
    assert moved.shape == resized.shape[:2] and moved.any()
    # They differ only where the image is a mixture at the edge.
    assert ((resized[..., 0] > 100) != moved).mean() < 0.03
