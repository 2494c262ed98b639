"""Pale centres of nuclei become as dark as their rims."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage.morphology import area_closing

from cyclic.errors import InputError
from cyclic.labels import disk
from cyclic.pseudo.fill import CLOSING, LEVELS, fill_centres


def ring(gap=0, inner=8, outer=11, rim=0.75, size=40):
    """Return a `[size, size]` map: a ring of value `rim` on 0.125, with a gap so many pixels wide at its right."""
    y, x = np.mgrid[:size, :size] - size // 2
    distance = np.hypot(y, x)
    drawn = np.where((distance >= inner) & (distance <= outer), rim, 0.125)
    if gap:
        drawn[(np.abs(2 * y + 1) <= gap) & (x > 0)] = 0.125
    return drawn.astype(np.float32)


def test_a_rings_centre_becomes_nearly_as_dark_as_its_rim():
    filled = fill_centres(ring(), 400)
    assert 0.75 - 1 / LEVELS <= filled[20, 20] <= 0.75
    assert filled[0, 0] == np.float32(0.125)


def test_a_hole_larger_than_the_limit_stays():
    assert fill_centres(ring(), 100)[20, 20] == np.float32(0.125)


def test_closing_bridges_a_gap_in_the_rim():
    assert fill_centres(ring(gap=2), 400)[20, 20] > 0.7
    assert fill_centres(ring(gap=6), 400)[20, 20] == np.float32(0.125)


def test_nothing_is_filled_with_a_limit_of_zero():
    np.testing.assert_array_equal(fill_centres(ring(gap=2), 0), ring(gap=2))


@settings(max_examples=30, deadline=None)
@given(hnp.arrays(np.uint8, (12, 14), elements=st.integers(0, LEVELS - 1)), st.integers(1, 40))
def test_equals_the_area_closing(levels, max_hole):
    levels = cv2.morphologyEx(levels, cv2.MORPH_CLOSE, disk(CLOSING))
    # skimage closes basins at the image border as well, and those under the limit alone, not up to it.
    expected = area_closing(np.pad(levels, 1), max_hole + 1, connectivity=1)[1:-1, 1:-1]
    filled = fill_centres((levels / LEVELS).astype(np.float32), max_hole)
    np.testing.assert_array_equal(np.round(filled * LEVELS), expected)


def test_a_map_out_of_range_is_refused():
    with pytest.raises(InputError, match="scale it to"):
        fill_centres(ring() * 3, 400)
