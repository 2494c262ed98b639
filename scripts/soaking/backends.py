"""The backends side by side: the tests that each has to pass, and a small cycle that has to end alike on all.

The cycle starts from the model that comes with the package, so that each backend goes on from the same weights; their
random numbers differ. It has every stage: classifier, maps, pseudo masks, training, detection.
"""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

from cyclic.datasets.synthetic import write_tissue_set

BACKENDS = ("tensorflow", "jax", "torch")
ROOT = Path(__file__).resolve().parents[2]
# AJI that the cycle may end apart.
APART = 0.03
HANGS_AFTER = 3600
MODEL = "he-nuclei"
SETTINGS = (
    "precision=float32", "classifier.later_steps=10", "mask_rcnn.later_steps=20", "mask_rcnn.crop=128",
    "detection.tile=128", "detection.overlap=32",
)  # fmt: skip


def installed() -> list[str]:
    """Return the backends that are installed here."""
    return [name for name in BACKENDS if importlib.util.find_spec(name) is not None]


def compare_cycles(root: Path) -> dict:
    """Run one cycle on synthetic tissue with each backend that is installed.

    Raises:
        RuntimeError: one fails, or their last AJI on val lie further apart than `APART`.
    """
    data = root / "tissue"
    write_tissue_set(data, 3, 2, size=160)
    found = {}
    for name in installed():
        out = root / f"on_{name}"
        options = [part for setting in SETTINGS for part in ("--set", setting)]
        _run(name, "-m", "cyclic.cli", "adapt", data, "--weights", MODEL, "--out", out, *options)
        rows = json.loads((out / "metrics.json").read_text())["rows"]
        found[name] = {row["cycle"]: round(row["aji"], 4) for row in rows if row["source"] == "model"}
    last = [scores[max(scores)] for scores in found.values()]
    apart = round(max(last) - min(last), 4)
    if apart > APART:
        raise RuntimeError(f"AJI lie {apart} apart: {found}")
    return {"aji by cycle": found, "apart": apart, "not installed": sorted({*BACKENDS} - {*found})}


def run_tests() -> dict:
    """Run the tests that are marked `backends` with each backend that is installed.

    Raises:
        RuntimeError: one fails.
    """
    return {name: _passed(_run(name, "-m", "pytest", "-n", 0, "-q", "-m", "backends", ROOT)) for name in installed()}


def _passed(said: str) -> int:
    found = re.search(r"(\d+) passed", said)
    return int(found[1]) if found else 0


def _run(backend: str, *arguments: object) -> str:
    """Run Python with a backend and return what it printed."""
    call = [sys.executable, *map(str, arguments)]
    environment = os.environ | {"KERAS_BACKEND": backend}
    done = subprocess.run(call, env=environment, capture_output=True, text=True, timeout=HANGS_AFTER)
    if done.returncode != 0:
        raise RuntimeError(f"{backend}: exit code {done.returncode}: {(done.stdout + done.stderr)[-2000:]}")
    return done.stdout
