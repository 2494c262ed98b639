"""Any part of a slide at any resolution: the same pixels whatever part they are asked for in."""

import cv2
import numpy as np
import pytest
from drawn_slides import draw_blobs, write_pyramid
from hypothesis import given, settings
from hypothesis import strategies as st

from cyclic.errors import InputError
from cyclic.slides.opening import open_source
from cyclic.slides.scaled import Block, ScaledSlide, check_region, finest_needed
from cyclic.slides.source import ArraySource

IMAGE = cv2.GaussianBlur(draw_blobs(160, 210), (0, 0), 1.5)
SLIDE = ArraySource(IMAGE)
ALL = (0, 0, 160, 210)


@settings(max_examples=30)
@given(st.data(), st.sampled_from([0.31, 0.5, 0.9, 1.0, 1.31, 2.0]))
def test_a_part_is_that_part_of_the_whole(data, factor):
    slide = ScaledSlide(SLIDE, (7, 11, 150, 203), factor)
    (height, width), whole = slide.size, slide[0 : slide.size[0], 0 : slide.size[1]]
    y1, x1 = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    y2, x2 = data.draw(st.integers(y1 + 1, height)), data.draw(st.integers(x1 + 1, width))
    np.testing.assert_array_equal(slide[y1:y2, x1:x2], whole[y1:y2, x1:x2])
    block = Block(slide, (y1, x1, y2, x2))
    middle = (y1 + y2) // 2
    np.testing.assert_array_equal(block[middle:y2, x1:x2], whole[middle:y2, x1:x2])


@pytest.mark.parametrize("factor", [0.5, 1.5])
def test_the_content_is_that_of_the_resized_image(factor):
    slide = ScaledSlide(SLIDE, ALL, factor)
    expected = cv2.resize(
        IMAGE, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    )
    difference = np.abs(slide[0 : slide.size[0], 0 : slide.size[1]].astype(int) - expected)
    assert slide.size == expected.shape[:2] and difference.mean() < 2


def test_the_coarsest_level_that_is_fine_enough_is_read(tmp_path):
    write_pyramid(tmp_path / "a.tif", draw_blobs(512, 512), levels=3, compression="zlib")
    slide = open_source(tmp_path / "a.tif")
    assert [finest_needed(slide, factor) for factor in (2, 1, 0.7, 0.5, 0.3, 0.25, 0.1)] == [0, 0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize("region", [(-1, 0, 10, 10), (0, 0, 0, 10), (200, 0, 11, 10), (0, 150, 10, 11)])
def test_a_region_beside_the_slide_is_refused_with_its_size(region):
    with pytest.raises(InputError, match=r"a.svs: region .* is not within its 210 x 160 pixels"):
        check_region(region, SLIDE, "a.svs")
    assert (
        check_region((200, 150, 10, 10), SLIDE, "a") == (150, 200, 160, 210) and check_region(None, SLIDE, "a") == ALL
    )
