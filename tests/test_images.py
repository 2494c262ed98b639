"""What any image becomes before the networks see it."""

import numpy as np
import pytest

from cyclic.errors import InputError
from cyclic.images import as_rgb

GREY = np.array([[0, 51], [102, 255]], np.uint8)
COLOUR = np.stack([GREY, GREY[::-1], GREY.T], axis=-1)


@pytest.mark.parametrize("image", [GREY, GREY[..., None]])
def test_grey_is_repeated(image):
    np.testing.assert_array_equal(as_rgb(image), np.stack([GREY] * 3, axis=-1))


def test_colour_stays():
    assert as_rgb(COLOUR).dtype == np.uint8
    np.testing.assert_array_equal(as_rgb(COLOUR), COLOUR)


@pytest.mark.parametrize(
    "image",
    [COLOUR.astype(np.uint16) * 257, COLOUR / 255, (COLOUR / 255).astype(np.float32)],
    ids=["uint16", "float64", "float32"],
)
def test_every_depth_means_the_same_picture(image):
    np.testing.assert_array_equal(as_rgb(image), COLOUR)


def test_bool_is_black_and_white():
    np.testing.assert_array_equal(as_rgb(GREY > 100)[..., 0], [[0, 0], [255, 255]])


@pytest.mark.parametrize("base", [GREY[..., None], COLOUR], ids=["grey", "colour"])
def test_the_white_page_shows_through(base):
    alpha = np.array([[0, 255], [51, 0]], np.uint8)[..., None]
    seen = as_rgb(np.concatenate([base, alpha], axis=-1))
    assert (seen[0, 0] == 255).all() and (seen[1, 1] == 255).all()
    np.testing.assert_array_equal(seen[0, 1], np.broadcast_to(base[0, 1], 3))
    np.testing.assert_array_equal(seen[1, 0], np.round(0.2 * base[1, 0] + 0.8 * 255) * np.ones(3))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((3, 4, 5), np.uint8), r"shape \(3, 4, 5\)"),
        (np.zeros((2, 3, 4, 3), np.uint8), "shape"),
        (np.zeros((0, 4, 3), np.uint8), "shape"),
        (np.zeros(5, np.uint8), "shape"),
        (np.zeros((4, 4), np.int32), "int32 pixels"),
        (np.zeros((4, 4), complex), "complex128 pixels"),
        (np.full((4, 4), 1.5), "values from 1.5 to 1.5"),
        (np.full((4, 4), -0.1), "values from -0.1"),
        (np.full((4, 4), np.nan), "values from nan"),
    ],
)
def test_anything_else_is_refused_by_name(image, message):
    with pytest.raises(InputError, match=f"^slide.png: {message}"):
        as_rgb(image, "slide.png")
