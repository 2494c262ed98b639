"""The script that makes a run's model one of the package's."""

import importlib.util
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from test_registry import TINY

from cyclic.config import load_config
from cyclic.errors import InputError
from cyclic.files import digest, write_json
from cyclic.inference.predictor import Predictor
from cyclic.models import registry
from cyclic.networks import Models

SCRIPT = Path(__file__).resolve().parents[2] / "scripts/ship_model.py"


@pytest.fixture(scope="module")
def ship():
    spec = importlib.util.spec_from_file_location("ship_model", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def run(fake_run, tmp_path_factory):
    """A finished run with the weights of a tiny model."""
    folder = tmp_path_factory.mktemp("ship") / "run"
    shutil.copytree(fake_run.run, folder)
    Models(load_config((), TINY)).save_mask_rcnn(folder / "best.weights.h5")
    write_json(folder / "data.json", {"train": {"a": "0", "b": "0"}, "val": {"c": "0"}})
    with (folder / "log.jsonl").open("a") as log:
        log.write(json.dumps({"event": "tiles", "positive": 12, "negative": 9}) + "\n")
    return folder


def options(run, out):
    return [str(run), "--name", "he", "--licence", "CC BY-NC-SA 4.0", "--trained-on", "drawn tissue", "--out", str(out)]


def test_detection_may_have_other_settings_than_in_the_run(ship, run, tmp_path):
    assert ship.main([*options(run, tmp_path), "--set", "detection.score=0.45"]) == 0
    before, after = (Predictor.load(path).config for path in (run / "best.weights.h5", tmp_path / "he.h5"))
    assert after.detection == before.detection.model_copy(update={"score": 0.45}) and after.mpp == before.mpp
    card = json.loads((tmp_path / "he.json").read_text())
    assert card["about"]["detection"] == ["detection.score=0.45"] and card["sha256"] == digest(tmp_path / "he.h5")


def test_what_is_shipped_loads_by_its_name_and_tells_what_it_is(ship, run, fake_run, tmp_path, monkeypatch, capsys):
    asked, flat = [], SimpleNamespace(labels=np.zeros((192, 192), np.int32))
    model = SimpleNamespace(config=SimpleNamespace(mpp=0.5), predict=lambda image, mpp: flat)
    with monkeypatch.context() as patch:
        patch.setattr(Predictor, "load", lambda path, given: asked.append((path, given)) or model)
        score = ["--set", "detection.score=0.7"]
        assert ship.main([*options(run, tmp_path), "--data", str(fake_run.data), *score]) == 0
    # Both are scored with the settings that are shipped: else their difference would not be that of the encoding.
    assert asked == [(file, score[1:]) for file in (run / "best.weights.h5", tmp_path / "he.h5")]
    monkeypatch.setattr(registry, "SHIPPED", tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    card = registry.find("he").card
    assert card.as_json() == capsys.readouterr().out
    assert (card.licence, card.sha256) == ("CC BY-NC-SA 4.0", digest(tmp_path / "he.h5"))
    rows = json.loads((run / "metrics.json").read_text())["rows"]
    assert card.about["val"]["aji"] == pytest.approx(rows[-1]["aji"], abs=1e-4)
    assert card.about["answers"] == {"positive": 12, "negative": 9} and card.about["images"] == 2
    # A ResNet-18 has over 11 million weights: 20 MB hold them as int8 alone.
    assert card.about["encoding"] == "int8" and card.about["val_aji"] == {"full": 0.0, "int8": 0.0}
    assert registry.weights_file(None) == tmp_path / "he.h5"
    assert Predictor.load("he").config.mpp == 0.5


def test_what_is_too_large_becomes_int8_or_is_refused(ship, run, tmp_path):
    sizes = {}
    for kind in ("half", "int8"):
        limit = sizes.get("half", 10**9 + 1) - 1
        assert ship.write_small(run / "best.weights.h5", tmp_path / "w.h5", limit) == kind
        sizes[kind] = (tmp_path / "w.h5").stat().st_size
    assert sizes["int8"] < 0.7 * sizes["half"]
    with pytest.raises(InputError, match="train a smaller model"):
        ship.write_small(run / "best.weights.h5", tmp_path / "none.h5", sizes["int8"] - 1)
    assert not (tmp_path / "none.h5").exists()


def test_a_folder_without_a_finished_run_is_refused_in_one_line(ship, tmp_path, capsys):
    assert ship.main(options(tmp_path, tmp_path / "out")) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and "no such file" in error
