"""What `studies/background_trust.py` counts."""

import background_trust
import numpy as np


def test_a_hit_a_fragment_and_one_in_the_background():
    truth, labels = np.zeros((40, 40), int), np.zeros((40, 40), np.int32)
    truth[2:12, 2:12] = 5
    truth[20:30, 2:12] = 9
    labels[2:12, 2:11] = 1  # nine tenths of the first nucleus
    labels[20:24, 2:12] = 2  # less than half of the second
    labels[20:30, 25:35] = 3
    background, matched = background_trust.components(truth, labels)
    np.testing.assert_array_equal(background, [False, False, True])
    np.testing.assert_array_equal(matched, [True, False, False])


def test_no_component():
    background, matched = background_trust.components(np.ones((4, 4), int), np.zeros((4, 4), np.int32))
    assert len(background) == len(matched) == 0


def test_bins_hold_every_component_once():
    activation = np.array([0.0, 0.05, 0.07, 0.5, 1.0])
    background = np.array([True, True, False, False, False])
    rows = background_trust.bins(activation, background, ~background)
    assert [row["n"] for row in rows] == [1, 2, 0, 0, 0, 1, 1]
    assert rows[0]["background"] == 1.0 and rows[1]["background"] == rows[1]["matched"] == 0.5
    assert rows[2]["background"] is None
