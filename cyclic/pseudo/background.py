"""Where a negative tile lies there is no nucleus: no candidate, no detection, and nothing to ignore."""

import dataclasses

import numpy as np

from cyclic.labels import mean_within
from cyclic.pseudo.masks import PseudoMasks


def outside_background(labels: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Return which of the labels 1..N lie in `background` for at most half of their pixels, `[N]` bool.

    Args:
        labels: `[H, W]` integer.
        background: `[H, W]` bool, True where there is no nucleus.
    """
    return mean_within(background, labels) <= 0.5


def clear_background(pseudo: PseudoMasks, background: np.ndarray) -> PseudoMasks:
    """Return `pseudo` with the ignored pixels in `background`, `[H, W]` bool, turned into background; masks stay."""
    return dataclasses.replace(pseudo, ignore=pseudo.ignore & ~background)
