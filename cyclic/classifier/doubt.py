"""Answers that look wrong: those that classifiers contradict which have learnt from the other answers.

A classifier that asks *none* of a negative tile and *some* of a positive one is easily misled: one nucleus in a wrong
no teaches all nuclei to be background. The rule is that of confident learning (Northcutt, Jiang and Chuang, Journal of
Artificial Intelligence Research 70, 2021), with log-odds in place of probabilities.
"""

import numpy as np

# Answers are parted into so many folds; those of each are judged by a classifier that learnt from the other folds.
FOLDS = 3
# Where more of one kind of answers is contradicted, it is the judge who is wrong.
MOST = 0.25


def fold_answers(answers: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """Return the fold of each answer, `[N]` integer from 0 to `FOLDS` - 1, at random, evenly of both kinds.

    Args:
        answers: `[N]` integer, 0 no, 1 yes.
        rng: draws the folds.

    Returns:
        The folds; None where one of them would hold, or leave to the others, fewer than two of a kind.
    """
    if np.bincount(answers, minlength=2).min() < 2 * FOLDS:
        return None
    folds = np.zeros(len(answers), int)
    for answer in (0, 1):
        members = np.flatnonzero(answers == answer)
        folds[rng.permutation(members)] = np.arange(len(members)) % FOLDS
    return folds


def doubtful(answers: np.ndarray, log_odds: np.ndarray) -> np.ndarray:
    """Return which answers look wrong, `[N]` bool.

    Doubtful is a no that looks as positive as the mean yes does, and a yes that looks as negative as the mean no does.
    So the log-odds may be shifted and scaled at will. If that is more than a quarter of the noes, or of the yeses, none
    of that kind is doubtful.

    Args:
        answers: `[N]` integer, 0 no, 1 yes; at least one of each.
        log_odds: `[N]` float, of a nucleus in the tile, by a classifier that has not learnt from its answer.

    Example:
        >>> doubtful(np.array([0, 0, 0, 0, 1, 1, 1]), np.array([-2.0, -1.0, 3.0, -3.0, 2.0, 3.0, 1.0])).nonzero()
        (array([2]),)
    """
    no, yes = answers == 0, answers == 1
    found = np.zeros(len(answers), bool)
    for kind, contradicted in ((no, log_odds >= log_odds[yes].mean()), (yes, log_odds <= log_odds[no].mean())):
        if contradicted[kind].mean() <= MOST:
            found |= kind & contradicted
    return found
