"""What `studies/map_auc.py` computes."""

import map_auc
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st


@given(st.integers(0, 10**6))
def test_is_the_share_of_pairs_in_order(seed):
    rng = np.random.default_rng(seed)
    activation, nuclei = rng.integers(0, 5, (4, 6)) * 51 / 255, rng.random((4, 6)) < 0.5
    nuclei[0, :2] = True, False
    pairs = np.sign(activation[nuclei][:, None] - activation[~nuclei])
    assert map_auc.auc(activation, nuclei) == pytest.approx((pairs.mean() + 1) / 2)


def test_a_map_that_parts_them_one_turned_around_and_no_nucleus():
    nuclei = np.zeros((8, 8), bool)
    nuclei[2:4, 2:5] = True
    assert map_auc.auc(nuclei.astype(float), nuclei) == 1
    assert map_auc.auc(1.0 - nuclei, nuclei) == 0
    assert np.isnan(map_auc.auc(np.ones((8, 8)), np.zeros((8, 8), bool)))
