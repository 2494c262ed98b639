"""The number of boxes that the mask head runs on; whole detections are tested with `MaskRCNN`."""

import keras
import pytest

from cyclic.mrcnn.detect import detector


@pytest.mark.parametrize(("count", "slots", "on_jax"), [(0, 16, 16), (16, 16, 16), (33, 48, 64), (65, 80, 100)])
def test_mask_head_runs_on_few_different_numbers_of_boxes(count, slots, on_jax):
    assert detector._mask_slots(count, 100) == (on_jax if keras.backend.backend() == "jax" else slots)
