"""Show how many of a run's pseudo masks match a nucleus at IoU > 0.5: of the best 20, the best 100, and all kept.

The mean of the images counts a poor image with few pseudo masks as much as a good one with many; `total` counts pseudo
masks and nuclei, whatever image they are in.

Reads instance labels, so it is for looking back at a run; nothing is selected by it.

Example:
    python studies/pseudo_precision.py RUN --data DATA --json precision.json
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from cyclic.datasets.layouts import open_splits
from cyclic.errors import InputError
from cyclic.evaluation.ranking import precision_by_rank
from cyclic.files import write_json
from cyclic.pseudo.masks import load_pseudo_masks
from cyclic.runs.paths import RunPaths

RANKS = (20, 100)


def precisions(truth: np.ndarray, pseudo: np.ndarray) -> dict[str, float]:
    """Return the precision of the best 20, of the best 100 and of all pseudo masks of one image, and their number.

    Args:
        truth, pseudo: `[H, W]` integer label maps; pseudo masks are labelled by rank, the best with 1.
    """
    count = int(pseudo.max(initial=0))
    curve = precision_by_rank([truth], [pseudo])
    ranks = {f"best_{rank}": rank for rank in RANKS} | {"kept": count}
    return {name: float(curve[min(rank, count) - 1]) if count else 0.0 for name, rank in ranks.items()} | {"n": count}


def totals(truths: list[np.ndarray], pseudo: list[np.ndarray]) -> dict[str, float]:
    """Return precision and recall of the pseudo masks of all images together, and their number.

    Args:
        truths, pseudo: label maps of the same images, see `precisions`.
    """
    curve = precision_by_rank(truths, pseudo)
    count = sum(int(labels.max(initial=0)) for labels in pseudo)
    nuclei = sum(np.count_nonzero(np.unique(labels)) for labels in truths)
    matched = float(curve[-1]) * count if count else 0.0
    return {"precision": matched / max(count, 1), "recall": matched / max(nuclei, 1), "n": count}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="run directory")
    parser.add_argument("--data", type=Path, required=True, help="the labelled data set of the run")
    parser.add_argument("--cycle", type=int, default=1)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    try:
        images, total = {}, {}
        folder = RunPaths(options.run).cycle(options.cycle).pseudo()
        for split, dataset in zip(("train", "val"), open_splits(options.data), strict=True):
            truths, found = [], []
            for name in dataset.ids if dataset else []:
                pseudo = load_pseudo_masks(folder, name).labels
                truths.append(dataset.label_map(name))
                found.append(pseudo)
                images[name] = {"split": split, **precisions(truths[-1], pseudo)}
                print(name, *(f"{key} {value:.2f}" for key, value in list(images[name].items())[1:]))
            if truths:
                total[split] = totals(truths, found)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    keys = (*(f"best_{rank}" for rank in RANKS), "kept", "n")
    mean = {
        split: {key: float(np.mean([each[key] for each in images.values() if each["split"] == split])) for key in keys}
        for split in dict.fromkeys(each["split"] for each in images.values())
    }
    for split, values in mean.items():
        print(split, "mean", *(f"{key} {value:.3f}" for key, value in values.items()))
        print(split, "total", *(f"{key} {value:.3f}" for key, value in total[split].items()))
    if options.json:
        write_json(options.json, {"images": images, "mean": mean, "total": total})
    return 0


if __name__ == "__main__":
    sys.exit(main())
