"""What becomes of pseudo masks when a teacher's detections join them."""

import numpy as np
import pytest
import scipy.ndimage as ndi
from hypothesis import given
from hypothesis import strategies as st

from cyclic.config import load_config
from cyclic.pseudo.masks import RING, PseudoMasks
from cyclic.semi.self_training import CONFIRMED, doubt_unconfirmed, extend_pseudo_masks, join_detections

SHAPE = (60, 60)
A, B, C = np.s_[5:15, 5:15], np.s_[25:35, 25:35], np.s_[45:55, 45:55]


def label_map(*places, shape=SHAPE):
    labels = np.zeros(shape, np.int32)
    for label, place in enumerate(places, 1):
        labels[place] = label
    return labels


def pseudo_masks(*places, confidence=None, ignore=()):
    ignored = np.zeros(SHAPE, bool)
    for place in ignore:
        ignored[place] = True
    confidence = np.linspace(0.6, 0.5, len(places)) if confidence is None else np.array(confidence)
    return PseudoMasks(label_map(*places), confidence.astype(np.float32), ignored)


def extend(pseudo, detections, scores, quality=None, count=None):
    scores = np.array(scores, float)
    quality = scores if quality is None else np.array(quality, float)
    return extend_pseudo_masks(pseudo, label_map(*detections), scores, quality, 0.85, 0.3, count)


def test_what_a_map_has_no_evidence_for_is_no_longer_sure():
    labels, activation = label_map(A, B, C), np.zeros(SHAPE, np.float32)
    activation[A], activation[C] = CONFIRMED - 0.01, CONFIRMED
    moved, scores = doubt_unconfirmed(labels, np.array([0.9, 0.1, 0.05], np.float32), activation, 0.08)
    np.testing.assert_allclose(scores, [0.08, 0.08, 0.05])
    np.testing.assert_array_equal(moved, label_map(A, B, C))
    moved, scores = doubt_unconfirmed(labels, np.array([0.9, 0.8, 0.7], np.float32), activation, 0.2)
    np.testing.assert_allclose(scores, [0.7, 0.2, 0.2])
    np.testing.assert_array_equal(moved, label_map(C, A, B))


def test_doubted_detections_are_ignored_and_not_background():
    labels, activation = label_map(A, B), np.zeros(SHAPE, np.float32)
    activation[A] = 1
    moved, scores = doubt_unconfirmed(labels, np.array([0.95, 0.9], np.float32), activation, 0.3)
    joined = extend_pseudo_masks(pseudo_masks(C), moved, scores, scores, 0.85, 0.3, None)
    assert (joined.labels[A] > 0).all() and not joined.labels[B].any() and joined.ignore[B].all()


def test_no_detection_is_doubted_where_there_is_none():
    labels, scores = doubt_unconfirmed(label_map(), np.zeros(0, np.float32), np.zeros(SHAPE, np.float32), 0.2)
    assert not labels.any() and scores.shape == (0,)


def test_no_detections_leave_everything_as_it_was():
    pseudo = pseudo_masks(A, B, ignore=[C])
    assert extend(pseudo, [], []) is pseudo


def test_no_confident_detection_leaves_everything_as_it_was():
    pseudo = pseudo_masks(A, ignore=[C])
    assert extend(pseudo, [B], [0.84]) is pseudo


def test_confident_detections_join_where_no_pseudo_mask_is_ranked_by_confidence():
    found = extend(pseudo_masks(A, confidence=[0.95]), [B, C, A], [0.99, 0.9, 0.88])
    np.testing.assert_allclose(found.confidence, [0.99, 0.95, 0.9])
    assert found.confidence.dtype == np.float32 and found.labels.dtype == np.int32
    np.testing.assert_array_equal(found.labels, label_map(B, A, C))


def test_pseudo_mask_keeps_its_outline_under_a_detection_which_is_ignored():
    found = extend(pseudo_masks(A), [np.s_[2:18, 2:18]], [0.9])
    np.testing.assert_array_equal(found.labels, label_map(A))
    assert found.ignore[2:18, 2:18].sum() == 16 * 16 - 10 * 10


def test_pseudo_mask_confirmed_by_a_weak_detection_stays():
    found = extend(pseudo_masks(A, confidence=[0.7]), [B, A], [0.9, 0.4])
    np.testing.assert_array_equal(found.labels, label_map(B, A))
    np.testing.assert_allclose(found.confidence, [0.9, 0.7])


def test_quality_ranks_and_score_admits():
    found = extend(pseudo_masks(), [A, B, C], [0.95, 0.9, 0.5], quality=[0.2, 0.6, 0.9])
    np.testing.assert_array_equal(found.labels, label_map(B, A))
    np.testing.assert_allclose(found.confidence, [0.6, 0.2])


def test_unconfirmed_pseudo_mask_becomes_ignored():
    found = extend(pseudo_masks(A), [B], [0.9])
    np.testing.assert_array_equal(found.labels, label_map(B))
    assert found.ignore[A].all()


def test_pseudo_mask_under_too_weak_a_detection_is_unconfirmed():
    found = extend(pseudo_masks(A), [B, A], [0.9, 0.2])
    assert not found.labels[A].any() and found.ignore[A].all()


def test_weak_detection_is_ignored_and_too_weak_one_is_background():
    found = extend(pseudo_masks(), [A, B, C], [0.9, 0.5, 0.29])
    np.testing.assert_array_equal(found.labels, label_map(A))
    assert found.ignore[B].all() and not found.ignore[C].any()


def test_ignored_region_becomes_a_mask_under_a_confident_detection_alone():
    found = extend(pseudo_masks(ignore=[A, C]), [A], [0.9])
    assert (found.labels[A] == 1).all() and not found.ignore[A].any()
    assert found.ignore[C].all()


def test_border_of_a_joining_mask_is_background():
    before = pseudo_masks()
    before.ignore[:] = True
    found = extend(before, [A], [0.9])
    rim = ndi.binary_dilation(found.labels > 0) & (found.labels == 0)
    assert not found.ignore[rim].any() and found.ignore[30, 30]


def test_count_limits_how_many_join_the_best_by_quality():
    # 3600 px: 280 for a million px is one for this image.
    found = extend(pseudo_masks(), [A, B, C], [0.99, 0.95, 0.9], quality=[0.1, 0.3, 0.2], count=280)
    np.testing.assert_array_equal(found.labels, label_map(B))
    assert found.ignore[A].all() and found.ignore[C].all()


def test_count_of_zero_lets_none_join():
    found = extend(pseudo_masks(A), [A, B], [0.9, 0.88], count=0)
    np.testing.assert_array_equal(found.labels, label_map(A))
    assert found.ignore[B].all()


def test_detection_joins_beside_a_pseudo_mask_that_it_touches_a_little():
    over = np.s_[5:15, 13:23]  # a fifth of it lies on A, which a second detection confirms
    found = extend(pseudo_masks(A), [over, np.s_[5:15, 5:13]], [0.9, 0.5], quality=[0.9, 0.5])
    assert (found.labels[A] == 2).all() and (found.labels[5:15, 15:23] == 1).all()


def test_pseudo_mask_confirmed_to_a_fifth_alone_gives_way():
    over = np.s_[5:15, 13:23]
    found = extend(pseudo_masks(A), [over], [0.9])
    np.testing.assert_array_equal(found.labels, label_map(over))
    assert found.ignore[5:15, 5:13].all()


def test_arguments_are_not_changed():
    pseudo = pseudo_masks(A, B, ignore=[C])
    before = [each.copy() for each in (pseudo.labels, pseudo.confidence, pseudo.ignore)]
    extend(pseudo, [C, B], [0.9, 0.4])
    for old, new in zip(before, (pseudo.labels, pseudo.confidence, pseudo.ignore), strict=True):
        np.testing.assert_array_equal(old, new)


def random_labels(rng, count):
    """Blocks of labels 1..count; later ones may cover earlier ones wholly."""
    labels = np.zeros((40, 40), np.int32)
    for label in range(1, count + 1):
        y, x = rng.integers(0, 32, 2)
        height, width = rng.integers(1, 12, 2)
        labels[y : y + height, x : x + width] = label
    return labels


@given(st.integers(0, 2**32 - 1), st.integers(0, 6), st.integers(0, 6), st.sampled_from([None, 1000]))
def test_any_label_maps(seed, n, detections, count):
    rng = np.random.default_rng(seed)
    labels = random_labels(rng, n)
    present, labels = np.unique(labels, return_inverse=True)
    labels = labels.reshape(40, 40).astype(np.int32) + int(present[0] > 0)
    confidence = np.sort(rng.random(labels.max()))[::-1].astype(np.float32)
    pseudo = PseudoMasks(labels, confidence, (rng.random((40, 40)) < 0.2) & (labels == 0))
    scores = np.sort(rng.random(detections))[::-1]
    found = extend_pseudo_masks(pseudo, random_labels(rng, detections), scores, rng.random(detections), 0.5, 0.3, count)
    assert not (found.ignore & (found.labels > 0)).any()
    assert set(np.unique(found.labels)) - {0} == set(range(1, len(found.confidence) + 1))
    assert (np.diff(found.confidence) <= 0).all()
    if count is not None:  # 1600 px: at most two join
        assert len(found.confidence) <= len(confidence) + 2
    # Of what was a pseudo mask or ignored, only the borders of masks are background now.
    beside = ndi.binary_dilation(found.labels > 0, iterations=RING, structure=np.ones((3, 3)))
    assert (found.ignore | (found.labels > 0) | beside)[(labels > 0) | pseudo.ignore].all()


@pytest.mark.parametrize("shape", [(1, 1), (7, 3)])
def test_tiny_images(shape):
    pseudo = PseudoMasks(np.zeros(shape, np.int32), np.zeros(0, np.float32), np.zeros(shape, bool))
    scores = np.array([0.9])
    found = extend_pseudo_masks(pseudo, np.ones(shape, np.int32), scores, scores, 0.85, 0.3, None)
    assert (found.labels == 1).all() and not found.ignore.any()


def test_a_run_that_lets_none_join_keeps_its_pseudo_masks():
    image = np.full((*SHAPE, 3), 200, np.uint8)
    pseudo, detected = pseudo_masks(A), label_map(B)
    unconfirmed = [
        join_detections(pseudo, detected, np.array([0.9]), image, load_config((), (f"rounds.count={count}",)))
        for count in (0, 1000)
    ]
    assert unconfirmed[0] is pseudo
    np.testing.assert_array_equal(unconfirmed[1].labels > 0, detected > 0)
