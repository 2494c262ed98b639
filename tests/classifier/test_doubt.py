"""Which answers look wrong."""

import numpy as np
import pytest

from cyclic.classifier.doubt import FOLDS, doubtful, fold_answers


def answers_and_odds(n=200, wrong=0.1, seed=0):
    """Answers of which a share of both kinds is wrong, and log-odds of the truth with noise."""
    rng = np.random.default_rng(seed)
    truth = np.arange(n) % 2
    answers = np.where(rng.random(n) < wrong, 1 - truth, truth)
    return truth, answers, 4 * truth - 2 + rng.normal(0, 1, n)


def test_folds_are_even_of_both_kinds_and_drawn():
    answers = np.repeat([0, 1], [20, 31])
    folds = fold_answers(answers, np.random.default_rng(0))
    counts = np.array([np.bincount(folds[answers == answer], minlength=FOLDS) for answer in (0, 1)])
    assert counts.sum() == 51 and (np.ptp(counts, axis=1) <= 1).all()
    assert (folds != fold_answers(answers, np.random.default_rng(1))).any()


@pytest.mark.parametrize("few", [0, 1, 2 * FOLDS - 1])
def test_too_few_answers_of_a_kind_have_no_folds(few):
    assert fold_answers(np.repeat([0, 1], [few, 50]), np.random.default_rng(0)) is None
    assert fold_answers(np.repeat([1, 0], [few, 50]), np.random.default_rng(0)) is None


def test_most_of_what_is_doubtful_is_wrong_and_most_wrong_answers_are_doubtful():
    truth, answers, odds = answers_and_odds()
    found, wrong = doubtful(answers, odds), truth != answers
    assert (found & wrong).sum() > 0.6 * wrong.sum() and (found & wrong).sum() > 0.6 * found.sum()
    assert (found & (answers == 0)).any() and (found & (answers == 1)).any()


def test_right_answers_that_a_judge_can_tell_are_all_kept():
    truth, answers, odds = answers_and_odds(wrong=0)
    assert not doubtful(answers, np.clip(odds, -1.5, 1.5) + truth).any()


@pytest.mark.parametrize(("scale", "shift"), [(1, 5), (0.1, -3), (10, 0)])
def test_a_judge_who_leans_to_one_side_doubts_the_same(scale, shift):
    _, answers, odds = answers_and_odds()
    np.testing.assert_array_equal(doubtful(answers, scale * odds + shift), doubtful(answers, odds))


def test_a_judge_who_knows_nothing_doubts_nothing():
    rng = np.random.default_rng(0)
    assert not doubtful(np.arange(300) % 2, rng.normal(0, 1, 300)).any()


def test_one_kind_of_answers_is_doubted_by_itself():
    answers = np.repeat([0, 1], [10, 10])
    odds = np.where(answers == 1, 1.0, -1.0)
    odds[:4] = 3  # more than a quarter of the noes
    odds[10] = -9
    assert doubtful(answers, odds).nonzero()[0].tolist() == [10]
