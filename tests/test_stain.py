"""The hematoxylin map: high on hematoxylin alone, and alike on pale and dark slides."""

import numpy as np
import pytest

from cyclic.stain import STAIN_VECTORS, hematoxylin_map, local_hematoxylin_map


def stained(amounts: np.ndarray) -> np.ndarray:
    """Return the `[H, W, 3]` image of `[H, W, 3]` amounts of hematoxylin, eosin and residual (Beer-Lambert)."""
    vectors = STAIN_VECTORS / np.linalg.norm(STAIN_VECTORS, axis=1, keepdims=True)
    return np.clip(256 * np.exp(-amounts @ vectors) - 1, 0, 255).round().astype(np.uint8)


@pytest.fixture
def amounts():
    """Left: pale eosin; middle: hematoxylin; right: strong eosin as in red blood cells."""
    amounts = np.zeros((60, 90, 3))
    amounts[:, :30, 1] = 0.2
    amounts[:, 30:60, 0] = 0.8
    amounts[:, 60:, 1] = 1.5
    return amounts


def test_hematoxylin_is_high_and_strong_eosin_is_not(amounts):
    prior = hematoxylin_map(stained(amounts))
    assert prior.shape == (60, 90) and prior.dtype == np.float32
    assert prior.min() >= 0 and prior.max() <= 1
    assert prior[:, 35:55].min() > 0.9
    assert prior[:, 65:].max() < 0.1 and prior[:, :25].max() < 0.1


def test_pale_slide_gives_the_same_map(amounts):
    full, pale = hematoxylin_map(stained(amounts)), hematoxylin_map(stained(amounts * 0.5))
    assert np.abs(full - pale).max() < 0.08


def test_sigma_smooths():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    assert hematoxylin_map(noise, 2.0).std() < hematoxylin_map(noise, 0.0).std()


@pytest.mark.parametrize("stain_map", [hematoxylin_map, local_hematoxylin_map])
@pytest.mark.parametrize("colour", [0, 128, 255])
def test_one_colour_gives_zeros(colour, stain_map):
    prior = stain_map(np.full((32, 32, 3), colour, np.uint8))
    assert prior.shape == (32, 32) and prior.dtype == np.float32 and not prior.any()


def test_a_gap_in_dark_tissue_is_low_in_the_local_map():
    amounts = np.zeros((150, 300, 3))
    amounts[..., 0] = 0.1
    amounts[:, :150, 0] = 0.8  # a dark band, in which a gap is darker than the pale tissue beside it
    amounts[:, 73:77, 0] = 0.4
    image = stained(amounts)
    whole, local = hematoxylin_map(image), local_hematoxylin_map(image)
    assert local.dtype == np.float32 and local.min() >= 0 and local.max() <= 1
    assert local[75, 75] < 0.6 * whole[75, 75]
    assert local[75, 60] > 2 * local[75, 75]


def test_float_image_is_refused():
    with pytest.raises(ValueError, match="uint8"):
        hematoxylin_map(np.zeros((8, 8, 3)))
