"""The model that the package ships: it is what its card says, and finds nuclei."""

import shutil

import numpy as np
import pytest
from test_docs import ROOT, script

from cyclic.datasets.synthetic import draw_tissue
from cyclic.evaluation.metrics import evaluate_pair
from cyclic.files import digest
from cyclic.inference.predictor import Predictor
from cyclic.models import registry
from cyclic.models.card import read_card

SHIPPED = [model for model in registry.models().values() if model.is_shipped]


@pytest.fixture(autouse=True)
def homes(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))


@pytest.mark.parametrize("model", SHIPPED, ids=lambda model: model.card.name)
def test_the_file_is_that_of_the_card(model):
    path = registry.weights_file(model.card.name)
    assert digest(path) == model.card.sha256 and path.stat().st_size < 20_000_000
    assert "CC BY-NC-SA" in model.card.licence and {"trained_on", "answers", "limits"} < model.card.about.keys()


def test_its_card_has_the_scores_that_the_results_have(tmp_path):
    shipped, copy = SHIPPED[0], tmp_path / "he-nuclei.json"
    shutil.copyfile(shipped.folder / copy.name, copy)
    assert shipped.card.about["scores"].keys() >= {"monuseg", "tnbc", "consep"}
    files = [str(ROOT / f"results/labs/elsewhere_two_stains{name}.json") for name in ("", "_consep")]
    card_scores = script(ROOT / "scripts/card_scores.py")
    assert card_scores.main(["he-nuclei", *files, "--folder", str(tmp_path)]) == 0
    assert read_card(copy) == shipped.card


def test_scores_of_other_weights_are_refused_in_one_line(tmp_path, capsys):
    copy = tmp_path / "he-nuclei.json"
    shutil.copyfile(SHIPPED[0].folder / copy.name, copy)
    for name, said in (("elsewhere_labs_seed0.json", "scores of other weights"), ("none.json", "no such file")):
        call = ["he-nuclei", str(ROOT / "results/labs" / name), "--folder", str(tmp_path)]
        assert script(ROOT / "scripts/card_scores.py").main(call) == 2
        error = capsys.readouterr().err
        assert said in error and name in error and error.count("\n") == 1
    assert read_card(copy) == SHIPPED[0].card


def test_it_finds_nuclei_without_any_training():
    image, truth = draw_tissue(np.random.default_rng(0), 192)
    prediction = Predictor.load(registry.weights_file(None), ["detection.tile=192", "detection.overlap=64"]).predict(
        image, mpp=0.25
    )
    assert evaluate_pair(truth, prediction.labels)["f1"] > 0.3
