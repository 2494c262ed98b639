"""Detections back in pixels of the original image, as Matterport converts them."""

import numpy as np
import pytest
import skimage.transform

from cyclic.mrcnn import utils
from cyclic.mrcnn.detect.unmolding import unmold_crops


def test_unmolding_equals_matterports_for_each_mask():
    rng = np.random.default_rng(0)
    boxes = np.array([[0, 0, 9, 30], [10, 4, 50, 60], [30, 40, 37, 45], [5, 5, 5, 20]])
    window, shape = (7, 0, 57, 64), (100, 128)  # the image fills rows 7..57 of the molded one, at half its size
    masks = rng.random((4, 28, 28)).astype("float32")
    molded = boxes + [7, 0, 7, 0]
    detections = np.zeros((6, 6), "float32")
    detections[:4, :4] = utils.norm_boxes(molded, (64, 64))
    detections[:4, 4:] = [[1, 0.9], [2, 0.8], [1, 0.7], [1, 0.6]]
    found = unmold_crops(detections, masks, shape, (64, 64, 3), window)
    assert found["class_ids"].tolist() == [1, 2, 1] and found["scores"].tolist() == pytest.approx([0.9, 0.8, 0.7])
    assert np.abs(found["rois"] - 2 * boxes[:3]).max() <= 1
    for roi, crop, mask in zip(found["rois"], found["masks"], masks, strict=False):
        resized = skimage.transform.resize(mask, crop.shape, order=1, mode="constant", anti_aliasing=False)
        assert crop.shape == (roi[2] - roi[0], roi[3] - roi[1])
        np.testing.assert_array_equal(crop, resized >= 0.5)
