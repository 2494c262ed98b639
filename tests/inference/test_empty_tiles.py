"""The classifier's veto on detections, with a classifier that only knows whether a tile is dark anywhere."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cyclic.inference.empty_tiles import (
    BATCH,
    drop_detections_in_empty_tiles,
    find_lowest_probability,
    predict_tiles,
)

MEAN = (0.0, 0.0, 0.0)
SIZE, STRIDE = 24, 8


class DarkFinder:
    """Says nuclei (probability 0.95) of tiles with a dark pixel, and none (0.05) of the others."""

    def __init__(self):
        self.shapes = []

    def predict_on_batch(self, tiles):
        self.shapes.append(tiles.shape)
        dark = tiles.min(axis=(1, 2, 3)) < 100
        return np.stack([np.where(dark, -1.47, 1.47), np.where(dark, 1.47, -1.47)], axis=-1)


def image_of(*nuclei, shape=(100, 130)):
    image = np.full((*shape, 3), 240, np.uint8)
    for y, x in nuclei:
        image[y : y + 8, x : x + 8] = 20
    return image


def test_what_lies_in_an_empty_tile_goes():
    image = image_of((10, 12), (60, 90))
    labels = np.zeros(image.shape[:2], np.int32)
    for label, (y, x) in enumerate([(60, 90), (60, 30), (10, 12)], 1):  # the second one is bare background
        labels[y : y + 8, x : x + 8] = label
    scores = np.array([0.9, 0.8, 0.7], np.float32)
    remaining, kept = drop_detections_in_empty_tiles(DarkFinder(), image, labels, scores, MEAN, SIZE, 2)
    np.testing.assert_array_equal(kept, scores[[0, 2]])
    np.testing.assert_array_equal(remaining, np.array([0, 1, 0, 2], np.int32)[labels])


def test_no_detection_stays_none():
    labels, scores = drop_detections_in_empty_tiles(
        DarkFinder(), image_of(), np.zeros((100, 130), np.int32), np.zeros(0, np.float32), MEAN, SIZE, 1
    )
    assert not labels.any() and labels.dtype == np.int32 and len(scores) == 0


def test_probabilities_are_those_of_the_tiles_in_batches_of_one_size():
    image, finder = image_of((40, 40)), DarkFinder()
    probabilities = predict_tiles(finder, image, MEAN, SIZE, STRIDE, 2)
    assert set(finder.shapes) == {(BATCH, 2 * SIZE, 2 * SIZE, 3)} and len(finder.shapes) > 1
    padded = np.pad(image, ((SIZE // 2,) * 2, (SIZE // 2,) * 2, (0, 0)), mode="symmetric")
    for i, j in np.ndindex(probabilities.shape):
        tile = padded[i * STRIDE : i * STRIDE + SIZE, j * STRIDE : j * STRIDE + SIZE]
        assert tile.shape == (SIZE, SIZE, 3)
        assert probabilities[i, j] == pytest.approx(0.95 if tile.min() < 100 else 0.05, abs=0.01)


@given(y=st.integers(0, 92), x=st.integers(0, 122), height=st.integers(1, 30), width=st.integers(1, 30))
def test_only_tiles_that_hold_the_whole_detection_have_a_say(y, x, height, width):
    labels = np.zeros((100, 130), np.int32)
    labels[y : y + height, x : x + width] = 1
    ys, xs = np.nonzero(labels)
    shape = (101 // STRIDE + 1, 131 // STRIDE + 1)
    probabilities = np.random.default_rng(y * 131 + x).random(shape)
    tops, lefts = (np.arange(n) * STRIDE - SIZE // 2 for n in shape)
    rows = (tops <= ys.min()) & (ys.max() < tops + SIZE)
    columns = (lefts <= xs.min()) & (xs.max() < lefts + SIZE)
    holding = probabilities[np.ix_(rows, columns)]
    assert find_lowest_probability(labels, 1, probabilities, SIZE, STRIDE) == [holding.min(initial=1.0)]


def test_a_label_without_pixels_is_nobodys_business():
    probabilities = np.zeros((13, 17))
    labels = np.zeros((100, 130), np.int32)
    labels[5:9, 5:9] = 2
    np.testing.assert_array_equal(find_lowest_probability(labels, 2, probabilities, SIZE, STRIDE), [1, 0])
