"""What bears no loss: less of it where the classifier sees no nucleus, or a negative tile says there is none."""

import dataclasses

import numpy as np

from cyclic.pseudo.select import PseudoMasks, widen
from cyclic.semi.self_training import RING


def trust_background(pseudo: PseudoMasks, activation: np.ndarray, level: float) -> PseudoMasks:
    """Return `pseudo` with the ignored pixels turned into background whose activation is under `level`.

    Where hematoxylin is dense but the classifier finds no nucleus, two of three components are stroma or debris: hard
    negatives, which a detector trained on hematoxylin alone never sees, since it ignores them.

    Args:
        pseudo: pseudo masks of one image; the masks themselves stay as they are.
        activation: `[H, W]` float in [0, 1], the classifier's activation map.
        level: in [0, 1]; 0 changes nothing.
    """
    return clear_background(pseudo, activation < level)


def clear_background(pseudo: PseudoMasks, background: np.ndarray) -> PseudoMasks:
    """Return `pseudo` with the ignored pixels in `background`, `[H, W]` bool, turned into background; masks stay."""
    return dataclasses.replace(pseudo, ignore=pseudo.ignore & ~background)


def ignore_rest(pseudo: PseudoMasks, background: np.ndarray) -> PseudoMasks:
    """Return `pseudo` with all ignored that is neither a mask, nor the ring around one, nor in `background`.

    A nucleus too pale for the stain's threshold is no component, and would be background otherwise.

    Args:
        pseudo: pseudo masks of one image; the masks themselves stay as they are.
        background: `[H, W]` bool, where there is no nucleus for certain.
    """
    known = background | widen(pseudo.labels > 0, RING)
    return dataclasses.replace(pseudo, ignore=pseudo.ignore | ~known)
