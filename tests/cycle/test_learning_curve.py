"""What parts of the answers teach: nested parts, one held-out part, and maps compared with that of all answers."""

import types

import numpy as np
import pytest

from cyclic.config import load_config
from cyclic.cycle import learning_curve as module
from cyclic.cycle.learning_curve import learning_curve
from cyclic.datasets.answers import COLUMNS, Answer, answer_settings
from cyclic.datasets.dataset import NucleiDataset
from cyclic.datasets.synthetic import write_tissue_set
from cyclic.datasets.tile_writing import Tile
from cyclic.errors import InputError

TINY = ("scale=1", "classifier.steps=2", "classifier.batch=4", "mask_rcnn.width=[16,16,16,16]")


@pytest.fixture
def data(tmp_path):
    write_tissue_set(tmp_path / "data", 6, 1, size=96)
    return tmp_path / "data"


@pytest.fixture
def answered(tmp_path, data):
    """Settings of a run with 54 answers, nine an image."""
    tiles = [Tile(f"train_00{image}", y, x) for image in range(6) for y in (0, 32, 64) for x in (0, 32, 64)]
    lines = [Answer(tile, 32, ("yes", "no")[number % 2], "t", "me").line() for number, tile in enumerate(tiles)]
    path = tmp_path / "answers.csv"
    path.write_text(",".join(COLUMNS) + "\n" + "".join(lines))
    return load_config((), [*answer_settings([path]), *TINY])


def test_larger_parts_hold_smaller_ones_and_none_what_is_held_out(data, answered, monkeypatch):
    learnt, held = [], []

    def learn(model, config, training, tiles, held_out, seed, callbacks):
        learnt.append({path.name for path in tiles.paths})
        held.append({path.name for path in held_out.paths})
        return types.SimpleNamespace(accuracy=0.5)

    def image_map(models, image):  # the fewer answers, the more noise
        rng = np.random.default_rng(len(learnt))
        return image[..., 0] / 255 + rng.normal(size=image.shape[:2]) * (3 - len(learnt))

    monkeypatch.setattr(module, "Models", lambda config: types.SimpleNamespace(classifier=None))
    monkeypatch.setattr(module, "learn", learn)
    monkeypatch.setattr(module, "image_map", image_map)
    rows = learning_curve(answered, data)
    assert learnt[0] < learnt[1] < learnt[2] and held[0] == held[1] == held[2] and not learnt[2] & held[0]
    # Two images of six are the fifth that is held out.
    assert [row["answers"] for row in rows] == [len(part) for part in learnt] == [8, 18, 36]
    assert rows[0]["error"] == pytest.approx(0.5 / 18**0.5)
    assert 0 < rows[0]["alike"] < rows[1]["alike"] < 1 and rows[2]["alike"] is None


def test_the_classifier_of_a_run_learns_and_no_label_is_read(data, answered, monkeypatch):
    monkeypatch.delattr(NucleiDataset, "label_map")
    rows = learning_curve(answered, data)
    assert all(0 <= row["tile_accuracy"] <= 1 for row in rows)
    assert -1 <= rows[0]["alike"] <= 1 and rows[2]["alike"] is None


def test_without_answers_there_is_nothing_to_learn_from(data):
    with pytest.raises(InputError, match=r"no answers of a person to learn from; give --answers FILE"):
        learning_curve(load_config((), TINY), data)
