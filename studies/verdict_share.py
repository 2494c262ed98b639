"""Show what each share of the surest detections' evidence scores on a run's training images, cycle by cycle.

A detection needs `detection.evidence`, or SHARE of what the surest ones of its image have. The AJI for several shares,
mean of the training images; `0` is `detection.evidence` alone. Only the cycles count whose training images were
detected: all but the last.

Reads instance labels of training images. This is how SHARE in `cyclic/inference/verdict.py` was chosen.

Example:
    python studies/verdict_share.py RUN --data DATA --json FILE
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import by_cycle
import numpy as np

from cyclic.cycle.stages.detections import load_detections
from cyclic.datasets.layouts import open_splits
from cyclic.evaluation.metrics import evaluate
from cyclic.images import read_map
from cyclic.inference import verdict
from cyclic.inference.detect import drop_unsure
from cyclic.labels import mean_within, relabel
from cyclic.runs.directory import read_run_config
from cyclic.runs.paths import RunPaths

SHARES = (0.0, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9)


def rows(run: RunPaths, data: list[Path]) -> Iterator[dict]:
    """Yield a row a cycle: its number, the surest detections' median evidence, and the AJI of each share."""
    config, (train, _) = read_run_config(run.root), open_splits(data)
    for cycle in run.cycles():
        folder = run.cycle(cycle).round(config.rounds.students).detections
        if not all((folder / f"{name}.json").is_file() for name in train.ids):
            continue
        usual, ajis = [], []
        for name in train.ids:
            labels, scores = drop_unsure(*load_detections(folder, name), config.detection.score)
            evidence = mean_within(read_map(run.cycle(cycle).map(name)), labels, len(scores))
            usual.append(np.median(evidence[scores >= verdict.SUREST]))
            true, ajis_of_image = train.label_map(name), []
            for share in SHARES:
                verdict.SHARE = share
                kept = verdict.are_nuclei(evidence, scores, config.detection.evidence)
                ajis_of_image.append(evaluate(relabel(labels, np.append(False, kept)), true)["aji"])
            ajis.append(ajis_of_image)
        means = zip(map(str, SHARES), np.mean(ajis, axis=0).tolist(), strict=True)
        yield {"cycle": cycle, "usual evidence": float(np.median(usual)), "aji": dict(means)}


def lines_of(row: dict) -> Iterator[str]:
    """Yield the line to print of a row."""
    shares = "  ".join(f"{share}: {aji:.4f}" for share, aji in row["aji"].items())
    yield f"cycle {row['cycle']}, usual evidence {row['usual evidence']:.3f}: {shares}"


def main() -> int:
    return by_cycle.main(__doc__, rows, lines_of)


if __name__ == "__main__":
    sys.exit(main())
