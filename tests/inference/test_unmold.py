import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cyclic.inference.unmold import unmold_boxes, unmold_masks
from cyclic.mrcnn.geometry.boxes_numpy import norm_boxes

MASK_SIDE = 28


def ellipse(shape, centre, axes):
    """Return an ellipse drawn by its pixels' centres, `[H, W]` bool."""
    rows, columns = (np.arange(side) + 0.5 for side in shape)
    return ((rows[:, None] - centre[0]) / axes[0]) ** 2 + ((columns - centre[1]) / axes[1]) ** 2 <= 1


def perfect_detection(mask):
    """Return what a perfect network says of a mask: normalized box with class and score, and the mask in its box."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = np.array([[rows[0], columns[0], rows[-1] + 1, columns[-1] + 1]])
    inside = mask[box[0, 0] : box[0, 2], box[0, 1] : box[0, 3]].astype(np.float32)
    detection = np.concatenate([norm_boxes(box, mask.shape)[0], [1, 0.9]])
    return detection, cv2.resize(inside, (MASK_SIDE, MASK_SIDE), interpolation=cv2.INTER_LINEAR)


def unmold(detection, mask, molded_shape, scale):
    """Return boxes, scores and masks of the one detection."""
    rows, boxes, edges = unmold_boxes(detection[None], molded_shape, scale)
    return boxes, rows[:, 5], unmold_masks(mask[None], boxes, edges)


def paste(shape, boxes, masks):
    pasted = np.zeros(shape, bool)
    for (y1, x1, y2, x2), mask in zip(boxes, masks, strict=True):
        pasted[y1:y2, x1:x2] |= mask
    return pasted


@settings(deadline=None)
@given(
    centre=st.tuples(st.floats(30, 98), st.floats(30, 98)),
    axes=st.tuples(st.floats(5, 16), st.floats(5, 16)),
    scale=st.sampled_from([1, 1.5, 2, 3]),
)
def test_a_perfect_detection_gives_back_the_nucleus(centre, axes, scale):
    nucleus = ellipse((128, 128), centre, axes)
    seen = ellipse((round(128 * scale),) * 2, np.multiply(centre, scale), np.multiply(axes, scale))
    detection, mask = perfect_detection(seen)
    boxes, scores, masks = unmold(detection, mask, seen.shape, scale)
    pasted = paste(nucleus.shape, boxes, masks)
    assert (pasted & nucleus).sum() > 0.85 * (pasted | nucleus).sum()
    assert scores == pytest.approx([0.9]) and [each.dtype for each in masks] == [bool]


@pytest.mark.parametrize("scale", [1, 1.5, 2, 3])
def test_nuclei_neither_grow_nor_move(scale):
    rng, ratios, shifts = np.random.default_rng(0), [], []
    for _ in range(200):
        centre, axes = rng.uniform(20, 44, 2), rng.uniform(6, 12, 2)
        seen = ellipse((round(64 * scale),) * 2, centre * scale, axes * scale)
        detection, mask = perfect_detection(seen)
        boxes, _, masks = unmold(detection, mask, seen.shape, scale)
        pasted = paste((64, 64), boxes, masks)
        ratios.append(pasted.sum() / (np.pi * axes.prod()))
        shifts.append(np.argwhere(pasted).mean(0) + 0.5 - centre)
    assert np.mean(ratios) == pytest.approx(1, abs=0.02)
    np.testing.assert_allclose(np.mean(shifts, 0), 0, atol=0.05)


def test_a_higher_threshold_leaves_less_of_a_mask():
    edges = np.array([[0.0, 0.0, 28.0, 28.0]])
    slope = np.tile(np.linspace(0, 1, 28, dtype=np.float32), (1, 28, 1))
    columns = [unmold_masks(slope, edges.astype(np.int32), edges, t)[0].any(0).sum() for t in (0.25, 0.5, 0.75)]
    assert columns == [21, 14, 7]


def test_padding_and_detections_smaller_than_a_pixel_are_left_out():
    detections = np.zeros((3, 6), np.float32)
    detections[0] = (*norm_boxes(np.array([[20, 20, 21, 21]]), (64, 64))[0], 1, 0.9)
    detections[1] = (*norm_boxes(np.array([[8, 8, 28, 24]]), (64, 64))[0], 1, 0.8)
    rows, boxes, edges = unmold_boxes(detections, (64, 64), 4)
    (mask,) = unmold_masks(np.ones((1, 28, 28), np.float32), boxes, edges)
    np.testing.assert_array_equal(rows, detections[1:2])
    np.testing.assert_array_equal(boxes, [[2, 2, 7, 6]])
    assert boxes.dtype == np.int32 and edges.shape == (1, 4) and mask.shape == (5, 4) and mask.all()
