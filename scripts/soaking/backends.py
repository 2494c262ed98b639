"""A small cycle on each backend: they end with the same AJI, and read each other's weights.

Keras draws other numbers on each backend, so all begin with weights that the first of them wrote. They still differ in
last digits, and in which anchors and ROIs they draw.
"""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

from cyclic.datasets.synthetic import write_tissue_set
from cyclic.evaluation.metrics import evaluate
from cyclic.label_maps import read_label_map

BACKENDS = ("tensorflow", "jax", "torch")
# Two cycles of the smallest Mask R-CNN that finds nuclei. float32, since "auto" depends on the processor.
SMALL = {
    "cycles": 2,
    "scale": 1,
    "precision": "float32",
    "tiles": {"size": 48, "stride": 36},
    "classifier": {"steps": 200, "later_steps": 40},
    "mask_rcnn": {
        "width": "tiny", "crop": 128, "rois": 32, "steps": 480, "later_steps": 160, "learning_rate": 1e-3,
        "anchor_scales": [8, 16, 32, 64, 128],
    },
    "detection": {"batch": 4, "mask_threshold": 0.5},  # so short a training is nowhere surer
}  # fmt: skip
TRAIN, VAL, SIDE = 6, 4, 256
# AJI in which the trainings of two backends may differ, and the predictions from one file of weights.
TRAINED, MOVED = 0.03, 0.01
# What a model has to reach, or its agreement says nothing.
LEAST = 0.3
START = """
import sys
from cyclic.config import load_config
from cyclic.networks import Models
Models(load_config([sys.argv[1]])).save_mask_rcnn(sys.argv[2])
"""


def compare(root: Path) -> dict:
    """Train on each backend, and predict the images of val from the weights of each on each.

    Args:
        root: where to work.

    Returns:
        `aji`, `{backend: AJI of val after the last cycle}`, and `aji of weights`, `{"WRITER on READER": AJI}`.

    Raises:
        RuntimeError: a backend is missing, a command failed, or what they found differs.
    """
    absent = [name for name in BACKENDS if importlib.util.find_spec(name) is None]
    if absent:
        raise RuntimeError(f"not installed: {', '.join(absent)}; see requirements-backends.txt")
    data, settings, start = root / "tissue", root / "small.yaml", root / "start.h5"
    write_tissue_set(data, TRAIN, VAL, size=SIDE)
    shutil.copytree(data / "images", data / "val", ignore=shutil.ignore_patterns("train_*"))
    settings.write_text(json.dumps(SMALL))  # JSON is YAML
    _call(BACKENDS[0], "-c", START, settings, start)
    for backend in BACKENDS:
        options = ("--config", settings, "--set", f"backbone.weights={start}", "--data", data)
        _cyclic(backend, "train", *options, "--out", root / backend)
    trained = {backend: _aji_of_run(root / backend) for backend in BACKENDS}
    moved = {
        f"{writer} on {reader}": _aji_of_weights(
            reader, root / writer / "best.weights.h5", data, root / reader / writer
        )
        for writer in BACKENDS
        for reader in BACKENDS
    }
    found = {"aji": trained, "aji of weights": moved}
    spread = max(trained.values()) - min(trained.values())
    apart = [name for name, aji in moved.items() if abs(aji - trained[name.split()[0]]) > MOVED]
    if spread > TRAINED or min(trained.values()) < LEAST or apart:
        raise RuntimeError(f"the backends differ or learn nothing: {found}")
    return found


def _aji_of_run(run: Path) -> float:
    rows = json.loads((run / "metrics.json").read_text())["rows"]
    return [row["aji"] for row in rows if row["source"] == "model" and row["split"] == "val"][-1]


def _aji_of_weights(backend: str, weights: Path, data: Path, out: Path) -> float:
    """Return the mean AJI of the images of val, as a backend predicts them from weights of any."""
    _cyclic(backend, "predict", data / "val", "--weights", weights, "--mpp", 0.25, "--out", out)
    labels = {path: data / "labels" / f"{path.stem}.png" for path in sorted(out.glob("*.tif"))}
    scores = [evaluate(read_label_map(path), read_label_map(true))["aji"] for path, true in labels.items()]
    return float(np.mean(scores))


def _cyclic(backend: str, *arguments: object) -> None:
    _call(backend, "-m", "cyclic.cli", *arguments)


def _call(backend: str, *arguments: object) -> None:
    """Run Python with a backend.

    PyTorch gets one thread: where others are at work too, its threads wait for each other.
    """
    threads = {"OMP_NUM_THREADS": "1"} if backend == "torch" else {}
    environment = os.environ | threads | {"KERAS_BACKEND": backend}
    done = subprocess.run([sys.executable, *map(str, arguments)], env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{backend}: {arguments[:3]}: exit code {done.returncode}: {done.stderr[-2000:]}")
