"""The backends that are installed compute the same: ties, the spread of relevance, relevance maps, and nuclei."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

import keras
import numpy as np
import pytest

from cyclic import Predictor, evaluate, networks
from cyclic.activation.lrp import lrp
from cyclic.backbones import build_backbone
from cyclic.classifier import build_classifier
from cyclic.datasets.synthetic import draw_tissue

TESTS = Path(__file__).parent
TIED = TESTS / "mrcnn" / "kernels" / "test_ties.py"
SPREAD = f"{TESTS / 'activation' / 'test_lrp.py'}::test_rest_is_spread_evenly_over_the_pixels_in_view"


@pytest.fixture(scope="module", params=["tensorflow", "jax", "torch"])
def other(request):
    """Run Python with this backend, which is not the one of the tests; return what it printed."""
    if request.param == keras.backend.backend():
        pytest.skip("every other test runs on this backend")
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed")

    def run(*arguments):
        paths = os.pathsep.join([str(TESTS), *sys.path])
        environment = os.environ | {"KERAS_BACKEND": request.param, "PYTHONPATH": paths}
        call = [sys.executable, *map(str, arguments)]
        return subprocess.run(call, env=environment, capture_output=True, text=True, cwd=TESTS.parent)

    return run


def relevance():
    """Relevance of a ResNet-18 whose weights and image come from NumPy, `[1, 64, 64]` float32."""
    classifier = build_classifier(build_backbone("resnet18", "frozen", (64, 64, 3)), ("C3",))
    rng = np.random.default_rng(0)
    for weight in classifier.weights:
        if weight.name == "kernel":
            weight.assign(rng.normal(0, np.sqrt(2 / np.prod(weight.shape[:-1])), weight.shape))
        elif weight.name in ("bias", "beta", "moving_mean"):
            weight.assign(rng.normal(0, 0.1, weight.shape))
    return lrp(classifier, rng.normal(0, 40, (1, 64, 64, 3)).astype("float32"), "C3")


def test_ties_and_spread_hold_on_other_backends(other):
    done = other("-m", "pytest", "-q", "-p", "no:cacheprovider", TIED, SPREAD)
    assert done.returncode == 0, done.stdout


def test_relevance_is_the_same_on_other_backends(other, tmp_path):
    done = other("-c", f"import numpy as np, test_backends as t; np.save({str(tmp_path / 'map.npy')!r}, t.relevance())")
    assert done.returncode == 0, done.stderr
    expected = relevance()
    np.testing.assert_allclose(np.load(tmp_path / "map.npy"), expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def nuclei():
    """Label map of synthetic tissue by the model that the package ships, in float32, `[128, 128]` int."""
    with mock.patch.object(networks, "precision", lambda config: "float32"):
        return Predictor.load("he-nuclei").predict(draw_tissue(np.random.default_rng(0), 128)[0], mpp=0.25).labels


def test_the_shipped_model_finds_the_same_nuclei_on_other_backends(other, tmp_path):
    file = tmp_path / "nuclei.npy"
    done = other("-c", f"import numpy as np, test_backends as t; np.save({str(file)!r}, t.nuclei())")
    assert done.returncode == 0, done.stderr
    expected = nuclei()
    assert expected.max() > 5 and evaluate(np.load(file), expected)["aji"] > 0.99
