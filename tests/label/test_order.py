"""Which tile comes next, and when a person is told that the answers are enough."""

from collections import Counter

import numpy as np
import pytest

from cyclic.datasets.layouts import open_dataset
from cyclic.datasets.tile_grid import grid_tiles
from cyclic.label.enough import LEAST, Point, advice, learning_curve, tile_features
from cyclic.label.order import GROUP_ENDS, least_sure_first, mean_hematoxylin, overlapping_last, spread
from cyclic.label.session import open_session
from cyclic.stain import hematoxylin_map


def overlap(one, other, size):
    return one.image_id == other.image_id and max(abs(one.y - other.y), abs(one.x - other.x)) < size


def test_the_mean_of_a_tile_is_that_of_its_pixels(tissue):
    dataset = open_dataset(tissue)
    tiles = [tile for tile in grid_tiles(dataset, 32, 24) if tile.image_id == "slide_1"]
    stain = hematoxylin_map(dataset.image("slide_1"))
    expected = [stain[tile.y : tile.y + 32, tile.x : tile.x + 32].mean() for tile in tiles]
    assert mean_hematoxylin(dataset.image("slide_1"), tiles, 32) == pytest.approx(expected, abs=1e-6)


def test_images_and_staining_take_turns_and_every_tile_comes_once(tissue):
    dataset = open_dataset(tissue)
    tiles = grid_tiles(dataset, 32, 24)
    staining = [value for name in dataset.ids for value in
                mean_hematoxylin(dataset.image(name), [t for t in tiles if t.image_id == name], 32)]  # fmt: skip
    order = spread(tiles, staining, seed=0)
    assert sorted(order, key=str) == sorted(tiles, key=str)
    of = dict(zip(tiles, staining, strict=True))
    rank = dict(zip(sorted(tiles, key=of.__getitem__), np.arange(len(tiles)) / len(tiles), strict=True))
    first = order[:20]
    groups = Counter(np.searchsorted(GROUP_ENDS, [rank[tile] for tile in first], side="right"))
    assert groups == {0: 5, 1: 5, 2: 5, 3: 5}
    assert min(Counter(tile.image_id for tile in first).values()) >= 4
    assert spread(tiles, staining, seed=0) == order != spread(tiles, staining, seed=1)


def test_tiles_that_overlap_earlier_ones_come_last(tissue):
    dataset = open_dataset(tissue)
    tiles = grid_tiles(dataset, 32, 24)
    order = overlapping_last(tiles, dataset, 32)
    assert sorted(order, key=str) == sorted(tiles, key=str)
    apart = [tile for n, tile in enumerate(order) if not any(overlap(tile, each, 32) for each in order[:n])]
    assert order[: len(apart)] == apart and len(apart) > 30


def test_the_tiles_that_a_model_is_least_sure_of_come_first(tissue):
    tiles = grid_tiles(open_dataset(tissue), 32, 24)[:4]
    assert least_sure_first(tiles, np.array([0.9, 0.45, 0.02, 0.6])) == [tiles[i] for i in (1, 3, 0, 2)]


def answered(count, noise, seed=0):
    """Features and answers: yes is darker, and a share `noise` of the answers is wrong."""
    rng = np.random.default_rng(seed)
    answers = np.arange(count) % 2 == 0
    tiles = [rng.integers(40 if yes else 140, 120 if yes else 220, (16, 16, 3), np.uint8) for yes in answers]
    return np.stack([tile_features(tile) for tile in tiles]), answers ^ (rng.random(count) < noise)


def test_what_can_be_learnt_is_told_from_chance():
    features, answers = answered(120, 0.0)
    images, noise = np.arange(120) % 6, answered(120, 0.5)[1]
    good, random = (learning_curve(features, given, images, features) for given in (answers, noise))
    assert [point.answers for point in good] == [30, 60, 120]
    assert [point.right for point in good] == [1, 1, 1] and good[-1].error == 0
    assert random[-1].right == pytest.approx(0.5, abs=0.2) and random[-1].error == pytest.approx(0.046, abs=0.01)


def test_a_map_is_compared_with_that_of_all_answers():
    features, answers = answered(120, 0.1)
    others = answered(80, 0.0, seed=1)[0]
    quarter, half, whole = learning_curve(features, answers, np.arange(120) % 6, others)
    assert 0.5 < quarter.alike < half.alike < 1 and whole.alike is None
    noise = learning_curve(features, answered(120, 0.5)[1], np.arange(120) % 6, others)
    assert noise[0].alike < quarter.alike


def test_held_out_images_are_not_learnt_from():
    """Answers that only tell the image apart are chance on an image that was never seen."""
    rng = np.random.default_rng(0)
    images = np.repeat(np.arange(10), 12)
    features = rng.normal(size=(10, 40))[images]  # enough numbers to know each image by heart
    answers = images % 2 == 0
    assert learning_curve(features, answers, images, features)[-1].right < 0.8


@pytest.mark.parametrize(("yes", "no"), [(LEAST - 1, 50), (50, LEAST - 1), (0, 0)])
def test_too_few_answers_give_no_estimate(yes, no):
    answers = np.arange(yes + no) < yes
    assert learning_curve(np.zeros((yes + no, 3)), answers, np.zeros(yes + no, int), np.zeros((1, 3))) == []
    assert advice([], yes, no) == "An estimate follows from 20 yes and 20 no on."


def test_tiles_that_are_too_large_for_a_no_are_told():
    assert advice([], 34, 4).endswith("Only 4 of 38 are no: start again with a smaller --size and another --out.")
    assert all("Only" not in advice([], yes, no) for yes, no in ((12, 3), (19, 5), (4, 34)))


def test_the_advice_says_what_it_is_worth():
    features, answers = answered(120, 0.0)
    found = learning_curve(features, answers, np.arange(120) % 6, features)
    said = advice(found, 60, 60)
    assert "With half of the 120 answers 100% of held-out tiles are told right, with all 100% (± 0%)" in said
    assert "Enough for now" in said and "rough estimate" in said
    assert "Go on to 50 of each" in advice(found, 30, 60)
    rising = [Point(60, 0.7, 0.04, 0.8), Point(120, 0.9, 0.03, None)]
    assert "More answers still help" in advice(rising, 60, 60)


def test_with_a_model_the_page_asks_first_what_it_is_least_sure_of(tissue, tmp_path, monkeypatch):
    asked = []

    def probabilities(path, dataset, tiles, size):
        asked.extend(tiles)
        return np.linspace(0.5, 1, len(tiles))[::-1]

    monkeypatch.setattr("cyclic.label.unsure.probabilities", probabilities)
    session = open_session(tissue, tmp_path / "answers.csv", "anna", 32, 32, weights=tmp_path / "best.weights.h5")
    assert session.tiles[:10] == asked[::-1][:10] and len(session.tiles) == len(asked) == 75
