"""Show what lies where the classifier's map is low: the share of hematoxylin components that are background.

Reads instance labels, so it is for looking back at a run; nothing is selected by it.

Example:
    python studies/background_trust.py RUN --data DATA --json trust.json
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from cyclic.config import load_config
from cyclic.datasets.layouts import open_splits
from cyclic.errors import InputError
from cyclic.evaluation.matching import contingency
from cyclic.files import read_map, write_json
from cyclic.labels import mean_within
from cyclic.pseudo.candidates import find_candidates
from cyclic.runs.paths import RunPaths

EDGES = (0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 1)
# A component is background if no more than this share of it lies in nuclei.
BACKGROUND = 0.1


def components(truth: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return of labels 1..N whether they are background and whether they match a nucleus at IoU > 0.5, `[N]` bool.

    Args:
        truth: `[H, W]` integer label map.
        labels: `[H, W]` int32, 1..N without gaps.
    """
    nuclei = np.bincount(labels[truth > 0], minlength=labels.max(initial=0) + 1)[1:]
    background = nuclei <= BACKGROUND * np.bincount(labels.ravel())[1:]
    matched = np.zeros(len(background), bool)
    overlaps = contingency(truth, labels)
    matched[overlaps.pred_ids[overlaps.cols[overlaps.ious > 0.5]] - 1] = True
    return background, matched


def bins(activation: np.ndarray, background: np.ndarray, matched: np.ndarray) -> list[dict]:
    """Return of each bin of mean activation the number of components and the two shares (None if it is empty)."""
    index = np.digitize(activation, EDGES[1:-1])
    rows = []
    for number, (low, high) in enumerate(zip(EDGES, EDGES[1:], strict=False)):
        inside = index == number
        shares = [float(each[inside].mean()) if inside.any() else None for each in (background, matched)]
        rows.append({"from": low, "to": high, "n": int(inside.sum()), "background": shares[0], "matched": shares[1]})
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="run directory")
    parser.add_argument("--data", type=Path, required=True, help="the labelled data set of the run")
    parser.add_argument("--cycle", type=int, default=1)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    try:
        run = RunPaths(options.run)
        config, (train, _) = load_config(run.config), open_splits(options.data)
        found = []
        for name in train.ids:
            activation = read_map(run.cycle(options.cycle).map(name))
            labels = find_candidates(train.image(name), activation, config).labels
            found.append((mean_within(activation, labels), *components(train.label_map(name), labels)))
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    rows = bins(*map(np.concatenate, zip(*found, strict=True)))
    print("mean activation   components   background   match a nucleus")
    for row in rows:
        shares = ["      -" if row[key] is None else f"{row[key]:7.2f}" for key in ("background", "matched")]
        print(f"{row['from']:5.2f} to {row['to']:4.2f} {row['n']:14d} {shares[0]:>12s} {shares[1]:>12s}")
    if options.json:
        write_json(options.json, {"rows": rows})
    return 0


if __name__ == "__main__":
    sys.exit(main())
