"""Windows that cover an image, whatever happens at its border."""

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cyclic import tiling
from cyclic.tiling import cover_with_windows, even_starts, flush_starts, smallest_tile


def test_docstring_examples_run():
    result = doctest.testmod(tiling)
    assert result.attempted == 5 and result.failed == 0


@given(st.integers(1, 90), st.integers(1, 90), st.integers(2, 40), st.data())
def test_windows_cover_the_image_with_enough_overlap(height, width, tile, data):
    overlap = data.draw(st.integers(0, tile - 1))
    windows = cover_with_windows(height, width, tile, overlap)
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


@given(st.integers(1, 90), st.integers(1, 90), st.integers(2, 40), st.data())
def test_the_smallest_windows_cover_the_image_in_as_few_of_its_longer_axis(height, width, tile, data):
    overlap = data.draw(st.integers(0, tile - 1))
    smallest = smallest_tile(max(height, width), tile, overlap)
    windows, large = (cover_with_windows(height, width, side, overlap) for side in (smallest, tile))
    seen = np.zeros((height, width), int)
    for y1, x1, y2, x2 in windows:
        assert max(y2 - y1, x2 - x1) <= tile and min(y2 - y1, x2 - x1) > 0
        seen[y1:y2, x1:x2] += 1
    assert seen.min() >= 1
    axis = 0 if height >= width else 1
    assert len({window[axis] for window in windows}) == len({window[axis] for window in large})


def test_no_window_more_than_needed():
    assert len(cover_with_windows(1000, 1000, size=256, overlap=64)) == 25


def test_image_smaller_than_a_tile_is_one_window():
    assert cover_with_windows(30, 50, size=64, overlap=8) == [(0, 0, 30, 50)]


@pytest.mark.parametrize(("size", "overlap"), [((0, 5, 4), 1), ((5, 5, 0), 0), ((5, 5, 4), 4), ((5, 5, 4), -1)])
def test_impossible_arguments(size, overlap):
    with pytest.raises(ValueError):
        cover_with_windows(*size, overlap)


@given(st.integers(1, 90), st.integers(2, 40), st.data())
def test_no_pixel_of_an_axis_is_left_out(length, size, data):
    overlap = data.draw(st.integers(0, size - 1))
    for starts in (flush_starts(length, size, size - overlap), even_starts(max(length, size), size, overlap)):
        seen = {pixel for start in starts for pixel in range(start, start + size)}
        assert seen >= set(range(length)) and starts[0] == 0 and starts == sorted(set(starts))
        assert all(after - before <= size - overlap for before, after in zip(starts, starts[1:], strict=False))
