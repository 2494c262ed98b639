"""How many answers are enough for now? An estimate by a classifier of stain statistics that trains in milliseconds.

The network needs minutes, and learns more from a tile. So the figure is no promise: it tells whether the answers are
learnable and agree with each other, and whether the last doubling of their number still made a difference.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from cyclic.stain import DENSITY

# From this many yes, and as many no, an estimate is made; and from these on it may say that they are enough.
LEAST, LEAST_ENOUGH = 20, 50
FOLDS = 5
QUANTILES = (0.15, 0.5, 0.85, 0.98)
RIDGE = 1.0


@dataclass(frozen=True)
class Estimate:
    """Share of held-out tiles told right: the mean of that of the yes and that of the no, in [0, 1].

    Attributes:
        half, whole: trained on half of the answers, and on all of them but those held out.
        error: standard error of `whole`.
        count: answers, yes and no.
    """

    half: float
    whole: float
    error: float
    count: int


def tile_features(tile: np.ndarray) -> np.ndarray:
    """Return numbers that describe the staining of a tile (`[S, S, 3]` uint8), `[15]` float32.

    They are quantiles of the smoothed optical density of red, green and blue, and its spread.
    """
    density = cv2.GaussianBlur(DENSITY[tile], (0, 0), 1.5).reshape(-1, 3)
    return np.concatenate([np.quantile(density, QUANTILES, axis=0).ravel(), density.std(axis=0)]).astype(np.float32)


def estimate(features: np.ndarray, answers: np.ndarray, images: np.ndarray, seed: int = 0) -> Estimate | None:
    """Return how well held-out answers are told from the others; None while there are too few.

    Whole images are held out where there are as many as folds, since tiles of one image are alike.

    Args:
        features: `[N, F]` float.
        answers: `[N]` bool, True for yes.
        images: `[N]` int, which image each tile is from.
        seed: seed of the folds.
    """
    if min(answers.sum(), (~answers).sum()) < LEAST:
        return None
    rng = np.random.default_rng(seed)
    ids, image_of = np.unique(images, return_inverse=True)
    fold = (rng.permutation(len(ids)) % FOLDS)[image_of] if len(ids) >= FOLDS else rng.permutation(len(answers)) % FOLDS
    right: dict[float, np.ndarray] = {}
    for share in (0.5, 1.0):
        told = np.zeros(len(answers), bool)
        for held in range(FOLDS):
            train = rng.permutation(np.flatnonzero(fold != held))
            train = train[: round(share * len(train))]
            told[fold == held] = _fit_and_tell(features[train], answers[train], features[fold == held])
        right[share] = told == answers
    half, whole = (np.mean([right[share][answers == kind].mean() for kind in (False, True)]) for share in (0.5, 1.0))
    shares = [(right[1.0][answers == kind].mean(), (answers == kind).sum()) for kind in (False, True)]
    error = np.sqrt(sum(share * (1 - share) / count for share, count in shares)) / 2
    return Estimate(float(half), float(whole), float(error), len(answers))


def _fit_and_tell(features: np.ndarray, answers: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return what a linear classifier (ridge regression, both answers of one weight) says of others, `[K]` bool."""
    if answers.all() or not answers.any():
        return np.full(len(others), bool(answers.all()))
    middle, spread = features.mean(axis=0), features.std(axis=0) + 1e-6
    design = np.column_stack([(features - middle) / spread, np.ones(len(features))])
    weight = np.where(answers, 0.5 / answers.mean(), 0.5 / (~answers).mean())
    target = np.where(answers, 1.0, -1.0)
    gram = design.T @ (design * weight[:, None]) + RIDGE * np.eye(design.shape[1])
    line = np.linalg.solve(gram, design.T @ (weight * target))
    return np.column_stack([(others - middle) / spread, np.ones(len(others))]) @ line > 0


def advice(found: Estimate | None, yes: int, no: int) -> str:
    """Return in words whether more answers are worth the time."""
    if found is None:
        return f"An estimate follows from {LEAST} yes and {LEAST} no on."
    figures = (
        f"With half of the {found.count} answers {found.half:.0%} of held-out tiles are told right, with all "
        f"{found.whole:.0%} (± {found.error:.0%})."
    )
    if min(yes, no) < LEAST_ENOUGH:
        verdict = f"Go on to {LEAST_ENOUGH} of each at least."
    elif found.whole - found.half > found.error:
        verdict = "More answers still help."
    else:
        verdict = "Enough for now: the second half made no clear difference."
    return f"{figures} {verdict} A rough estimate by the stain alone; the network learns more."
