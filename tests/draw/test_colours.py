"""Colours: neighbours differ, and every kind of error has one."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cyclic.draw.colours import ERROR_COLORS, map_colors, neighbour_colors
from cyclic.evaluation.error_types import find_errors
from cyclic.evaluation.matching import contingency


@settings(max_examples=50, deadline=None)
@given(arrays(np.int32, (4, 4), elements=st.integers(0, 6)))
def test_neighbours_differ_in_colour(grid):
    # Six labels and six colours: however they touch, no two need to share one.
    labels = np.kron(grid, np.ones((5, 5), np.int32))
    chosen = neighbour_colors(labels, 6)
    for a, b in ((labels[1:], labels[:-1]), (labels[:, 1:], labels[:, :-1])):
        touching = (a != b) & (a > 0) & (b > 0)
        assert np.all(chosen[a[touching]] != chosen[b[touching]])


def test_more_neighbours_than_colours_still_gives_colours():
    labels = np.kron(np.arange(1, 401).reshape(20, 20), np.ones((2, 2), int))
    chosen = neighbour_colors(labels, 2)
    assert set(chosen.tolist()) == {0, 1}


def test_every_kind_of_error_has_a_colour_in_the_order_of_the_legend():
    empty = np.zeros((4, 4), int)
    assert list(ERROR_COLORS) == list(find_errors(contingency(empty, empty)).counts)


def test_a_map_is_black_at_zero_and_pale_at_one():
    colors = map_colors(np.array([[0.0, 0.5, 1.0]]))
    brightness = colors.astype(int).sum(axis=2)[0]
    assert colors.dtype == np.uint8 and brightness[0] < 20 and brightness[0] < brightness[1] < brightness[2]
