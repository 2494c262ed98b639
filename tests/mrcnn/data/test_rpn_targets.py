"""RPN targets: against the plain definition, Matterport's own, and every kind of ground truth."""

import numpy as np
import pytest
from golden import golden_file, needs_parity
from hypothesis import given, settings
from hypothesis import strategies as st

from cyclic.mrcnn.config import Config
from cyclic.mrcnn.data.rpn_targets import build_rpn_targets
from cyclic.mrcnn.geometry.anchors_numpy import pyramid_anchors
from cyclic.mrcnn.geometry.boxes_numpy import apply_box_deltas, compute_overlaps

SHAPE = (128, 96, 3)


class AllAnchors(Config):
    """No sub-sampling."""

    RPN_ANCHOR_SCALES = (8, 16, 32, 64, 128)
    RPN_TRAIN_ANCHORS_PER_IMAGE = 100000


class FewAnchors(AllAnchors):
    RPN_TRAIN_ANCHORS_PER_IMAGE = 32


def _dense_match(anchors, boxes, crowd=()):
    """The definition, on the matrix of all overlaps."""
    overlaps = compute_overlaps(anchors, boxes)
    match = np.where(overlaps.max(axis=1) < 0.3, -1, 0)
    if len(crowd):
        match[compute_overlaps(anchors, crowd).max(axis=1) >= 0.001] = 0
    match[(overlaps == overlaps.max(axis=0)).any(axis=1)] = 1
    match[overlaps.max(axis=1) >= 0.7] = 1
    return match, overlaps.argmax(axis=1)


boxes_inside = st.lists(
    st.tuples(st.integers(0, 120), st.integers(0, 90), st.integers(1, 60), st.integers(1, 60)), min_size=1, max_size=12
).map(lambda rows: np.array([(y, x, min(y + h, SHAPE[0]), min(x + w, SHAPE[1])) for y, x, h, w in rows]))


@settings(deadline=None, max_examples=60)
@given(boxes_inside, st.integers(0, 3), st.sampled_from([1, 2]))
def test_equals_the_dense_computation(boxes, crowds, stride):
    config = AllAnchors()
    config.RPN_ANCHOR_STRIDE = stride
    anchors = pyramid_anchors(config, SHAPE)
    class_ids = np.where(np.arange(len(boxes)) < min(crowds, len(boxes) - 1), -1, 1)
    match, deltas = build_rpn_targets(SHAPE, anchors, class_ids, boxes, config)
    expected, assigned = _dense_match(anchors, boxes[class_ids > 0], boxes[class_ids < 0])
    np.testing.assert_array_equal(match, expected)
    positive = np.flatnonzero(match == 1)
    moved = apply_box_deltas(anchors[positive], deltas[: len(positive)] * config.RPN_BBOX_STD_DEV)
    np.testing.assert_allclose(moved, boxes[class_ids > 0][assigned[positive]], atol=1e-3)
    assert not deltas[len(positive) :].any()


def test_sampling_keeps_the_numbers_and_follows_the_seed():
    config = FewAnchors()
    anchors = pyramid_anchors(config, SHAPE)
    boxes = np.array([[y, x, y + 20, x + 20] for y in range(0, 100, 20) for x in range(0, 70, 20)])

    def match(seed):
        return build_rpn_targets(
            SHAPE, anchors, np.ones(len(boxes), int), boxes, config, rng=np.random.default_rng(seed)
        )[0]

    assert (match(0) == 1).sum() == 16 and (match(0) == -1).sum() == 16
    np.testing.assert_array_equal(match(0), match(0))
    assert (match(0) != match(1)).any()


def test_without_instances_all_targets_are_negative():
    config = FewAnchors()
    match, deltas = build_rpn_targets(
        SHAPE, pyramid_anchors(config, SHAPE), np.zeros(0, int), np.zeros((0, 4)), config, rng=np.random.default_rng(0)
    )
    assert (match == -1).sum() == 32 and (match == 1).sum() == 0 and not deltas.any()


def test_only_crowds_leave_no_positive():
    config = AllAnchors()
    anchors = pyramid_anchors(config, SHAPE)
    crowd = np.array([[10, 10, 60, 60]])
    match, _ = build_rpn_targets(SHAPE, anchors, np.array([-1]), crowd, config)
    touches = compute_overlaps(anchors, crowd)[:, 0] >= 0.001
    assert (match[touches] == 0).all() and (match[~touches] == -1).all() and touches.any()


def test_a_box_without_area_gets_no_anchor():
    config = AllAnchors()
    match, _ = build_rpn_targets(SHAPE, pyramid_anchors(config, SHAPE), np.array([1]), np.array([[5, 5, 5, 9]]), config)
    assert (match == -1).all()


def test_ignored_anchors_are_neutral_unless_positive():
    config = AllAnchors()
    anchors = pyramid_anchors(config, SHAPE)
    boxes = np.array([[40, 8, 56, 24]])
    ignore = np.zeros(SHAPE[:2], dtype=bool)
    ignore[:, :32] = True
    plain, _ = build_rpn_targets(SHAPE, anchors, np.array([1]), boxes, config)
    match, _ = build_rpn_targets(SHAPE, anchors, np.array([1]), boxes, config, ignore=ignore)
    np.testing.assert_array_equal(match == 1, plain == 1)
    y1, x1, y2, x2 = np.clip(np.rint(anchors), 0, np.array([128, 96, 128, 96])).T
    share = (np.minimum(x2, 32) - np.minimum(x1, 32)) / (x2 - x1)
    negative = plain == -1
    assert (match[negative & (share > 0.3)] == 0).all() and (match[negative & (share <= 0.3)] == -1).all()
    assert (negative & (share > 0.3)).any() and (match == -1).any()


def test_foreign_anchors_are_refused():
    with pytest.raises(ValueError, match="do not fit"):
        build_rpn_targets(SHAPE, np.zeros((10, 4)), np.array([1]), np.array([[0, 0, 9, 9]]), AllAnchors())


@needs_parity
def test_equals_matterport():
    golden = golden_file("targets")
    boxes = golden["gt_boxes"]
    match, deltas = build_rpn_targets((256, 256, 3), golden["anchors"], np.ones(len(boxes), int), boxes, AllAnchors())
    np.testing.assert_array_equal(match, golden["rpn_match"])
    np.testing.assert_allclose(deltas[: len(golden["rpn_bbox"])], golden["rpn_bbox"], rtol=0, atol=1e-12)
