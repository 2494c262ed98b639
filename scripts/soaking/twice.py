"""A run that is trained twice writes the same bytes, on all threads of the processor.

Its crops are larger than those of the tests, and its ROIs are as many as by default. More threads add up a gradient.
"""

import json
import os
from pathlib import Path

from cyclic.datasets.synthetic import write_tissue_set
from soaking.kills import LASTING, check_same, digests
from soaking.launch import run_python

SETTINGS = {
    "cycles": 1,
    "scale": 1,
    "tiles": {"size": 48},
    "classifier": {"steps": 40},
    "mask_rcnn": {"width": "tiny", "crop": 128, "anchor_scales": [8, 16, 32, 64, 128]},
    "detection": {"batch": 4},
}
TRAIN, VAL, SIDE = 4, 1, 256
FEWER_THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS", "TF_DETERMINISTIC_OPS")


def train_twice(root: Path, steps: int) -> dict:
    """Train Mask R-CNN for `steps` steps in two processes of one seed, and compare what they write.

    Raises:
        RuntimeError: a training failed, or a file of the second is another one.
    """
    data, settings = root / "tissue", root / "settings.yaml"
    write_tissue_set(data, TRAIN, VAL, size=SIDE)
    settings.write_text(json.dumps(SETTINGS))  # JSON is YAML
    environment = {name: value for name, value in os.environ.items() if name not in FEWER_THREADS}
    given = ("--config", settings, "--data", data, "--set", f"mask_rcnn.steps={steps}")
    for run in ("first", "second"):
        run_python(("-m", "cyclic.cli", "train", *given, "--out", root / run), environment)
    files = digests(root / "first", LASTING)
    check_same(files, root / "second", LASTING)
    return {"steps": steps, "files": len(files)}
