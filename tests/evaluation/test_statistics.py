"""Bootstrap intervals and paired tests against SciPy."""

import numpy as np
import pytest
import scipy.stats

from cyclic.evaluation.statistics import bootstrap_interval, paired_difference


def test_interval_agrees_with_scipy():
    values = np.random.default_rng(0).gamma(2.0, size=40)
    expected = scipy.stats.bootstrap((values,), np.mean, method="percentile", n_resamples=10_000, rng=1)
    assert bootstrap_interval(values) == pytest.approx(tuple(expected.confidence_interval), rel=0.03)


def test_interval_is_seeded():
    values = np.random.default_rng(0).random(10)
    assert bootstrap_interval(values, 1) == bootstrap_interval(values, 1) != bootstrap_interval(values, 2)


def test_one_image_and_equal_images_have_no_width():
    assert bootstrap_interval(np.array([0.25])) == (0.25, 0.25)
    assert bootstrap_interval(np.full(5, 0.5)) == pytest.approx((0.5, 0.5))


def test_interval_covers_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(3)
    intervals = [bootstrap_interval(rng.normal(1.0, 1.0, 30)) for _ in range(200)]
    assert 0.88 < np.mean([low < 1.0 < high for low, high in intervals]) < 0.99


def test_better_on_every_image():
    first = np.array([0.2, 0.5, 0.4, 0.7, 0.3, 0.6, 0.1])
    found = paired_difference(first, first + np.array([0.1, 0.2, 0.11, 0.12, 0.13, 0.14, 0.15]))
    assert found["difference"] == pytest.approx(0.95 / 7) and 0 < found["low"] < found["difference"] < found["high"]
    assert found["p"] == pytest.approx(2 / 2**7) and found["n"] == 7


def test_sign_and_symmetry():
    first, second = np.random.default_rng(0).random((2, 12))
    one, other = paired_difference(first, second), paired_difference(second, first)
    assert one["difference"] == pytest.approx(-other["difference"]) and one["p"] == pytest.approx(other["p"])
    assert one["p"] == pytest.approx(scipy.stats.wilcoxon(first, second).pvalue)


def test_no_difference_is_p_one_without_warning(recwarn):
    found = paired_difference(np.array([0.2, 0.4]), np.array([0.2, 0.4]))
    assert found == {"difference": 0, "low": 0, "high": 0, "p": 1.0, "n": 2} and not recwarn.list


def test_unchanged_images_do_not_count_in_p():
    first = np.array([0.1, 0.2, 0.3, 0.4])
    found = paired_difference(first, first + np.array([0.1, 0.0, 0.2, 0.0]))
    assert found["p"] == pytest.approx(0.5) and found["n"] == 4
