import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cyclic import tiling
from cyclic.tiling import tiles


def test_docstring_example_runs():
    result = doctest.testmod(tiling)
    assert result.attempted == 1 and result.failed == 0


@given(st.integers(1, 90), st.integers(1, 90), st.integers(2, 40), st.data())
def test_windows_cover_the_image_with_enough_overlap(height, width, tile, data):
    overlap = data.draw(st.integers(0, tile - 1))
    windows = tiles(height, width, tile, overlap)
    seen = np.zeros((height, width), int)
    for y1, x1, y2, x2 in windows:
        assert (y2 - y1, x2 - x1) == (min(tile, height), min(tile, width))
        assert 0 <= y1 < y2 <= height and 0 <= x1 < x2 <= width
        seen[y1:y2, x1:x2] += 1
    assert seen.min() >= 1
    assert len(set(windows)) == len(windows)
    rows = sorted({(y1, y2) for y1, _, y2, _ in windows})
    for (_, before_end), (after_start, _) in zip(rows, rows[1:], strict=False):
        assert before_end - after_start >= overlap


def test_no_window_more_than_needed():
    assert len(tiles(1000, 1000, tile=256, overlap=64)) == 25


def test_image_smaller_than_a_tile_is_one_window():
    assert tiles(30, 50, tile=64, overlap=8) == [(0, 0, 30, 50)]


@pytest.mark.parametrize(("size", "overlap"), [((0, 5, 4), 1), ((5, 5, 0), 0), ((5, 5, 4), 4), ((5, 5, 4), -1)])
def test_impossible_arguments(size, overlap):
    with pytest.raises(ValueError):
        tiles(*size, overlap)
