"""What `studies/pseudo_precision.py` counts."""

import numpy as np
import pseudo_precision
import pytest


def squares(*places):
    """Return a label map with a square of 10 px at each (y, x), labelled 1, 2, ..."""
    labels = np.zeros((40, 60), np.int32)
    for label, (y, x) in enumerate(places, 1):
        labels[y : y + 10, x : x + 10] = label
    return labels


def test_totals_count_masks_and_the_mean_counts_images():
    good, poor = squares((0, 0), (0, 20), (0, 40)), squares((20, 0))
    truths = [squares((0, 0), (0, 20), (0, 40), (20, 20)), squares((0, 0))]
    assert pseudo_precision.precisions(truths[0], good)["kept"] == 1.0
    assert pseudo_precision.precisions(truths[1], poor)["kept"] == 0.0
    assert pseudo_precision.totals(truths, [good, poor]) == pytest.approx({"precision": 0.75, "recall": 0.6, "n": 4})


def test_no_pseudo_mask():
    empty = np.zeros((40, 60), np.int32)
    assert pseudo_precision.totals([squares((0, 0))], [empty]) == {"precision": 0.0, "recall": 0.0, "n": 0}
    assert pseudo_precision.precisions(squares((0, 0)), empty)["kept"] == 0.0
