"""How many answers are enough for now? An estimate by a classifier of stain statistics that trains in milliseconds.

The network needs minutes, and learns more from a tile. So the figure is no promise: it tells whether the answers are
learnable and agree with each other, and whether the last doubling of their number still made a difference.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from cyclic.datasets.answers import PARTS, first_part
from cyclic.evaluation.statistics import correlation
from cyclic.stain import DENSITY

# From this many yes, and as many no, an estimate is made; and from these on it may say that they are enough.
LEAST, LEAST_ENOUGH = 20, 50
# Where so small a share of the yes and no is no, hardly a tile is small enough to show bare tissue alone.
FEW_NO = 0.2
FOLDS = 5
QUANTILES = (0.15, 0.5, 0.85, 0.98)
RIDGE = 1.0


@dataclass(frozen=True)
class Point:
    """What is learnt from a part of the answers.

    Attributes:
        answers: how many they are, yes and no.
        right: share of held-out tiles told right: the mean of that of the yes and that of the no, in [0, 1].
        error: standard error of `right`.
        alike: Pearson's correlation of what is said of tiles with what all answers make of the same tiles; None of all
            answers themselves, and where the same is said of every tile.
    """

    answers: int
    right: float
    error: float
    alike: float | None


def tile_features(tile: np.ndarray) -> np.ndarray:
    """Return numbers that describe the staining of a tile (`[S, S, 3]` uint8), `[15]` float32.

    They are quantiles of the smoothed optical density of red, green and blue, and its spread.
    """
    density = cv2.GaussianBlur(DENSITY[tile], (0, 0), 1.5).reshape(-1, 3)
    return np.concatenate([np.quantile(density, QUANTILES, axis=0).ravel(), density.std(axis=0)]).astype(np.float32)


def learning_curve(
    features: np.ndarray, answers: np.ndarray, images: np.ndarray, others: np.ndarray, seed: int = 0
) -> list[Point]:
    """Return what is learnt from a quarter of the answers, from half and from all; nothing while there are too few.

    Each tile is held out once. Whole images are held out where there are as many as folds, since tiles of one image are
    alike. The parts lie in each other, and the tiles held out are the same for all parts.

    Args:
        features: `[N, F]` float, of the answered tiles.
        answers: `[N]` bool, True for yes.
        images: `[N]` int, which image each tile is from.
        others: `[M, F]` float, of tiles all over the images: the map, as coarse as tiles are.
        seed: seed of folds and parts.
    """
    if min(answers.sum(), (~answers).sum()) < LEAST:
        return []
    rng = np.random.default_rng(seed)
    ids, image_of = np.unique(images, return_inverse=True)
    fold = (rng.permutation(len(ids)) % FOLDS)[image_of] if len(ids) >= FOLDS else rng.permutation(len(answers)) % FOLDS
    order = rng.permutation(len(answers))
    whole, points = _fit_and_tell(features, answers, others), []
    for part in PARTS:
        right = np.zeros(len(answers), bool)
        for held in range(FOLDS):
            train, rest = first_part(order[fold[order] != held], part), fold == held
            right[rest] = (_fit_and_tell(features[train], answers[train], features[rest]) > 0) == answers[rest]
        taken = first_part(order, part)
        said = _fit_and_tell(features[taken], answers[taken], others)
        alike = correlation(said, whole) if part < 1 else None
        points.append(Point(len(taken), *_share_right(right, answers), alike))
    return points


def _share_right(right: np.ndarray, answers: np.ndarray) -> tuple[float, float]:
    """Return the mean of the shares (`[N]` bool) of the yes and of the no, and its standard error."""
    kinds = [right[answers == kind] for kind in (False, True)]
    error = np.sqrt(sum(kind.mean() * (1 - kind.mean()) / len(kind) for kind in kinds)) / 2
    return float(np.mean([kind.mean() for kind in kinds])), float(error)


def _fit_and_tell(features: np.ndarray, answers: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return what a linear classifier (ridge regression, both answers of one weight) says of others, `[K]`; yes > 0."""
    if answers.all() or not answers.any():
        return np.full(len(others), 1.0 if answers.all() else -1.0)
    middle, spread = features.mean(axis=0), features.std(axis=0) + 1e-6
    design = np.column_stack([(features - middle) / spread, np.ones(len(features))])
    weight = np.where(answers, 0.5 / answers.mean(), 0.5 / (~answers).mean())
    target = np.where(answers, 1.0, -1.0)
    gram = design.T @ (design * weight[:, None]) + RIDGE * np.eye(design.shape[1])
    line = np.linalg.solve(gram, design.T @ (weight * target))
    return np.column_stack([(others - middle) / spread, np.ones(len(others))]) @ line


def advice(points: list[Point], yes: int, no: int) -> str:
    """Return in words whether more answers are worth the time."""
    if not points:
        said = f"An estimate follows from {LEAST} yes and {LEAST} no on."
        if yes + no >= LEAST and no < FEW_NO * (yes + no):
            said += f" Only {no} of {yes + no} are no: start again with a smaller --size and another --out."
        return said
    half, whole = points[-2:]
    figures = (
        f"With half of the {whole.answers} answers {half.right:.0%} of held-out tiles are told right, with all "
        f"{whole.right:.0%} (± {whole.error:.0%})."
    )
    if min(yes, no) < LEAST_ENOUGH:
        verdict = f"Go on to {LEAST_ENOUGH} of each at least."
    elif whole.right - half.right > whole.error:
        verdict = "More answers still help."
    else:
        verdict = "Enough for now: the second half made no clear difference."
    return f"{figures} {verdict} A rough estimate by the stain alone; the network learns more."
