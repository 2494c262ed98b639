"""Show how many of the detections that may teach are right, with and without the first map's evidence for them.

Of the training images' detections of `rounds.score` or more: how many match a nucleus at IoU > 0.5, how many lie in the
background (over 80 % of their pixels), and what share of the nuclei they match. `confirmed` are those for which the
map of the first cycle has evidence.

Reads instance labels, so it is for looking back at a run; nothing is selected by it.

Example:
    python studies/sure_detections.py RUN --data DATA --json FILE
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import by_cycle
import numpy as np

from cyclic.cycle.stages.detections import load_detections
from cyclic.datasets.layouts import open_splits
from cyclic.evaluation.matching import contingency, match
from cyclic.images import read_map
from cyclic.runs.directory import read_run_config
from cyclic.runs.paths import RunPaths
from cyclic.semi.self_training import doubt_unconfirmed

IN_BACKGROUND = 0.8
COUNTS = ("detections", "right", "in_background", "nuclei")


def count(true: np.ndarray, labels: np.ndarray, sure: int) -> np.ndarray:
    """Return the `COUNTS` of one image, `[4]`.

    Args:
        true: `[H, W]` integer label map.
        labels: `[H, W]` int32 detections, 1..N in descending score.
        sure: so many of them may teach.
    """
    labels = np.where(labels <= sure, labels, 0)
    overlaps = contingency(true, labels)
    covered = np.bincount(overlaps.cols, overlaps.intersections, len(overlaps.pred_ids))
    background = covered < (1 - IN_BACKGROUND) * overlaps.pred_areas
    return np.array([len(overlaps.pred_ids), match(overlaps).tp, background.sum(), len(overlaps.true_ids)])


def figures(counts: np.ndarray) -> dict[str, float]:
    """Return counts and shares from the sum of `count`."""
    found, right, background, nuclei = counts
    shares = {"precision": right / max(found, 1), "background": background / max(found, 1), "recall": right / nuclei}
    return {name: int(value) for name, value in zip(COUNTS, counts, strict=True)} | shares


def rows(run: RunPaths, data: list[Path]) -> Iterator[dict]:
    """Yield a row a cycle whose training images were detected."""
    config, (train, _) = read_run_config(run.root), open_splits(data)
    for cycle in run.cycles():
        folder = run.cycle(cycle).round(config.rounds.students).detections
        sums = np.zeros((2, len(COUNTS)), int)
        for name in train.ids:
            if not (folder / f"{name}.json").is_file():
                break  # the last cycle's training images are not detected
            true, (labels, scores) = train.label_map(name), load_detections(folder, name)
            first = read_map(run.cycle(config.first_cycle).map(name))
            confirmed = doubt_unconfirmed(labels, scores, first, config.rounds.ignore_score)
            for place, (each, of_each) in enumerate(((labels, scores), confirmed)):
                sums[place] += count(true, each, int((of_each >= config.rounds.score).sum()))
        else:
            yield {"cycle": cycle, "all": figures(sums[0]), "confirmed": figures(sums[1])}


def lines_of(row: dict) -> Iterator[str]:
    """Yield the lines to print of a row."""
    for which in ("all", "confirmed"):
        yield " ".join(
            (f"cycle {row['cycle']}, {which}:", *(f"{key} {value:.3g}" for key, value in row[which].items()))
        )


def main() -> int:
    return by_cycle.main(__doc__, rows, lines_of)


if __name__ == "__main__":
    sys.exit(main())
