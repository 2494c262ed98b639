"""Precision by rank of known pseudo masks, and of none."""

import numpy as np
import pytest

from cyclic.evaluation.ranking import precision_by_rank


def test_precision_by_rank_of_known_masks():
    true = np.zeros((20, 40), np.int32)
    true[2:8, 2:8], true[2:8, 20:26] = 1, 2
    ranked = np.zeros_like(true)
    ranked[2:8, 2:8], ranked[12:18, 2:8], ranked[2:8, 20:26] = 1, 2, 3
    only_hit = np.where(ranked == 1, 1, 0)
    assert precision_by_rank([true], [ranked]).tolist() == pytest.approx([1, 1 / 2, 2 / 3])
    # Pooled: the second image has one mask and counts as one at every k.
    assert precision_by_rank([true, true], [ranked, only_hit]).tolist() == pytest.approx([1, 2 / 3, 3 / 4])


@pytest.mark.parametrize("empty", ["masks", "truth", "images"])
def test_precision_by_rank_of_nothing(empty):
    blank, square = np.zeros((8, 8), np.int32), np.pad(np.ones((4, 4), np.int32), 2)
    truths, ranked = {"masks": ([square], [blank]), "truth": ([blank], [square]), "images": ([], [])}[empty]
    assert precision_by_rank(truths, ranked).tolist() == ([0.0] if empty == "truth" else [])
