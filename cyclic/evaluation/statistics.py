"""How sure a mean over images is, and whether two predictions differ."""

import functools
from collections.abc import Iterable

import numpy as np
import scipy.stats

DRAWS = 10_000
LEVEL = 0.95


def bootstrap_interval(values: np.ndarray, seed: int = 0, weights: np.ndarray | None = None) -> tuple[float, float]:
    """Return the 95 % percentile interval of the mean, by drawing images with replacement (Efron 1979).

    The interval of one image has no width. The same seed and number of values draw the same images, so intervals of
    several metrics can be compared.

    >>> low, high = bootstrap_interval(np.array([0.2, 0.4, 0.6, 0.8]))
    >>> 0.2 < low < 0.5 < high < 0.8
    True

    Args:
        values: `[N]` float, one for each image, N > 0.
        seed: seed of the draws.
        weights: `[N]` float over 0, of a weighted mean; None: all alike.
    """
    weights = np.ones(len(values)) if weights is None else weights
    drawn = _times_drawn(len(values), seed)
    means = drawn @ (values * weights) / (drawn @ weights)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


@functools.lru_cache(maxsize=2)  # the same for every metric of a table
def _times_drawn(images: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).multinomial(images, np.full(images, 1 / images), DRAWS)


def paired_difference(first: np.ndarray, second: np.ndarray, seed: int = 0) -> dict[str, float | int]:
    """Return how `second` differs from `first`, image by image.

    Args:
        first: `[N]` float, one for each image, N > 0.
        second: `[N]` float of the same images.
        seed: seed of the bootstrap.

    Returns:
        `difference` is the mean of second - first, `low` and `high` are its 95 % bootstrap interval, `n` is the number
        of images. `p` is of a two-sided Wilcoxon signed-rank test without the zeros, exact for few images; it is 1 if
        all differences are zero. With five images or fewer p cannot fall under 0.05.
    """
    differences = np.asarray(second, float) - np.asarray(first, float)
    low, high = bootstrap_interval(differences, seed)
    nonzero = differences[differences != 0]
    p = float(scipy.stats.wilcoxon(nonzero).pvalue) if len(nonzero) else 1.0
    return {"difference": float(differences.mean()), "low": low, "high": high, "p": p, "n": len(differences)}


def correlation(first: np.ndarray, second: np.ndarray) -> float | None:
    """Return Pearson's correlation of two arrays of one shape; None where one of them is constant.

    >>> correlation(np.array([1, 2, 4]), np.array([3, 5, 9]))
    1.0
    """
    pair = np.stack([first.ravel(), second.ravel()])
    return round(float(np.corrcoef(pair)[0, 1]), 12) if np.ptp(pair, axis=1).all() else None


def mean_correlation(pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> float | None:
    """Return the mean of the `correlation` of each pair that has one; None where none has.

    >>> mean_correlation([(np.array([1, 2, 4]), np.array([3, 5, 9])), (np.zeros(3), np.ones(3))])
    1.0
    """
    defined = [value for pair in pairs if (value := correlation(*pair)) is not None]
    return float(np.mean(defined)) if defined else None
