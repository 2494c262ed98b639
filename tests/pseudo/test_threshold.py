"""Thresholds of a map."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cyclic.errors import InputError
from cyclic.pseudo.threshold import threshold_map

THRESHOLDS = ("otsu", 0.1, 0.5)


@pytest.fixture
def spot_map():
    """Noisy background around 0.2, a 30 x 30 nucleus at 0.8 in the middle."""
    spot = np.random.default_rng(0).normal(0.2, 0.03, (120, 120)).clip(0, 1).astype(np.float32)
    spot[45:75, 45:75] = 0.8
    return spot


@pytest.mark.parametrize("threshold", ["otsu", 0.5])
def test_finds_the_nucleus(spot_map, threshold):
    mask = threshold_map(spot_map, threshold)
    assert mask.dtype == bool
    assert mask[45:75, 45:75].all() and mask.sum() < 1.15 * 30 * 30


def test_a_number_is_a_share_of_the_range_as_in_the_paper():
    ramp = np.linspace(0.2, 0.7, 101)[None].repeat(3, 0)
    assert threshold_map(ramp, 0.1).mean() == pytest.approx(0.9, abs=0.02)
    assert threshold_map(ramp, 0.5).mean() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("threshold", THRESHOLDS)
@pytest.mark.parametrize("constant", [0.0, 0.5, 1.0])
def test_constant_map_is_all_false(threshold, constant):
    assert not threshold_map(np.full((20, 20), constant, np.float32), threshold, factor=0.5).any()


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_share_outside_names_the_key(spot_map, share):
    with pytest.raises(InputError, match="threshold"):
        threshold_map(spot_map, share)


@pytest.mark.parametrize("bad", [-0.5, 1.5, float("nan")])
def test_map_outside_names_the_key(spot_map, bad):
    spot_map[0, 0] = bad
    with pytest.raises(InputError, match="threshold"):
        threshold_map(spot_map, "otsu")


def test_unknown_method(spot_map):
    with pytest.raises(InputError, match="threshold.*median"):
        threshold_map(spot_map, "median")


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), threshold=st.sampled_from(THRESHOLDS))
def test_higher_factors_give_nested_masks(seed, threshold):
    source = np.random.default_rng(seed).random((24, 24)).astype(np.float32)
    low, high = (threshold_map(source, threshold, factor=factor) for factor in (0.8, 1.3))
    assert not (high & ~low).any()
    if low.any():
        assert high.sum() < low.sum()
