"""Outlines, errors and pictures side by side, pixel by pixel."""

import numpy as np
import pytest

from cyclic.draw.colours import ERROR_COLORS, OUTLINE_COLORS
from cyclic.draw.overlays import CAPTION_SIZE, contour_overlay, error_overlay, print_upscale, side_by_side

GREY = np.full((60, 80, 3), 128, np.uint8)
NO_ERRORS = (np.zeros(0, str), np.zeros(0, str), {})


def boxes(*corners):
    labels = np.zeros((60, 80), np.int32)
    for label, (y1, x1, y2, x2) in enumerate(corners, 1):
        labels[y1:y2, x1:x2] = label
    return labels


def test_contours_lie_on_the_outline_and_nowhere_else():
    overlay = contour_overlay(GREY, boxes((20, 20, 40, 50)), upscale=2)
    assert overlay.shape == (120, 160, 3) and overlay.dtype == np.uint8
    changed = (overlay != 128).any(axis=2)
    rows, columns = np.nonzero(changed)
    # Anti-aliasing reaches one pixel further.
    assert (
        rows.min() in (39, 40) and rows.max() in (79, 80) and columns.min() in (39, 40) and columns.max() in (99, 100)
    )
    assert not changed[44:76, 44:96].any()
    assert changed[40:42, 44:96].any(axis=0).all(), "no gap along the top side"


def test_touching_nuclei_keep_two_lines_in_two_colours():
    overlay = contour_overlay(GREY, boxes((20, 10, 40, 30), (20, 30, 40, 50)), upscale=4)
    row = overlay[120].astype(int)
    nearest = {
        int(np.abs(OUTLINE_COLORS.astype(int) - pixel).sum(axis=1).argmin())
        for pixel in row[112:128]
        if (pixel != 128).any()
    }
    assert len(nearest) == 2


def test_error_overlay_paints_each_kind_and_the_legend():
    true = boxes((0, 0, 10, 10), (20, 0, 30, 10), (20, 14, 30, 24), (0, 30, 10, 50), (40, 0, 50, 10))
    pred = boxes((0, 0, 10, 9), (20, 0, 30, 24), (0, 30, 10, 40), (0, 40, 10, 50), (40, 60, 50, 70))
    errors = (
        np.array(["hit", "merged", "merged", "split", "missed"]),
        np.array(["hit", "merged", "split", "split", "false"]),
        dict.fromkeys(ERROR_COLORS, 1),
    )
    overlay = error_overlay(GREY, true, pred, errors, upscale=1)
    assert overlay.shape[1] == 80 and overlay.shape[0] > 60
    for kind, (y, x) in {
        "hit": (5, 5),
        "merged": (25, 12),
        "split": (5, 35),
        "missed": (45, 5),
        "false": (45, 65),
    }.items():
        expected = 0.65 * 128 + 0.35 * np.array(ERROR_COLORS[kind])
        assert np.abs(overlay[y, x] - expected).max() <= 1, kind
        assert (overlay[60:] == ERROR_COLORS[kind]).all(axis=2).any(), kind


@pytest.mark.parametrize(("side", "upscale"), [(100, 4), (256, 4), (512, 2), (1000, 1), (4000, 1)])
def test_small_images_are_enlarged_for_print(side, upscale):
    assert print_upscale(np.zeros((side // 2, side, 3), np.uint8)) == upscale


def test_empty_label_maps():
    empty = boxes()
    assert (contour_overlay(GREY, empty) == 128).all()
    assert (error_overlay(GREY, empty, empty, NO_ERRORS)[:120] == 128).all()


def test_ids_with_gaps():
    labels = boxes((5, 5, 15, 15)) * 7 + boxes((5, 30, 15, 40)) * 3
    assert (contour_overlay(GREY, labels) != 128).any(axis=2).sum() > 60
    hits = np.array(["hit", "hit"])
    assert error_overlay(GREY, labels, labels, (hits, hits, {"hit": 2})).shape[1] == 160


def test_size_mismatch():
    with pytest.raises(ValueError, match="same area"):
        contour_overlay(GREY, np.zeros((5, 5), int))
    with pytest.raises(ValueError, match="same area"):
        error_overlay(GREY, boxes(), np.zeros((5, 5), int), NO_ERRORS)


def test_side_by_side_pads_and_captions():
    small = np.zeros((30, 100, 3), np.uint8)
    joined = side_by_side([("first", GREY), ("a title far too long for so small an image", small)])
    top = joined.shape[0] - 60
    assert joined.shape[1] == 80 + 8 + 100 and top >= CAPTION_SIZE
    assert (joined[top:, :80] == GREY).all() and (joined[top : top + 30, 88:] == 0).all()
    assert (joined[top + 30 :, 88:] == 255).all()
    assert (joined[:top, :80] < 100).any() and (joined[:top, 88:] < 100).any(), "captions"
    assert (joined[:top, 80:88] == 255).all(), "captions stay over their image"
