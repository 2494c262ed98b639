"""The model that the package ships: it is what its card says, and finds nuclei."""

import numpy as np
import pytest

from cyclic.datasets.synthetic import draw_tissue
from cyclic.evaluation.metrics import evaluate_pair
from cyclic.files import digest
from cyclic.inference.predictor import Predictor
from cyclic.models import registry

SHIPPED = [model for model in registry.models().values() if model.is_shipped]


@pytest.fixture(autouse=True)
def homes(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))


@pytest.mark.parametrize("model", SHIPPED, ids=lambda model: model.card.name)
def test_the_file_is_that_of_the_card(model):
    path = registry.weights_file(model.card.name)
    assert digest(path) == model.card.sha256 and path.stat().st_size < 20_000_000
    assert "CC BY-NC-SA" in model.card.licence and {"trained_on", "answers", "val", "limits"} <= model.card.about.keys()


def test_it_finds_nuclei_without_any_training():
    image, truth = draw_tissue(np.random.default_rng(0), 192)
    prediction = Predictor.load(registry.weights_file(None), ["detection.tile=192", "detection.overlap=64"]).predict(
        image, mpp=0.25
    )
    assert evaluate_pair(truth, prediction.labels)["f1"] > 0.3
