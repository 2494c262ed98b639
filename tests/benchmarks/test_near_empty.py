"""The benchmark of near-empty images: which images count, and what the verdict changes."""

import importlib.util
import json
import pathlib
import types

import numpy as np
import pytest
from small_model import SMALL

from cyclic.config import load_config
from cyclic.errors import InputError
from cyclic.files import write_image
from cyclic.inference.predictor import Prediction
from cyclic.label_maps import write_label_map
from cyclic.networks import Models
from cyclic.trained import write_finished

SCRIPTS = pathlib.Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture
def near_empty(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    import benchmarks.near_empty

    return benchmarks.near_empty


@pytest.fixture
def data(tmp_path):
    """Images of 0, 2 and 5 nuclei."""
    for name, count in (("bare", 0), ("few", 2), ("many", 5)):
        labels = np.zeros((100, 100), np.int32)
        for label in range(1, count + 1):
            labels[5:10, 8 * label : 8 * label + 5] = label
        write_label_map(tmp_path / f"data/labels/{name}.tif", labels)
        write_image(tmp_path / f"data/images/{name}.png", np.full((100, 100, 3), 200, np.uint8))
    return tmp_path / "data"


def test_images_with_few_nuclei_count(near_empty, data):
    assert list(near_empty.near_empty_images(data, 0)) == ["bare"]
    assert list(near_empty.near_empty_images(data, 2)) == ["bare", "few"]
    for name in ("bare", "few"):
        (data / f"labels/{name}.tif").unlink()
    with pytest.raises(InputError, match="no labelled image of 4 nuclei or fewer"):
        near_empty.near_empty_images(data, 4)


def test_false_nuclei_are_counted_with_the_verdict_and_without(near_empty):
    def side(count):
        labels = np.zeros((100, 100), np.int32)
        for label in range(1, count + 1):
            labels[50:54, 8 * label : 8 * label + 4] = label
        return types.SimpleNamespace(predict=lambda image, mpp: Prediction(labels, np.ones(count, np.float32)))

    image, bare = np.zeros((100, 100, 3), np.uint8), np.zeros((100, 100), np.int32)
    rows = [
        near_empty.compare(name, image, bare, (side(on), side(off)), 1.0) for name, on, off in ((0, 1, 4), (1, 0, 2))
    ]
    assert [row["false_per_mm2"] for row in rows] == [pytest.approx(100), 0]
    assert [row["false_per_mm2_off"] for row in rows] == pytest.approx([400, 200])
    total = near_empty.total(rows)
    assert (total["n_pred"], total["n_pred_off"], total["empty_mm2"]) == (1, 6, pytest.approx(0.02))
    assert (total["false_per_mm2"], total["false_per_mm2_off"]) == (pytest.approx(50), pytest.approx(300))


def test_the_benchmark_on_tiny_weights(near_empty, data, tmp_path):
    models = Models(load_config((), (*SMALL, "scale=1", "tiles.size=32")))
    models.save_mask_rcnn(tmp_path / "model.h5")
    models.save_classifier(tmp_path / "classifier.h5")
    write_finished(tmp_path / "best.h5", tmp_path / "model.h5", tmp_path / "classifier.h5")
    spec = importlib.util.spec_from_file_location("benchmark", SCRIPTS / "benchmark.py")
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)

    def call(weights):
        options = ["--weights", str(tmp_path / weights), "--data", str(data), "--at-most", "2"]
        return benchmark.main(["near_empty", *options, "--json", str(tmp_path / "out.json")])

    assert call("model.h5") == 2 and not (tmp_path / "out.json").exists()
    assert call("best.h5") == 0
    content = json.loads((tmp_path / "out.json").read_text())
    assert content["name"] == "near_empty" and content["command"].startswith("python scripts/benchmark.py near_empty")
    assert [row["case"] for row in content["results"]] == ["bare", "few", "2 images"]
    for row in content["results"]:
        assert row["peer"] == "verdict off" and row["ours_s"] > 0 and row["ratio"] == row["ours_s"] / row["peer_s"]
        assert row["n_pred"] <= row["n_pred_off"] and row["false_per_mm2"] <= row["false_per_mm2_off"]
