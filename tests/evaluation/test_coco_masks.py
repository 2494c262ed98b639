"""COCO segmentations: read right, or left out with a reason before a rasteriser sees them."""

import numpy as np
import pycocotools.mask
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cyclic.evaluation.coco_masks import BadAnnotation, compress, decode, first_reasons

SIZE = (7, 9)


def paint(segmentation, size=SIZE):
    mask, box = decode(compress(segmentation, *size))
    whole = np.zeros(size, bool)
    whole[box] = mask
    return whole


@settings(max_examples=100, deadline=None)
@given(arrays(bool, SIZE).filter(np.any))
def test_run_lengths_of_both_kinds_give_the_mask_back(mask):
    rle = pycocotools.mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    text = {"size": list(SIZE), "counts": rle["counts"].decode()}
    np.testing.assert_array_equal(paint(text), mask)
    flat = mask.ravel(order="F")
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flat]).astype(int)))
    plain = {"size": list(SIZE), "counts": np.diff([0, *edges.tolist(), flat.size]).tolist()}
    np.testing.assert_array_equal(paint(plain), mask)


def test_polygons_are_pycocotools_own():
    square = [[1.0, 2.0, 5.0, 2.0, 5.0, 6.0, 1.0, 6.0]]
    rle = pycocotools.mask.merge(pycocotools.mask.frPyObjects(square, *SIZE))
    np.testing.assert_array_equal(paint(square), pycocotools.mask.decode(rle) > 0)


def test_a_nucleus_at_the_border_may_reach_out():
    assert paint([[-2, -2, 3, -2, 3, 3, -2, 3]])[0, 0]


@pytest.mark.parametrize(
    ("segmentation", "reason"),
    [
        (None, "neither polygons nor run lengths"),
        ("text", "neither polygons"),
        ([], "no polygon"),
        ([1, 2, 3, 4, 5, 6], "a list of numbers"),
        ([[1, 2, 3, 4]], "a polygon of 4 numbers"),
        ([[1, 2, 3, 4, 5, 6, 7]], "a polygon of 7 numbers"),
        ([["1", 2, 3, 4, 5, 6]], "no list of numbers"),
        ([[True, 2, 3, 4, 5, 6]], "no list of numbers"),
        ([[1, 2, float("nan"), 4, 5, 6]], "not finite"),
        ([[1, 2, 1e300, 4, 5, 6]], "outside the image"),
        ([[20, 20, 30, 20, 30, 30]], "outside the image"),
        ([[2, 2, 2, 2, 2, 2]], "no pixel"),
        ({"size": [9, 7], "counts": [63]}, "of size"),
        ({"size": [7, 9]}, "no whole numbers"),
        ({"size": [7, 9], "counts": [10, 10]}, "add up to 20 of 63"),
        ({"size": [7, 9], "counts": [10, -5, 58]}, "add up"),
        ({"size": [7, 9], "counts": [10.5, 52.5]}, "no whole numbers"),
        ({"size": [7, 9], "counts": [63]}, "no pixel"),
        ({"size": [7, 9], "counts": "not text of theirs"}, "character"),
        ({"size": [7, 9], "counts": "oooooooooo"}, "character|run of"),
        ({"size": [7, 9], "counts": ""}, "add up to 0"),
    ],
)
def test_what_is_no_mask_says_why(segmentation, reason):
    with pytest.raises(BadAnnotation, match=reason):
        compress(segmentation, *SIZE)


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(min_codepoint=32, max_codepoint=120), max_size=12))
def test_no_text_gets_past_that_does_not_fill_the_image(text):
    try:
        mask, _ = decode(compress({"size": list(SIZE), "counts": text}, *SIZE))
    except BadAnnotation:
        return
    assert mask.any()


def test_reasons_name_the_first_and_count_the_rest():
    assert first_reasons([(7, "no polygon"), (9, "no pixel")]) == "7: no polygon; 9: no pixel"
    assert first_reasons([(number, "x") for number in range(5)]).endswith("2: x; and 2 more")
