"""The scripts in `studies/` read the files of a run where a run has them."""

import json
import shutil

import background_trust
import collect
import doubted_answers
import error_types
import flip_answers
import map_auc
import numpy as np
import panels
import pseudo_precision
import pytest
import sure_detections
import verdict_share
import without_finest_anchors
import yaml

from cyclic.config import load_config
from cyclic.datasets.doubted_answers import write_doubted
from cyclic.datasets.tile_folder import TileFolder
from cyclic.files import write_image
from cyclic.images import read_image
from cyclic.networks import Models
from cyclic.trained import load_mask_rcnn


@pytest.fixture
def call(monkeypatch, capsys):
    """Call a script's `main` with arguments; returns its exit code and its errors."""

    def _call(script, *arguments):
        monkeypatch.setattr("sys.argv", ["x", *map(str, arguments)])
        return script.main(), capsys.readouterr().err

    return _call


@pytest.mark.parametrize(
    "script",
    [background_trust, map_auc, pseudo_precision, sure_detections, verdict_share],
    ids=lambda script: script.__name__,
)
def test_looks_back_at_a_run(call, fake_run, tmp_path, script):
    assert call(script, fake_run.run, "--data", fake_run.data, "--json", tmp_path / "found.json") == (0, "")
    assert json.loads((tmp_path / "found.json").read_text())


def test_map_auc_has_a_row_a_cycle(call, fake_run, tmp_path):
    call(map_auc, fake_run.run, "--data", fake_run.data, "--json", tmp_path / "found.json")
    rows = json.loads((tmp_path / "found.json").read_text())["rows"]
    assert [row["cycle"] for row in rows] == [1, 2] and all(row["train"] > 0.5 for row in rows)


def test_maps_are_missed_where_there_are_none(call, fake_run, tmp_path):
    code, err = call(map_auc, tmp_path, "--data", fake_run.data)
    assert code == 2 and "no maps" in err


def test_error_types_of_predictions(call, fake_run, tmp_path):
    predictions = fake_run.run / "cycle_2" / "round_1" / "predictions"
    code, _ = call(error_types, predictions, "--gt", fake_run.data / "labels", "--json", tmp_path / "found.json")
    mean = json.loads((tmp_path / "found.json").read_text())["mean"]
    assert code == 0 and mean["aji_without_background"] >= mean["aji"]


def test_panels_show_the_last_prediction(call, fake_run, tmp_path):
    image = json.loads((fake_run.data / "split.json").read_text())["val"][0]
    options = ["--data", fake_run.data, "--image", image, "--at", "10,20", "--size", "64"]
    assert call(panels, fake_run.run, *options, "--out", tmp_path / "found.png") == (0, "")
    assert read_image(tmp_path / "found.png").shape[1] > 5 * 64
    code, err = call(panels, fake_run.run, *options, "--at", "10", "--out", tmp_path / "found.png")
    assert code == 2 and "--at" in err


def test_a_finished_run_gets_its_line(call, fake_run, tmp_path):
    assert call(collect, fake_run.run, "--csv", tmp_path / "runs.csv", "--name", "fake") == (0, "")
    line = (tmp_path / "runs.csv").read_text().splitlines()[1]
    assert line.startswith("fake,3,") and "rounds.students=1" in line


@pytest.mark.parametrize("share", [0, 0.25, 1])
def test_flipped_answers_are_the_same_tiles_in_the_other_class(call, tmp_path, share):
    for kind, count in (("positive", 8), ("negative", 4)):
        for number in range(count):
            write_image(
                tmp_path / "tiles" / kind / f"a_{kind == 'positive':d}_{number}.png", np.zeros((8, 8), np.uint8)
            )
    flip = ("--share", share, "--out", tmp_path / "out")
    assert call(flip_answers, tmp_path / "tiles", *flip) == (0, "")
    found = [path.name for path in (tmp_path / "out").rglob("*.png")]
    moved = len(list((tmp_path / "out/positive").glob("a_0_*"))), len(list((tmp_path / "out/negative").glob("a_1_*")))
    assert len(set(found)) == len(found) == 12 and moved == (4 * share, 8 * share)
    code, err = call(flip_answers, tmp_path / "tiles", *flip)
    assert code == 2 and "exists already" in err


def test_a_model_without_its_finest_anchors_has_the_same_weights(call, tmp_path):
    settings = ("mask_rcnn.width=tiny", "mask_rcnn.anchor_scales=[8, 16, 32, 64, 128]", "mpp=0.25")
    Models(load_config((), settings)).save_mask_rcnn(tmp_path / "five.h5")
    assert call(without_finest_anchors, tmp_path / "five.h5", "--out", tmp_path / "four.h5") == (0, "")
    (five, _), (four, config) = (load_mask_rcnn(tmp_path / name) for name in ("five.h5", "four.h5"))
    assert config.mask_rcnn.anchor_scales == (16, 32, 64, 128)
    assert (four.network.rpn.get_weights()[0] == five.network.rpn.get_weights()[0]).all()
    code, err = call(without_finest_anchors, tmp_path / "no.h5", "--out", tmp_path / "six.h5")
    assert code == 2 and "no.h5" in err


def test_doubted_answers_are_counted_and_left_out(call, fake_run, tmp_path, monkeypatch):
    run, right, given = tmp_path / "run", tmp_path / "right", tmp_path / "given"
    for folder, wrong in ((right, ()), (given, (0, 1))):
        for number in range(12):
            kind = ("negative", "positive")[(number % 2) ^ (number in wrong)]
            write_image(folder / kind / f"train_000_0_{number}.png", np.zeros((8, 8, 3), np.uint8))
    shutil.copytree(fake_run.run, run)
    config = load_config(run / "config.yaml", [f"tiles.folder={given}"])
    (run / "config.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
    # The first is wrong, and so is the doubt of the third.
    doubted = TileFolder([given / "positive/train_000_0_0.png", given / "negative/train_000_0_2.png"], np.array([1, 0]))
    write_doubted(run / "doubted_answers.json", doubted, 12)
    seen = []
    monkeypatch.setattr(doubted_answers, "map_areas", lambda config, tiles, *_: seen.append(tiles) or {"train": 0.5})
    options = ("--data", fake_run.data, "--right", right, "--seeds", 2, "--json", tmp_path / "found.json")
    assert call(doubted_answers, run, *options) == (0, "")
    found = json.loads((tmp_path / "found.json").read_text())
    assert [found[key] for key in ("answers", "wrong", "doubted", "doubted_and_wrong")] == [12, 2, 2, 1]
    assert [(row["answers"], row["seed"]) for row in found["rows"]] == [
        (name, seed) for seed in (0, 1) for name in ("all", "without doubted")
    ]
    assert [len(tiles.paths) for tiles in seen] == [12, 10] * 2
