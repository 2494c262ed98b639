"""Every example in a docstring runs, and says what it says."""

import doctest
import importlib
from pathlib import Path

import pytest

import cyclic
from cyclic.images import read_image

ROOT = Path(cyclic.__file__).parent
MODULES = sorted(
    ".".join(path.relative_to(ROOT.parent).with_suffix("").parts)
    for path in ROOT.rglob("*.py")
    if ">>>" in path.read_text()
)


def run_examples(name, **names):
    result = doctest.testmod(importlib.import_module(name), extraglobs=names)
    assert result.attempted > 0 and result.failed == 0


@pytest.mark.parametrize("name", [name for name in MODULES if name != "cyclic.inference.predictor"])
def test_examples(name):
    run_examples(name)


def test_examples_of_the_predictor(tiny_run):
    image = read_image(tiny_run.data / "images/val_000.png")
    run_examples("cyclic.inference.predictor", weights=tiny_run.run / "best.weights.h5", image=image)
