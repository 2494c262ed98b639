"""The eight flips and turns, and the way back."""

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cyclic import symmetry
from cyclic.symmetry import SYMMETRIES, restore, transform


def test_docstring_examples_run():
    result = doctest.testmod(symmetry)
    assert result.attempted == 2 and result.failed == 0


def test_symmetries_are_the_eight_of_the_square():
    image = np.arange(9).reshape(3, 3)
    assert len({transform(image, turns, flipped).tobytes() for turns, flipped in SYMMETRIES}) == 8


@pytest.mark.parametrize("flipped", [False, True])
@given(st.integers(-4, 4), st.integers(1, 5), st.integers(1, 5))
def test_restore_undoes_transform(flipped, turns, height, width):
    image = np.arange(height * width * 3).reshape(height, width, 3)
    moved = transform(image, turns, flipped)
    assert moved.flags.c_contiguous and moved.shape[turns % 2] == height
    np.testing.assert_array_equal(restore(moved, turns, flipped), image)
