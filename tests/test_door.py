"""`import cyclic`: what it offers, and that it leaves the process as it was."""

import subprocess
import sys

import numpy as np
import pytest

import cyclic


def test_importing_changes_nothing_in_the_process():
    script = (
        "import importlib, sys, typing; before = set(sys.modules); import cyclic\n"
        "added = set(sys.modules) - before\n"
        "print(sorted(added), 'numpy' in sys.modules, 'ctypes' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "['cyclic'] False False\n"


def test_every_name_is_there_and_no_other():
    assert all(getattr(cyclic, name) is not None for name in cyclic.__all__) and set(cyclic.__all__) <= set(dir(cyclic))
    with pytest.raises(AttributeError, match="no attribute 'predictor'; it has Prediction, Predictor"):
        cyclic.predictor  # noqa: B018


def test_evaluate_takes_prediction_and_truth():
    truth = np.zeros((20, 20), np.int32)
    truth[2:8, 2:8], truth[12:18, 12:18] = 1, 2
    half = np.where(truth == 1, 1, 0)
    scores = cyclic.evaluate(half, truth)
    assert scores["f1"] == pytest.approx(2 / 3) and scores["aji"] == pytest.approx(0.5)
    assert scores["precision"] == 1.0 and scores["recall"] == 0.5
