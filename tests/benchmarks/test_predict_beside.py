"""The benchmark of whole images: the peers are what they are said to be, and its rows hold what was measured."""

import importlib.util
import json
import pathlib
import subprocess

import keras
import numpy as np
import pytest
from small_model import SMALL

from cyclic.config import load_config
from cyclic.files import write_image
from cyclic.mrcnn.layers.heads import build_mask_head
from cyclic.networks import Models

SCRIPTS = pathlib.Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture
def predict(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    import benchmarks.predict

    return benchmarks.predict


def has_commit(predict):
    command = ["git", "-C", str(SCRIPTS), "cat-file", "-e", predict.old_build.COMMIT]
    return subprocess.run(command, capture_output=True).returncode == 0


def test_networks_of_the_peers(predict):
    from benchmarks.unets import plain_unet, stardist_network

    network = stardist_network()
    # As many as StarDist 0.9.2 counts in a model of Config2D(axes="YXC", n_channel_in=3, n_rays=32, grid=(2, 2)).
    assert network.count_params() == 1_425_761
    probabilities, distances = network.predict_on_batch(np.zeros((1, 32, 48, 3), np.float32))
    assert probabilities.shape == (1, 16, 24, 1) and distances.shape == (1, 16, 24, 32)
    assert plain_unet().predict_on_batch(np.zeros((1, 16, 24, 3), np.float32)).shape == (1, 16, 24, 3)


def test_a_widened_mask_head_gives_the_same_masks(predict):
    pooled = np.random.default_rng(0).normal(size=(3, 14, 14, 8)).astype(np.float32)
    narrow, wide = (build_mask_head(2, 14, 8, "group", width) for width in (64, 128))
    for weight in narrow.weights:
        weight.assign(keras.random.normal(weight.shape, stddev=0.3, seed=1))
    for layer in wide.layers:
        weights = [np.asarray(weight) for weight in narrow.get_layer(layer.name).get_weights()]
        layer.set_weights(predict.old_build.widen(layer.name, weights, 2) if weights else [])
    masks = narrow.predict_on_batch(pooled)
    assert masks.std() > 0.1
    np.testing.assert_allclose(wide.predict_on_batch(pooled), masks, atol=1e-4)


def test_rows_on_a_tiny_image_and_network(predict, monkeypatch, tmp_path):
    from benchmarks import workers

    def worker(contender, settings):
        # Only the old build, which brings a package of the same name, needs a process of its own.
        return (workers.Worker if contender == "benchmarks.old_build:Detect" else workers.Local)(contender, settings)

    monkeypatch.setattr(predict, "Worker", worker)
    spec = importlib.util.spec_from_file_location("benchmark", SCRIPTS / "benchmark.py")
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    Models(load_config((), SMALL)).save_mask_rcnn(tmp_path / "model.h5")
    noise = np.random.default_rng(0).integers(0, 255, (64, 80, 3), dtype=np.uint8)
    write_image(tmp_path / "data/one.png", noise)
    peers = ["old"] * has_commit(predict) + ["stardist", "unet"]
    options = ["--weights", str(tmp_path / "model.h5"), "--data", str(tmp_path / "data"), "--repeats", "1"]
    options += ["--set", "detection.verdict=false"]
    assert benchmark.main(["predict", *options, "--peers", *peers, "--json", str(tmp_path / "out.json")]) == 0

    rows = json.loads((tmp_path / "out.json").read_text())["results"]
    assert [row["peer"] for row in rows] == [predict.PEERS[name][0] for name in peers]
    for row in rows:
        assert row["ratio"] == row["ours_s"] / row["peer_s"]
        assert row["cpu_ratio"] == row["ours_cpu_s"] / row["peer_cpu_s"]
        assert row["ours_peak_mb"] > 1 and row["peer_peak_mb"] > 1
        for side in ("ours", "peer"):
            facts = row[f"{side}_facts"]
            assert facts["pixels_per_s"] == pytest.approx(64 * 80 / row[f"{side}_s"])
            if "nuclei" in facts:
                assert facts["nuclei_per_s"] == facts["nuclei"] / row[f"{side}_s"]
        assert row["ours_facts"]["verdict"] is False and "nuclei" in row["ours_facts"]
    if has_commit(predict):
        old = rows[0]["peer_facts"]
        assert (old["tile"], old["proposals"], old["mask_channels"]) == (256, 1000, 128)
        assert "nuclei" in old
