"""The GPU benchmark: peaks of cards, operations of a step, its cases, and what it says without a GPU."""

import argparse
import json
import pathlib

import keras
import numpy as np
import pytest

SCRIPTS = pathlib.Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)


@pytest.fixture
def gpu(scripts):
    import benchmarks.gpu

    return benchmarks.gpu


def arguments(gpu, *given):
    parser = argparse.ArgumentParser()
    gpu.add_arguments(parser)
    return parser.parse_args(given)


@pytest.mark.parametrize(
    ("device", "precision", "tflops"),
    [
        ("NVIDIA H100 80GB HBM3", "tf32", 494.7),
        ("NVIDIA H100 80GB HBM3", "float32", 66.9),
        ("NVIDIA H100 PCIe", "mixed_bfloat16", 756.5),
        ("NVIDIA H200", "mixed_bfloat16", 989.4),
        ("NVIDIA A100-SXM4-80GB", "tf32", 156.0),
        ("NVIDIA L40S", "tf32", 183.0),
        ("NVIDIA GeForce RTX 4090", "mixed_bfloat16", 165.2),
        ("Tesla T4", "tf32", 8.1),
        ("Tesla V100-SXM2-16GB", "mixed_bfloat16", 15.7),
        ("NVIDIA H100 NVL", "tf32", None),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", "tf32", None),
        ("", "tf32", None),
    ],
)
def test_peak_of_a_card(device, precision, tflops):
    from benchmarks.peaks import peak_tflops

    assert peak_tflops(device, precision) == tflops


def test_operations_of_a_convolution_and_of_a_step():
    from benchmarks.work import operations, step_operations

    image = keras.Input((8, 8, 3))
    model = keras.Model(image, keras.layers.Dense(5)(keras.layers.Conv2D(4, 3, padding="same")(image)))
    assert operations(model, np.zeros((2, 8, 8, 3))) == 2 * 2 * 64 * (9 * 3 * 4 + 4 * 5)
    # Three products for each layer of the step, but one for the RPN of all anchors.
    assert step_operations({"backbone": 10.0, "RPN": 4.0, "box head": 1.0}) == 3 * 11.0 + 4.0


def test_cases_have_the_cards_peak_or_the_one_given(gpu):
    chosen = arguments(gpu, "--precision", "tf32", "float32", "--only", "step", "schedule", "--batch", "1", "8")
    cases = gpu._cases(chosen, "NVIDIA H100 80GB HBM3")
    assert [case["peak"] for case in cases] == [494.7, 494.7, 66.9, 66.9, 494.7, 66.9]
    assert [gpu._name(case) for case in cases[-3:]] == [
        "step, batch 8, 512 x 512, float32",
        "schedule, 512 x 512, tf32",
        "schedule, 512 x 512, float32",
    ]
    chosen.peak_tflops = [1.0, 2.0]
    assert {case["peak"] for case in gpu._cases(chosen, "another card")} == {1.0, 2.0}
    chosen.peak_tflops = [1.0]
    with pytest.raises(gpu.InputError, match="one number for each"):
        gpu._cases(chosen, "another card")


def test_without_a_gpu_one_line_and_exit_code_2(gpu, monkeypatch, capsys):
    import benchmark

    monkeypatch.setattr(gpu, "_in_process", lambda function, *case: (None, "jax"))
    assert benchmark.main(["gpu"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "Keras on jax finds no GPU" in line


def test_a_case_that_fails_leaves_the_others(gpu, monkeypatch, capsys):
    def in_process(function, *case):
        if not case:
            return "NVIDIA H200", "torch"
        if case[0]["batch"] == 8:
            raise MemoryError("too large")
        return [{"case": "step", "ours_s": 1.0}]

    monkeypatch.setattr(gpu, "_in_process", in_process)
    small, large = gpu.run(arguments(gpu, "--only", "step"))
    assert small == {"case": "step", "ours_s": 1.0, "device": "NVIDIA H200", "backend": "torch"}
    assert large["case"] == "step, batch 8, 512 x 512, tf32" and large["ours_s"] is None
    assert large["error"] == "MemoryError: too large"
    assert [json.loads(line) for line in capsys.readouterr().err.splitlines()] == [small, large]


def test_no_case_starts_too_late(gpu, monkeypatch, capsys):
    monkeypatch.setattr(gpu, "_in_process", lambda function, *case: [] if case else ("NVIDIA H200", "torch"))
    assert gpu.run(arguments(gpu, "--only", "step", "--batch", "1", "--minutes", "-1")) == []
    assert "left out" in capsys.readouterr().err


def test_stages_of_a_small_network(monkeypatch):
    from benchmarks import training_stages

    monkeypatch.syspath_prepend(SCRIPTS.parent / "tests" / "mrcnn")
    from tiny_model import OneImage, TinyConfig, small_network

    class Config(TinyConfig):
        USE_IGNORE = False

    build = training_stages.MaskRCNN
    monkeypatch.setattr(training_stages, "configuration", lambda settings: Config())
    monkeypatch.setattr(training_stages, "TissueImage", lambda *arguments: OneImage())

    def small(mode, config):
        return build(mode, config, network=small_network(config))

    monkeypatch.setattr(training_stages, "MaskRCNN", small)
    monkeypatch.setattr(training_stages, "WARM_UP", 1)
    stages = training_stages.TrainingStages({"side": 64, "precision": "tf32"}, 1)
    before = [weight.numpy() for weight in stages.network.fpn.weights]
    rows = stages.rows()
    names = [name for name, _, _ in rows]
    assert names[:4] == ["backbone", "FPN", "RPN", "RPN, sampled anchors"] and "whole step" in names
    work = {name: operations for name, operations, _ in rows}
    parts = ("backbone", "FPN", "RPN", "RPN, sampled anchors", "box head", "mask head")
    assert work["forward with losses"] == sum(work[part] for part in parts)
    assert work["whole step"] == 3 * work["forward with losses"] - 2 * work["RPN"]
    assert all(seconds >= 0 for name, _, seconds in rows if name != "backward")
    assert any((a != b.numpy()).any() for a, b in zip(before, stages.network.fpn.weights, strict=True))
