"""A small cycle on each backend: they end with the same AJI, and read each other's weights.

Keras draws other numbers on each backend, so all go on from one untrained model that the first of them wrote. They
still differ in last digits, and in which ROIs they draw. So do the seeds of one backend, and their means are compared.
"""

import importlib.util
import json
import os
import shutil
from pathlib import Path

import numpy as np

from cyclic.datasets.synthetic import write_tissue_set
from cyclic.evaluation.metrics import evaluate
from cyclic.label_maps import read_label_map
from soaking.launch import run_python

BACKENDS = ("tensorflow", "jax", "torch")
# One cycle of the smallest Mask R-CNN that finds nuclei. float32, since "auto" depends on the processor. What goes on
# from a model takes the steps and rates of later cycles.
SMALL = {
    "cycles": 1,
    "scale": 1,
    "precision": "float32",
    "tiles": {"size": 48},
    "classifier": {"later_steps": 200, "later_learning_rate": 1e-3},
    "mask_rcnn": {
        "width": "tiny", "crop": 128, "rois": 32, "later_steps": 640, "later_learning_rate": 1e-3,
        "anchor_scales": [8, 16, 32, 64, 128],
    },
    "detection": {"batch": 4, "mask_threshold": 0.5},  # so short a training is nowhere surer
}  # fmt: skip
TRAIN, VAL, SIDE, STRIDE = 6, 8, 256, 36
SEEDS = (0, 1, 2)
# AJI in which the trainings of two backends may differ, and the predictions from one file of weights.
TRAINED, MOVED = 0.03, 0.01
# What a model has to reach, or its agreement says nothing.
LEAST = 0.3
START = """
import sys
from cyclic.config import load_config
from cyclic.networks import Models
from cyclic.trained import write_finished
settings, weights, model, classifier = sys.argv[1:]
models = Models(load_config([settings]))
models.save_mask_rcnn(model)
models.save_classifier(classifier)
write_finished(weights, model, classifier)
"""


def compare(root: Path) -> dict:
    """Train on each backend, and predict the images of val from the weights of each on each.

    Args:
        root: where to work.

    Returns:
        `aji`, `{backend: mean AJI of val over the seeds}`, `aji by seed`, `{backend: [AJI]}`, and `aji of weights`,
        `{"WRITER on READER": AJI}` of the first seed.

    Raises:
        RuntimeError: a backend is missing, a command failed, or what they found differs.
    """
    absent = [name for name in BACKENDS if importlib.util.find_spec(name) is None]
    if absent:
        raise RuntimeError(f"not installed: {', '.join(absent)}; see requirements-backends.txt")
    by_seed = _train_all(root)
    trained = {backend: float(np.mean(ajis)) for backend, ajis in by_seed.items()}
    moved = {
        f"{writer} on {reader}": _aji_of_weights(
            reader, root / f"{writer}_0" / "best.weights.h5", root / "tissue", root / f"{writer}_on_{reader}"
        )
        for writer in BACKENDS
        for reader in BACKENDS
    }
    found = {"aji": trained, "aji by seed": by_seed, "aji of weights": moved}
    spread = max(trained.values()) - min(trained.values())
    apart = [name for name, aji in moved.items() if abs(aji - by_seed[name.split()[0]][0]) > MOVED]
    if spread > TRAINED or min(trained.values()) < LEAST or apart:
        raise RuntimeError(f"the backends differ or learn nothing: {found}")
    return found


def _train_all(root: Path) -> dict[str, list[float]]:
    """Train in `root/BACKEND_SEED`, from one model on one data set, and return each backend's AJI of val by seed."""
    data, tiles, settings, start = (root / name for name in ("tissue", "tiles", "small.yaml", "start.h5"))
    write_tissue_set(data, TRAIN, VAL, size=SIDE)
    shutil.copytree(data / "images", data / "val", ignore=shutil.ignore_patterns("train_*"))
    settings.write_text(json.dumps(SMALL))  # JSON is YAML
    of_tiles = ("--size", SMALL["tiles"]["size"], "--stride", STRIDE, "--out", tiles)
    _cyclic(BACKENDS[0], "tiles", "--images", data / "images", "--labels", data / "labels", *of_tiles)
    _call(BACKENDS[0], "-c", START, settings, start, root / "model.h5", root / "classifier.h5")
    given = ("--config", settings, "--data", data, "--set", f"start={start}", "--set", f"tiles.folder={tiles}")
    for seed in SEEDS:
        for backend in BACKENDS:
            _cyclic(backend, "train", *given, "--set", f"seed={seed}", "--out", root / f"{backend}_{seed}")
    return {backend: [_aji_of_run(root / f"{backend}_{seed}") for seed in SEEDS] for backend in BACKENDS}


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
    run_python(arguments, os.environ | threads | {"KERAS_BACKEND": backend})
