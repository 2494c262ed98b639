"""The classifier's veto on detections, with a classifier that only knows whether a tile is dark anywhere."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cyclic.inference.empty_tiles import (
    BATCH,
    find_tiles,
    predict_tiles,
    tiles_with_nuclei,
)

MEAN = (0.0, 0.0, 0.0)
SIZE = 24


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


def labels_of(*places, shape=(100, 130), side=8):
    labels = np.zeros(shape, np.int32)
    for label, (y, x) in enumerate(places, 1):
        labels[y : y + side, x : x + side] = label
    return labels


def test_an_empty_tile_is_told_from_one_with_nuclei():
    labels = labels_of((60, 90), (60, 30), (10, 12))  # the second one is bare background
    found = tiles_with_nuclei(DarkFinder(), image_of((10, 12), (60, 90)), labels, 3, MEAN, SIZE, 2)
    np.testing.assert_array_equal(found, [True, False, True])


def test_without_a_detection_nobody_is_asked():
    finder = DarkFinder()
    found = tiles_with_nuclei(finder, image_of(), np.zeros((100, 130), np.int32), 0, MEAN, SIZE, 1)
    assert found.shape == (0,) and finder.shapes == []


def test_what_no_tile_holds_and_what_has_no_pixel_is_not_judged():
    labels = labels_of((5, 5), side=SIZE + 1)
    labels[60:70, 60:70] = 3  # label 2 has no pixel
    found = tiles_with_nuclei(DarkFinder(), image_of(), labels, 3, MEAN, SIZE, 1)
    np.testing.assert_array_equal(found, [True, True, False])


@given(y=st.integers(0, 92), x=st.integers(0, 122), height=st.integers(1, SIZE), width=st.integers(1, SIZE))
def test_a_tile_has_its_detection_in_the_middle(y, x, height, width):
    labels = np.zeros((100, 130), np.int32)
    labels[y : y + height, x : x + width] = 1
    (index,), (corner,) = find_tiles(labels, 1, SIZE)
    assert index == 0
    for axis, start in enumerate(corner):
        seen = np.nonzero(labels.any(axis=1 - axis))[0]
        before, after = seen.min() - start, start + SIZE - 1 - seen.max()
        assert before >= 0 and after >= 0 and abs(before - after) <= 1


@pytest.mark.parametrize("count", [1, BATCH, BATCH + 3])
def test_probabilities_are_those_of_the_tiles_in_batches_of_one_size(count):
    image, finder = image_of((40, 40), (0, 0), (92, 122)), DarkFinder()
    corners = np.random.default_rng(count).integers(-SIZE // 2, 100 - SIZE // 2, (count, 2))
    probabilities = predict_tiles(finder, image, corners, MEAN, SIZE, 2)
    assert set(finder.shapes) == {(BATCH, 2 * SIZE, 2 * SIZE, 3)} and len(finder.shapes) == -(-count // BATCH)
    padded = np.pad(image, ((SIZE, SIZE), (SIZE, SIZE), (0, 0)), mode="symmetric")
    for (y, x), probability in zip(corners + SIZE, probabilities, strict=True):
        tile = padded[y : y + SIZE, x : x + SIZE]
        assert probability == pytest.approx(0.95 if tile.min() < 100 else 0.05, abs=0.01)
