"""Whole-image prediction with a stand-in for the network that finds dark squares and nothing else."""

import numpy as np
import pytest
import scipy.ndimage as ndi

from cyclic.inference.predict import NETWORK_STRIDE, detect_tiles, predict_image
from cyclic.mrcnn.config import Config
from cyclic.mrcnn.utils import norm_boxes


class SquareFinder:
    """`MaskRCNN.predict_molded` for dark squares on white: exact boxes, full masks, the darker the higher the score."""

    class config(Config):
        NUM_CLASSES = 2
        MEAN_PIXEL = np.zeros(3)

    def __init__(self):
        self.shapes, self.windows = [], []

    def predict_molded(self, molded, metas):
        self.shapes.append(molded.shape)
        detections, masks = np.zeros((len(molded), 50, 6), np.float32), []
        for index, image in enumerate(molded):
            y1, x1, y2, x2 = (int(side) for side in metas[index, 7:11])
            self.windows.append((y1, x1, y2, x2))
            found, count = ndi.label(image[y1:y2, x1:x2, 0] < 128)
            for label, (rows, columns) in enumerate(ndi.find_objects(found)):
                box = np.array([rows.start, columns.start, rows.stop, columns.stop])
                score = 1 - image[rows, columns, 0].mean() / 255
                detections[index, label] = [*norm_boxes(box, image.shape[:2]), 1, score]
            masks.append(np.ones((count, 28, 28), np.float32))
        return detections, masks


def squares(shape, places, size=12):
    """White image with dark squares, the first darkest, and its label map."""
    image, labels = np.full((*shape, 3), 255, np.uint8), np.zeros(shape, np.int32)
    for label, (y, x) in enumerate(places, 1):
        image[y : y + size, x : x + size] = 5 * label
        labels[y : y + size, x : x + size] = label
    return image, labels


PLACES = [(3, 3), (26, 26), (26, 58), (60, 30), (80, 84), (84, 5)]


@pytest.mark.parametrize("batch", [1, 3, 100])
@pytest.mark.parametrize(("tile", "overlap"), [(32, 16), (64, 16), (48, 20), (100, 20), (200, 20)])
@pytest.mark.parametrize("scale", [1, 2])
def test_tiles_find_what_is_there_once(tile, overlap, batch, scale):
    image, expected = squares((100, 100), PLACES)
    labels, scores = predict_image(SquareFinder(), image, scale=scale, tile=tile, overlap=overlap, batch=batch)
    assert labels.dtype == np.int32 and scores.dtype == np.float32
    assert len(scores) == labels.max() == len(PLACES) and (np.diff(scores) <= 0).all()
    np.testing.assert_array_equal(labels > 0, expected > 0)
    # Ranked by score, the darkest first.
    np.testing.assert_array_equal(labels, expected)


@pytest.mark.parametrize("shape", [(100, 37), (13, 100), (20, 20), (129, 65)])
def test_images_that_no_tile_fits(shape):
    image, expected = squares(shape, [(1, 5)])
    labels, _ = predict_image(SquareFinder(), image, tile=32, overlap=16, min_area=20)
    assert labels.shape == shape
    np.testing.assert_array_equal(labels, expected)


def test_empty_image():
    labels, scores = predict_image(SquareFinder(), np.full((70, 70, 3), 255, np.uint8), tile=32, overlap=16)
    assert not labels.any() and scores.shape == (0,)


def test_small_nuclei_are_dropped():
    image, expected = squares((64, 64), [(5, 5)], size=6)
    assert not predict_image(SquareFinder(), image, tile=64, overlap=16, min_area=37)[0].any()
    found = predict_image(SquareFinder(), image, tile=64, overlap=16, min_area=36)[0]
    np.testing.assert_array_equal(found, expected)


def test_network_sees_scaled_tiles_padded_to_its_stride():
    model = SquareFinder()
    detect_tiles(model, [np.full((30, 50, 3), 255, np.uint8)] * 2, scale=2)
    assert model.shapes == [(2, NETWORK_STRIDE, 2 * NETWORK_STRIDE, 3)]
    assert model.windows == [(0, 0, 60, 100)] * 2


def test_batches_hold_as_many_tiles_as_asked():
    model = SquareFinder()
    predict_image(model, np.full((64, 96, 3), 255, np.uint8), tile=32, overlap=0, scale=2, batch=4)
    assert [shape[0] for shape in model.shapes] == [4, 2]
