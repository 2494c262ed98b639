"""Thousands of predictions in one process: memory and open files stay as they are after the first."""

import os
import resource
import sys
import warnings
from pathlib import Path

import numpy as np

import cyclic
from cyclic.datasets.synthetic import draw_tissue

SIDES = (64, 80, 96, 128)
# Predictions before memory is looked at: each size has been seen, and its functions compiled.
WARM_UP = 200


def predict_many(weights: Path, count: int) -> dict:
    """Predict `count` images of four sizes; return memory and open files, after warming up and at the end."""
    predictor = cyclic.Predictor.load(weights)
    rng = np.random.default_rng(0)
    images = [draw_tissue(rng, side)[0] for side in SIDES]
    seen = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number in range(count):
            predictor.predict(images[number % len(images)])
            if number + 1 >= min(WARM_UP, count // 2):
                seen.append((_resident_mb(), _open_files()))
    (first_mb, first_files), (last_mb, last_files) = seen[0], seen[-1]
    return {
        "predictions": count,
        "resident_mb": [round(first_mb, 1), round(last_mb, 1)],
        "highest_mb": round(max(mb for mb, _ in seen), 1),
        "memory ratio": round(last_mb / first_mb, 4),
        "open files": [first_files, last_files],
    }


def _resident_mb() -> float:
    if sys.platform != "linux":  # the most so far: all that other systems tell
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _open_files() -> int:
    return len(os.listdir("/dev/fd"))
