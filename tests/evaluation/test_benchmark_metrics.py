"""The benchmark of the metrics compares the same figures that we compute."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from cyclic.evaluation.metrics import evaluate_pair

SCRIPTS = pathlib.Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture
def metrics(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    import benchmarks.metrics

    return benchmarks.metrics


def test_peer_measures_the_same(metrics):
    true, pred = metrics.draw_pair(250, np.random.default_rng(0))
    assert true.max() == 25 and 18 < pred.max() < 25
    assert len(np.unique(pred)) == pred.max() + 1
    found = evaluate_pair(true, pred)
    for name, value in metrics.naive_metrics(true, pred).items():
        assert found[name] == pytest.approx(value, abs=1e-6), name


def run_script(*arguments):
    command = [sys.executable, SCRIPTS / "benchmark.py", *arguments]
    environment = os.environ | {"PYTHONPATH": str(SCRIPTS.parent)}
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, env=environment)


def test_script_writes_the_contract(tmp_path):
    path = tmp_path / "b.json"
    done = run_script("metrics", "--sizes", 100, 150, "--peer-up-to", 100, "--repeats", 1, "--json", path)
    assert done.returncode == 0, done.stderr
    content = json.loads(path.read_text())
    assert content["name"] == "metrics" and "cores" in content["machine"] and "--sizes 100 150" in content["command"]
    small, large = content["results"]
    assert small["case"] == "100 x 100 px, 4 nuclei" and small["ratio"] == small["peer_s"] / small["ours_s"]
    assert large["ours_s"] > 0 and large["peer"] is large["peer_s"] is large["ratio"] is None


def test_unknown_benchmark():
    done = run_script("nothing")
    assert done.returncode == 2 and "metrics" in done.stderr
