"""The area under the ROC curve of an activation map."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cyclic.evaluation.auc import auc, mean_auc


@given(st.integers(0, 10**6))
def test_is_the_share_of_pairs_in_order(seed):
    rng = np.random.default_rng(seed)
    activation, nuclei = rng.integers(0, 5, (4, 6)) * 51 / 255, rng.random((4, 6)) < 0.5
    nuclei[0, :2] = True, False
    pairs = np.sign(activation[nuclei][:, None] - activation[~nuclei])
    assert auc(activation, nuclei) == pytest.approx((pairs.mean() + 1) / 2)


def test_every_step_of_an_8_bit_map_counts():
    activation = np.arange(256, dtype=np.float32)[None] / 255
    for first in (1, 128, 255):
        assert auc(activation, np.arange(256)[None] >= first) == 1


def test_a_map_that_parts_them_one_turned_around_and_no_nucleus():
    nuclei = np.zeros((8, 8), bool)
    nuclei[2:4, 2:5] = True
    assert auc(nuclei.astype(float), nuclei) == 1
    assert auc(1.0 - nuclei, nuclei) == 0
    assert np.isnan(auc(np.ones((8, 8)), np.zeros((8, 8), bool))) and np.isnan(auc(np.ones((8, 8)), nuclei | True))


def test_the_mean_is_of_the_images_that_have_nuclei_and_background():
    labels = np.zeros((4, 4), np.int32)
    labels[0, :2] = 1, 7
    right, knows_nothing, empty = (labels > 0).astype(float), np.ones((4, 4)), np.zeros_like(labels)
    assert mean_auc([(right, labels), (knows_nothing, labels), (right, empty)]) == 0.75
    assert np.isnan(mean_auc([(right, empty)])) and np.isnan(mean_auc([]))
