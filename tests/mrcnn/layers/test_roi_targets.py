"""Sampling of ROIs and their targets: every kind of ground truth an image may have."""

import keras
import numpy as np
import pytest
from keras import ops

from cyclic.mrcnn.geometry.boxes_numpy import box_refinement, norm_boxes
from cyclic.mrcnn.geometry.masks_numpy import extract_bboxes, minimize_mask
from cyclic.mrcnn.layers.roi_targets import DetectionTargetLayer

SIDE = 64
STD_DEV = (0.1, 0.1, 0.2, 0.2)
NAMES = ("rois", "class_ids", "weights", "deltas", "masks", "mask_weights")


def targets(proposals, gt_boxes, masks, class_ids=None, ignore=None, total=12, mini=False, seed=0, side=28):
    """Run the layer on one image; boxes in pixels, masks `[G, h, w]`. Returns a dict of arrays without batch axis."""
    layer = DetectionTargetLayer(total, 0.5, (side, side), STD_DEV, mini, 0.3, seed=seed)
    class_ids = np.ones(len(gt_boxes), "int32") if class_ids is None else np.asarray(class_ids, "int32")
    gt_boxes = np.asarray(gt_boxes, "float32")
    normalized = np.where(gt_boxes.any(axis=-1, keepdims=True), norm_boxes(gt_boxes, (SIDE, SIDE)), 0)
    ignore = None if ignore is None else ignore[None].astype("uint8")
    masks = np.asarray(masks, "uint8")[None]
    outputs = layer(norm_boxes(proposals, (SIDE, SIDE))[None], class_ids[None], normalized[None], masks, ignore=ignore)
    return {name: ops.convert_to_numpy(value)[0] for name, value in zip(NAMES, outputs, strict=True)}


def disks(*centres, radius=9):
    y, x = np.mgrid[:SIDE, :SIDE]
    return np.stack([(y - cy) ** 2 + (x - cx) ** 2 <= radius**2 for cy, cx in centres])


def boxes_of(masks):
    return extract_bboxes(np.moveaxis(masks, 0, -1))


def around(box, count, reach=2, seed=0):
    """Return `count` copies of a box, each side moved by up to `reach` pixels."""
    return np.asarray(box) + np.random.default_rng(seed).integers(-reach, reach + 1, (count, 4))


MASKS = disks((16, 16), (44, 40))
BOXES = boxes_of(MASKS)
FAR = np.array([[0, 40, 12, 60], [40, 0, 60, 14], [2, 30, 20, 44], [50, 4, 62, 20], [30, 55, 50, 63], [28, 2, 38, 20]])


def test_positives_come_first_with_class_deltas_and_mask():
    out = targets(np.concatenate([FAR, around(BOXES[0], 2), around(BOXES[1], 2, seed=1)]), BOXES, MASKS, [1, 2])
    assert out["weights"].tolist() == [1, 1, 1, 1, 0, 0, 1, 1, 1, 1, 0, 0]
    assert sorted(out["class_ids"][:4]) == [1, 1, 2, 2] and not out["class_ids"][4:].any()
    assert out["class_ids"].dtype == np.int32
    for roi, class_id, deltas, mask in zip(out["rois"], out["class_ids"], out["deltas"], out["masks"], strict=False):
        if class_id == 0:
            break
        truth = norm_boxes(BOXES[class_id - 1][None], (SIDE, SIDE))
        np.testing.assert_allclose(deltas, box_refinement(roi[None], truth)[0] / STD_DEV, atol=1e-4)
        assert set(np.unique(mask)) == {0, 1} and 0.4 < mask.mean() < 0.95
    assert not out["rois"][4:6].any() and not out["deltas"][4:].any() and not out["masks"][4:].any()


def test_mask_of_an_exact_roi_is_the_instance():
    out = targets(BOXES[:1], BOXES, MASKS, side=19)
    y1, x1, y2, x2 = BOXES[0]
    assert (y2 - y1, x2 - x1) == (19, 19)
    np.testing.assert_array_equal(out["masks"][0], MASKS[0][y1:y2, x1:x2])
    np.testing.assert_allclose(out["deltas"][0], 0, atol=1e-5)


def test_roi_takes_the_instance_it_overlaps_most():
    masks = disks((30, 26), (30, 36))
    out = targets(boxes_of(masks)[1:], boxes_of(masks), masks, [1, 2])
    assert out["class_ids"][0] == 2


def test_no_ground_truth_trains_negatives_alone():
    out = targets(FAR, np.zeros((2, 4)), np.zeros((2, SIDE, SIDE)), [0, 0])
    assert out["weights"].tolist() == [0] * 6 + [1] * 6
    assert not out["class_ids"].any() and not out["deltas"].any() and not out["masks"].any()
    assert all(np.isfinite(value).all() for value in out.values())
    assert sorted(map(tuple, out["rois"][6:])) == sorted(map(tuple, norm_boxes(FAR, (SIDE, SIDE))))


def test_no_positive_proposal_fills_all_negative_slots():
    out = targets(FAR, BOXES, MASKS)
    assert out["weights"].tolist() == [0] * 6 + [1] * 6


def test_no_proposal_at_all_gives_no_weight():
    out = targets(np.zeros((4, 4)) + [0, 0, 1, 1], np.zeros((1, 4)), np.zeros((1, SIDE, SIDE)), [0])
    assert not out["weights"].any() and not out["rois"].any()


def test_negatives_keep_their_ratio_to_the_positives():
    out = targets(np.concatenate([FAR, BOXES]), BOXES, MASKS)
    assert out["weights"].tolist() == [1, 1, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0]


def test_more_slots_than_proposals():
    out = targets(np.concatenate([FAR[:1], BOXES]), BOXES, MASKS, total=40)
    assert out["rois"].shape == (40, 4) and out["masks"].shape == (20, 28, 28)
    assert out["weights"].sum() == 3 and out["weights"][:2].all() and out["weights"][20] == 1


def test_more_proposals_than_slots_are_sampled_at_random():
    proposals = np.concatenate([around(BOXES[0], 60), np.tile(FAR, (10, 1))])
    first, again, other = (targets(proposals, BOXES, MASKS, seed=seed) for seed in (3, 3, 4))
    assert first["weights"].all()
    for name in NAMES:
        np.testing.assert_array_equal(first[name], again[name])
    assert (first["rois"] != other["rois"]).any()


def test_each_call_draws_anew():
    layer = DetectionTargetLayer(4, 0.5, (28, 28), STD_DEV, False, 0.3, seed=0)
    proposals = norm_boxes(around(BOXES[0], 60), (SIDE, SIDE))[None]
    truth = np.ones((1, 2), "int32"), norm_boxes(BOXES, (SIDE, SIDE))[None], MASKS[None].astype("uint8")
    first, second = (ops.convert_to_numpy(layer(proposals, *truth)[0]) for _ in range(2))
    assert (first != second).any()


def test_crowds_are_neither_positive_nor_negative():
    out = targets(np.concatenate([BOXES, FAR]), BOXES, MASKS, [1, -1])
    np.testing.assert_allclose(out["rois"][0], norm_boxes(BOXES[:1], (SIDE, SIDE))[0])
    assert out["class_ids"].tolist() == [1] + [0] * 11
    crowd = norm_boxes(BOXES[1:], (SIDE, SIDE))[0]
    assert not (out["rois"] == crowd).all(axis=-1).any()
    touching = targets(np.array([[44, 44, 62, 62]]), BOXES, MASKS, [1, -1])
    assert not touching["weights"].any()


def test_ignored_negatives_are_left_out():
    ignore = np.zeros((SIDE, SIDE), bool)
    y1, x1, y2, x2 = FAR[0]
    ignore[y1:y2, x1:x2] = True
    ignore[FAR[1][0] : FAR[1][0] + 4, FAR[1][1] : FAR[1][3]] = True  # a fifth of this box: still a negative
    out = targets(FAR, BOXES, MASKS, ignore=ignore)
    assert out["weights"].sum() == 5
    assert not (out["rois"] == norm_boxes(FAR[:1], (SIDE, SIDE))[0]).all(axis=-1).any()
    assert (out["rois"] == norm_boxes(FAR[1:2], (SIDE, SIDE))[0]).all(axis=-1).any()


def test_ignore_spares_the_positive_and_its_own_mask():
    ignore = np.zeros((SIDE, SIDE), bool)
    ignore[:, :17] = True
    out = targets(BOXES[:1], BOXES, MASKS, ignore=ignore)
    assert out["weights"][0] == 1
    mask, weights = out["masks"][0], out["mask_weights"][0]
    assert (weights[mask > 0] == 1).all()
    outside = mask == 0
    assert not weights[:, :13][outside[:, :13]].any() and outside[:, :13].any()
    assert weights[:, 15:][outside[:, 15:]].all() and outside[:, 15:].any()


def test_without_ignore_every_mask_pixel_weighs_one():
    assert (targets(BOXES, BOXES, MASKS)["mask_weights"] == 1).all()


def test_empty_ignore_map_changes_nothing():
    proposals = np.concatenate([FAR, around(BOXES[0], 3)])
    plain, empty = targets(proposals, BOXES, MASKS), targets(proposals, BOXES, MASKS, ignore=np.zeros((SIDE, SIDE)))
    for name in NAMES:
        np.testing.assert_array_equal(plain[name], empty[name])


def test_mini_masks_and_full_masks_agree():
    proposals = np.concatenate([around(BOXES[0], 3), around(BOXES[1], 3, seed=2)])
    mini = np.moveaxis(minimize_mask(BOXES, np.moveaxis(MASKS, 0, -1), (56, 56)), -1, 0)
    full, small = targets(proposals, BOXES, MASKS), targets(proposals, BOXES, mini, mini=True)
    np.testing.assert_array_equal(full["rois"], small["rois"])
    assert full["weights"][:6].all()
    for first, second in zip(full["masks"][:6] > 0, small["masks"][:6] > 0, strict=True):
        assert (first & second).sum() / (first | second).sum() > 0.9


def test_images_of_a_batch_do_not_mix():
    layer = DetectionTargetLayer(4, 0.5, (28, 28), STD_DEV, False, 0.3, seed=0)
    proposals = norm_boxes(np.stack([BOXES, BOXES[::-1]]), (SIDE, SIDE))
    gt_boxes = norm_boxes(np.stack([BOXES[:1], BOXES[1:]]), (SIDE, SIDE))
    gt_masks = np.stack([MASKS[:1], MASKS[1:]]).astype("uint8")
    rois, class_ids, weights, deltas, masks, _ = layer(proposals, np.int32([[1], [2]]), gt_boxes, gt_masks)
    assert ops.convert_to_numpy(class_ids).tolist() == [[1, 0, 0, 0], [2, 0, 0, 0]]
    np.testing.assert_array_equal(ops.convert_to_numpy(rois)[:, 0], gt_boxes[:, 0])
    np.testing.assert_array_equal(ops.convert_to_numpy(masks)[0, 0], ops.convert_to_numpy(masks)[1, 0])
    assert ops.convert_to_numpy(weights).tolist() == [[1, 0, 1, 0], [1, 0, 1, 0]]


def test_symbolic_shapes_are_those_of_the_values():
    layer = DetectionTargetLayer(10, 0.33, (28, 28), STD_DEV, True, 0.3)
    inputs = [keras.Input(shape) for shape in ((20, 4), (5,), (5, 4), (5, 56, 56))]
    shapes = [output.shape for output in layer(*inputs)]
    assert shapes == [(None, 10, 4), (None, 10), (None, 10), (None, 3, 4), (None, 3, 28, 28), (None, 3, 28, 28)]


def test_layer_survives_its_config():
    config = DetectionTargetLayer(10, 0.33, (28, 28), STD_DEV, True, 0.3, seed=5).get_config()
    again = DetectionTargetLayer.from_config(config)
    assert again.get_config() == config and again.positives == 3


@pytest.mark.parametrize("total, ratio, positives", [(200, 0.33, 66), (128, 0.25, 32)])
def test_positive_slots_follow_the_ratio(total, ratio, positives):
    assert DetectionTargetLayer(total, ratio, (28, 28), STD_DEV, True, 0.3).positives == positives
