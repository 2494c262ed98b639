"""The estimate for a large slide: what is counted, and how it grows."""

import argparse
import json
import pathlib
import types

import keras
import pytest

SCRIPTS = pathlib.Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture
def whole_slide(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    import benchmarks.whole_slide

    return benchmarks.whole_slide


def test_a_layer_counts_two_operations_for_each_product(whole_slide):
    from benchmarks.work import operations

    model = keras.Sequential([keras.Input((10, 20, 3)), keras.layers.Conv2D(8, 3, padding="same")])
    model.add(keras.layers.Dense(5))
    assert operations(model, keras.Input(batch_shape=(1, 10, 20, 3))) == 2 * 10 * 20 * (3 * 3 * 3 * 8 + 8 * 5)


def test_the_estimate_worked_out_by_hand(whole_slide, monkeypatch, tmp_path):
    config = types.SimpleNamespace(mpp=0.25, detection=types.SimpleNamespace(tile=384, overlap=64))
    predictor = types.SimpleNamespace(config=config)
    monkeypatch.setattr("cyclic.slides.predictor.Predictor.load", lambda name: predictor)
    monkeypatch.setattr(whole_slide, "tile_operations", lambda *_: {"backbone": 6e9, "mask head": 4e9})
    (tmp_path / "slides.json").write_text(json.dumps({"results": [{"case": "a", "mpx_per_s": 2.0}]}))
    parser = argparse.ArgumentParser()
    whole_slide.add_arguments(parser)
    options = ["--side", "32000", "--tissue", "0.5", "--shares", "0.1", "--host", str(tmp_path / "slides.json")]
    rows = {row["case"]: row for row in whole_slide.run(parser.parse_args(options))}
    # Half of 100 x 100 squares of 320 px, which is 64 mm2 in all.
    assert rows["slide"]["tiles"] == 5000 and rows["slide"]["mm2"] == pytest.approx(32)
    assert rows["slide"]["gflop"] == pytest.approx(50_000)
    assert rows["mm2 of tissue"]["gflop"] == pytest.approx(1562.5)
    assert rows["slide: network, 10% of 989.4 TFLOP/s"]["ours_s"] == pytest.approx(50 / 98.94)
    assert rows["slide: host, as a"]["ours_s"] == pytest.approx(256)
