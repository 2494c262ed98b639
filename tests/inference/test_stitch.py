"""Detections of overlapping tiles become one label map."""

import json

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cyclic.evaluation.metrics import evaluate_pair
from cyclic.inference import stitch as module
from cyclic.inference.export.geojson import export_geojson
from cyclic.inference.stitch import TileDetections
from cyclic.inference.views import merge_views
from cyclic.tiling import cover_with_windows

WHOLE = (0, 0, 60, 60)


def stitch(detections, shape, **settings):
    return module.stitch(detections, shape, **({"mask_iou": 0.3, "min_area": 20} | settings))


def disc(radius):
    yy, xx = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return yy**2 + xx**2 <= radius**2


def scene(n=20, size=400, seed=0, radii=(6, 14)):
    """Label map of separate discs."""
    rng, labels = np.random.default_rng(seed), np.zeros((size, size), np.int32)
    count = 0
    for _ in range(50 * n):
        r = int(rng.integers(*radii))
        y, x = rng.integers(r, size - r, 2)
        if count < n and not labels[y - r : y + r + 1, x - r : x + r + 1].any():
            count += 1
            labels[y - r : y + r + 1, x - r : x + r + 1][disc(r)] = count
    return labels


def perfect_detector(labels, window, rng):
    """What a perfect model sees of `labels` in a tile: every nucleus, cut at the tile's edge."""
    y1, x1, y2, x2 = window
    crop = labels[y1:y2, x1:x2]
    rois, masks = [], []
    for label in np.unique(crop[crop > 0]):
        ys, xs = np.nonzero(crop == label)
        roi = (ys.min(), xs.min(), ys.max() + 1, xs.max() + 1)
        rois.append(roi)
        masks.append(crop[roi[0] : roi[2], roi[1] : roi[3]] == label)
    return TileDetections(window, np.array(rois).reshape(-1, 4), rng.random(len(rois)), masks)


def detection(y, x, mask, score, window=WHOLE):
    return window, np.array([[y, x, y + mask.shape[0], x + mask.shape[1]]]), np.array([score]), [mask]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([96, 128, 200]))
def test_cut_and_repeated_nuclei_come_back_whole(seed, tile):
    labels, rng = scene(seed=seed), np.random.default_rng(seed)
    detections = [perfect_detector(labels, window, rng) for window in cover_with_windows(400, 400, tile, overlap=40)]
    stitched, scores = stitch(detections, labels.shape)
    found = evaluate_pair(labels, stitched)
    assert found["aji"] == 1.0 and found["n_pred"] == found["n_true"] == len(scores)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.0, 8.0]))
def test_labels_are_contiguous_connected_and_in_score_order(seed, shape_power):
    rng = np.random.default_rng(seed)
    n = 30
    rois = np.concatenate([corner := rng.integers(-5, 50, (n, 2)), corner + rng.integers(1, 20, (n, 2))], axis=1)
    masks = [rng.random((y2 - y1, x2 - x1)) > 0.3 for y1, x1, y2, x2 in rois]
    labels, scores = stitch([(WHOLE, rois, rng.random(n), masks)], (60, 60), min_area=4, shape_power=shape_power)
    assert labels.dtype == np.int32 and scores.dtype == np.float32
    assert np.array_equal(np.unique(labels[labels > 0]), np.arange(1, len(scores) + 1))
    assert np.all(np.diff(scores) <= 0)
    for label in range(1, len(scores) + 1):
        assert np.sum(labels == label) >= 4
        assert cv2.connectedComponents((labels == label).astype(np.uint8), connectivity=4)[0] == 2


@given(st.integers(0, 10_000))
def test_every_nucleus_of_ragged_masks_that_cross_is_one_polygon(tmp_path_factory, seed):
    rng = np.random.default_rng(seed)
    labels = []
    for _ in range(2):  # views of one image, which vote on it afterwards
        corner = rng.integers(-5, 50, (20, 2))
        rois = np.concatenate([corner, corner + rng.integers(3, 25, (20, 2))], axis=1)
        masks = [rng.random((y2 - y1, x2 - x1)) > 0.4 for y1, x1, y2, x2 in rois]
        labels.append(stitch([(WHOLE, rois, rng.random(20), masks)], (60, 60), min_area=1))
    path = tmp_path_factory.mktemp("geojson") / "a.geojson"
    for found, scores in (*labels, merge_views(labels, min_area=1)):
        export_geojson(path, found, scores)
        kinds = [feature["geometry"]["type"] for feature in json.loads(path.read_text())["features"]]
        assert kinds == ["Polygon"] * len(scores)


def test_better_of_two_alike_wins():
    labels, scores = stitch([detection(10, 10, disc(8), 0.6), detection(11, 10, disc(8), 0.9)], (60, 60))
    assert scores.tolist() == pytest.approx([0.9]) and labels[27, 18] == 1 and labels[10, 18] == 0


def test_with_shape_power_one_nucleus_wins_over_a_clump_that_scores_a_little_more():
    clump = np.zeros((17, 33), bool)
    clump[:, :17] |= disc(8)
    clump[:, 16:] |= disc(8)
    detections = [detection(10, 10, clump, 0.9), detection(10, 10, disc(8), 0.8), detection(10, 26, disc(8), 0.7)]
    labels, scores = stitch(detections, (60, 60))
    assert scores.tolist() == pytest.approx([0.9]) and np.sum(labels == 1) == clump.sum()
    labels, scores = stitch(detections, (60, 60), shape_power=8)
    assert scores.tolist() == pytest.approx([0.8, 0.7]) and labels[18, 18] == 1 and labels[18, 34] == 2


def test_what_is_too_large_gives_way_to_what_is_within_it():
    nucleus, large = disc(6), np.ones((30, 30), bool)
    others = [detection(40, 5, nucleus, 0.95), detection(40, 30, nucleus, 0.92)]
    within = [detection(8, 8, nucleus, 0.6), detection(20, 20, nucleus, 0.5)]
    detections = [detection(5, 5, large, 0.9), *within, *others]
    ratio = large.sum() / nucleus.sum()
    assert len(stitch(detections, (60, 60))[1]) == 3
    assert len(stitch(detections, (60, 60), max_area_ratio=ratio + 0.01)[1]) == 3, "as large as allowed"
    labels, scores = stitch(detections, (60, 60), max_area_ratio=ratio - 0.01)
    assert scores.tolist() == pytest.approx([0.95, 0.92, 0.6, 0.5])
    assert np.bincount(labels.ravel())[1:].tolist() == [nucleus.sum()] * 4
    assert len(stitch([], (60, 60), max_area_ratio=5)[1]) == 0


def test_fragment_inside_a_better_nucleus_is_suppressed_though_its_iou_is_low():
    whole, part = detection(10, 10, disc(10), 0.9), detection(16, 16, disc(3), 0.8)
    assert len(stitch([whole, part], (60, 60))[1]) == 1


def test_boxes_that_overlap_without_sharing_pixels_both_stay():
    upper = np.triu(np.ones((20, 20), bool), 2)
    labels, scores = stitch([detection(5, 5, upper, 0.9), detection(5, 5, upper.T, 0.8)], (60, 60))
    assert len(scores) == 2 and np.sum(labels > 0) == 2 * upper.sum()


def test_contested_pixels_go_to_the_higher_score():
    square = np.ones((10, 10), bool)
    labels, _ = stitch([detection(10, 10, square, 0.5), detection(10, 18, square, 0.7)], (60, 60))
    assert np.sum(labels == 1) == 100 and np.sum(labels == 2) == 80
    assert np.all(labels[10:20, 18:20] == 1)


def test_remainder_below_min_area_is_dropped():
    bar = np.ones((4, 10), bool)
    # Half of the second bar is left, 20 pixels: less than what is called the same nucleus, and too much to hide.
    detections = [detection(10, 10, bar, 0.9), detection(10, 15, bar, 0.8)]
    assert len(stitch(detections, (60, 60), mask_iou=0.9, min_area=20)[1]) == 2
    assert len(stitch(detections, (60, 60), mask_iou=0.9, min_area=21)[1]) == 1


def test_only_the_largest_piece_of_a_crossed_nucleus_remains():
    across, along = np.ones((6, 40), bool), np.ones((40, 6), bool)
    labels, scores = stitch([detection(20, 5, across, 0.5), detection(5, 15, along, 0.9)], (60, 60))
    assert len(scores) == 2
    columns = np.flatnonzero((labels == 2).any(axis=0))
    assert (columns.min(), columns.max()) == (21, 44)


def test_half_seen_at_an_inner_edge_loses_even_with_the_higher_score():
    mask = disc(9)
    left, right = (0, 0, 60, 40), (0, 20, 60, 60)
    cut = detection(20, 30, mask[:, :10], 0.99, left)
    whole = detection(20, 10, mask, 0.5, right)
    labels, scores = stitch([cut, whole], (60, 60))
    assert scores.tolist() == [0.5] and np.sum(labels == 1) == mask.sum()


def test_cut_nucleus_that_no_other_tile_sees_better_stays():
    cut = detection(20, 30, disc(9)[:, :10], 0.9, (0, 0, 60, 40))
    assert len(stitch([cut], (60, 60))[1]) == 1
    assert len(stitch([cut, ((0, 40, 60, 60), np.zeros((0, 4), int), np.zeros(0), [])], (60, 60))[1]) == 1


def test_touching_the_image_border_is_no_cut():
    at_border = detection(0, 20, disc(6), 0.9, (0, 0, 40, 60))
    empty = ((20, 0, 60, 60), np.zeros((0, 4), int), np.zeros(0), [])
    assert len(stitch([at_border, empty], (60, 60))[1]) == 1


def test_padding_of_a_small_image_is_cut_off():
    labels, scores = stitch([detection(12, 12, np.ones((20, 20), bool), 0.9, (0, 0, 25, 22))], (25, 22))
    assert np.sum(labels) == 13 * 10 and len(scores) == 1
    labels, scores = stitch([detection(30, 30, np.ones((9, 9), bool), 0.9, (0, 0, 25, 22))], (25, 22))
    assert not labels.any() and len(scores) == 0


def test_nothing_found():
    for detections in (
        [],
        [(WHOLE, np.zeros((0, 4), int), np.zeros(0), [])],
        [detection(3, 3, np.zeros((5, 5), bool), 1)],
    ):
        labels, scores = stitch(detections, (60, 60))
        assert labels.shape == (60, 60) and not labels.any() and scores.shape == (0,)


def test_mask_of_another_size_than_its_roi():
    with pytest.raises(ValueError, match="ROI"):
        stitch([(WHOLE, np.array([[0, 0, 5, 5]]), np.ones(1), [np.ones((5, 4), bool)])], (60, 60))


def test_only_boxes_that_another_tile_sees_better_need_no_mask():
    left, right, shape = (0, 0, 60, 60), (0, 40, 60, 100), (60, 100)
    roi, mask = np.array([[20, 50, 32, 60]]), np.ones((12, 18), bool)  # the left tile's edge cuts it
    tiles = [(left, roi, np.ones(1), [None]), (right, roi - (0, 40, 0, 32), np.ones(1), [mask])]
    labels, _ = stitch(tiles, shape)
    assert labels.sum() == mask.sum()
    with pytest.raises(ValueError, match=r"no mask for the ROI \[20, 50, 32, 60\]"):
        stitch(tiles[:1], shape)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000))
def test_further_windows_never_make_more_boxes_best_seen(seed):
    rng = np.random.default_rng(seed)
    windows = np.array(cover_with_windows(200, 200, 80, 30))
    corner = rng.integers(0, 80, (50, 2))
    rois = np.concatenate([corner, np.minimum(corner + rng.integers(1, 40, (50, 2)), 80)], axis=1)
    start = rng.integers(0, 120, (5, 2))
    more = np.concatenate([windows, np.concatenate([start, start + 80], axis=1)])
    for window in windows:
        before = module.best_seen(rois, tuple(window), windows, (200, 200))
        after = module.best_seen(rois, tuple(window), more, (200, 200))
        assert not (after & ~before).any()


def test_1500_detections():
    labels, rng = scene(n=900, size=1000, seed=3, radii=(8, 15)), np.random.default_rng(3)
    detections = [perfect_detector(labels, window, rng) for window in cover_with_windows(1000, 1000, 300, 100)]
    assert sum(len(tile.scores) for tile in detections) > 1500
    stitched, _ = stitch(detections, labels.shape)
    assert evaluate_pair(labels, stitched)["aji"] == 1.0
