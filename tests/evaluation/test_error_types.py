"""What became of each nucleus, case by case and on any label maps."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cyclic.evaluation.error_types import error_types, find_errors
from cyclic.evaluation.matching import contingency

label_maps = hnp.arrays(np.int32, (12, 14), elements=st.integers(0, 4))


def overlaps_of(true, pred):
    """The table of two label maps given as boxes (y1, x1, y2, x2) on a 60 x 80 image."""
    maps = []
    for boxes in (true, pred):
        labels = np.zeros((60, 80), np.int32)
        for label, (y1, x1, y2, x2) in enumerate(boxes, 1):
            labels[y1:y2, x1:x2] = label
        maps.append(labels)
    return contingency(*maps)


def shares_of(true, pred):
    """The kinds that occur, with their shares."""
    return {kind: round(share, 3) for kind, share in error_types(overlaps_of(true, pred)).items() if share}


@given(label_maps, label_maps)
def test_shares_of_each_side_add_up_to_one(true, pred):
    shares = error_types(contingency(true, pred))
    of_pred = sum(share for kind, share in shares.items() if kind.startswith("pred_"))
    of_true = sum(share for kind, share in shares.items() if not kind.startswith("pred_"))
    assert np.isclose(of_true, true.any()) and np.isclose(of_pred, pred.any())


@given(label_maps, label_maps)
def test_both_levels_count_the_same(true, pred):
    overlaps = contingency(true, pred)
    errors, shares = find_errors(overlaps), error_types(overlaps)
    missed = sum(share for kind, share in shares.items() if kind.startswith("missed_"))
    false = sum(share for kind, share in shares.items() if kind.startswith("pred_false_"))
    assert np.isclose(missed * len(overlaps.true_ids), errors.counts["missed"])
    assert np.isclose(false * len(overlaps.pred_ids), errors.counts["false"])
    assert np.isclose(shares["pred_merged"] * len(overlaps.pred_ids), errors.counts["merged"])
    assert np.isclose(shares["split"] * len(overlaps.true_ids), errors.counts["split"])


@given(label_maps)
def test_a_map_matches_itself(labels):
    shares = error_types(contingency(labels, labels))
    assert shares["hit"] == shares["pred_hit"] == labels.any()


def test_each_kind_of_error():
    true = [(0, 0, 10, 10), (20, 0, 30, 10), (20, 14, 30, 24), (0, 30, 10, 50), (40, 0, 50, 10)]
    pred = [(0, 0, 10, 9), (20, 0, 30, 24), (0, 30, 10, 40), (0, 40, 10, 50), (40, 60, 50, 70)]
    errors = find_errors(overlaps_of(true, pred))
    assert errors.of_true.tolist() == ["hit", "merged", "merged", "split", "missed"]
    assert errors.of_pred.tolist() == ["hit", "merged", "split", "split", "false"]
    assert errors.counts == {"hit": 1, "missed": 1, "false": 1, "merged": 1, "split": 1}


def test_a_piece_beside_a_hit_splits_no_nucleus():
    errors = find_errors(overlaps_of([(0, 0, 10, 20)], [(0, 0, 10, 14), (0, 14, 10, 20)]))
    assert errors.of_true.tolist() == ["hit"] and errors.of_pred.tolist() == ["hit", "split"]


def test_a_wrong_outline_is_inexact():
    assert shares_of([(0, 0, 10, 10)], [(0, 0, 10, 4)]) == {"missed_inexact": 1, "pred_false_inexact": 1}


def test_many_nuclei_in_one_prediction_are_merged():
    row = [(0, 10 * x, 10, 10 * x + 10) for x in range(4)]
    assert shares_of(row, [(0, 0, 10, 40)]) == {"merged": 1, "pred_merged": 1}


def test_one_nucleus_in_many_predictions_is_split():
    row = [(0, 10 * x, 10, 10 * x + 10) for x in range(4)]
    assert shares_of([(0, 0, 10, 40)], row) == {"split": 1, "pred_split": 1}


def test_a_nucleus_with_a_small_piece_predicted_is_partial():
    assert shares_of([(0, 0, 10, 20)], [(0, 0, 10, 5)]) == {"missed_partial": 1, "pred_false_other": 1}


def test_nothing_over_a_nucleus_leaves_it_unseen_and_a_prediction_beside_it_is_background():
    kinds = shares_of([(0, 0, 10, 10)], [(20, 20, 30, 30)])
    assert kinds == {"missed_unseen": 1, "pred_false_background": 1}


def test_nothing_at_all():
    assert shares_of([], []) == {} and shares_of([(0, 0, 5, 5)], []) == {"missed_unseen": 1}
