import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cyclic.errors import InputError
from cyclic.pseudo.threshold import METHODS, background_bound, threshold_map


@pytest.fixture
def spot_map():
    """Noisy background around 0.2, a 30 x 30 nucleus at 0.8 in the middle."""
    spot = np.random.default_rng(0).normal(0.2, 0.03, (120, 120)).clip(0, 1).astype(np.float32)
    spot[45:75, 45:75] = 0.8
    return spot


@pytest.mark.parametrize("method", METHODS)
def test_every_method_finds_the_nucleus(spot_map, method):
    mask = threshold_map(spot_map, method, 0.5 if method == "range" else None)
    assert mask.dtype == bool
    assert mask[45:75, 45:75].all() and mask.sum() < 1.15 * 30 * 30


def test_range_is_a_share_of_the_range_as_in_the_paper():
    ramp = np.linspace(0.2, 0.7, 101)[None].repeat(3, 0)
    assert threshold_map(ramp, "range").mean() == pytest.approx(0.9, abs=0.02)
    assert threshold_map(ramp, "range", 0.5).mean() == pytest.approx(0.5, abs=0.02)


def test_local_follows_uneven_staining():
    uneven = np.linspace(0.0, 0.6, 400)[None].repeat(400, 0)
    uneven[100:130, 20:50] += 0.15
    uneven[100:130, 350:380] += 0.15
    otsu, local = threshold_map(uneven), threshold_map(uneven, "local", 1.0)
    assert not otsu[105:125, 25:45].any()
    assert local[105:125, 25:45].all() and local[105:125, 355:375].all()


def test_background_bound_lies_above_the_noise_and_below_the_nuclei(spot_map):
    assert 0.25 < background_bound(spot_map) < 0.5


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("constant", [0.0, 0.5, 1.0])
def test_constant_map_is_all_false(method, constant):
    assert not threshold_map(np.full((20, 20), constant, np.float32), method, factor=0.5).any()


@pytest.mark.parametrize("value", [-0.1, 1.5, float("nan")])
def test_value_outside_names_the_key(spot_map, value):
    with pytest.raises(InputError, match="threshold"):
        threshold_map(spot_map, "range", value)


@pytest.mark.parametrize("bad", [-0.5, 1.5, float("nan")])
def test_map_outside_names_the_key(spot_map, bad):
    spot_map[0, 0] = bad
    with pytest.raises(InputError, match="threshold"):
        threshold_map(spot_map)


def test_unknown_method_and_otsu_with_value(spot_map):
    with pytest.raises(InputError, match="threshold.*median"):
        threshold_map(spot_map, "median")
    with pytest.raises(InputError, match="threshold.*otsu"):
        threshold_map(spot_map, "otsu", 0.1)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), method=st.sampled_from(METHODS))
def test_higher_factors_give_nested_masks(seed, method):
    image_map = np.random.default_rng(seed).random((24, 24)).astype(np.float32)
    low, high = (threshold_map(image_map, method, factor=factor) for factor in (0.8, 1.3))
    assert not (high & ~low).any()
    if low.any():
        assert high.sum() < low.sum()
