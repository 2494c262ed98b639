"""Show for each cycle of a run whether the classifier's map is higher on nuclei than beside them.

The figure is the area under the ROC curve of the map's pixels, nucleus against background, the mean of the images: 1
would be a map that parts them, 0.5 one that knows nothing, less than that one that is higher beside the nuclei.
Reads instance labels, so it is for looking back at a run; nothing is selected by it.

Example:
    python studies/map_auc.py RUN --data DATA --json auc.json
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from cyclic.datasets.layouts import open_splits
from cyclic.errors import InputError
from cyclic.files import write_json
from cyclic.images import read_map
from cyclic.runs.paths import RunPaths

# Maps are 8-bit pictures.
LEVELS = 256


def auc(activation: np.ndarray, nuclei: np.ndarray) -> float:
    """Return the area under the ROC curve, in [0, 1]; NaN if all or none of the pixels are of nuclei.

    Args:
        activation: `[H, W]` float in [0, 1], in steps of 1 / 255.
        nuclei: `[H, W]` bool.
    """
    level = np.round(activation * (LEVELS - 1)).astype(int)
    inside, outside = (np.bincount(level[part], minlength=LEVELS) for part in (nuclei, ~nuclei))
    if not (inside.any() and outside.any()):
        return float("nan")
    below = np.cumsum(outside) - outside
    return float(inside @ (below + outside / 2) / (inside.sum() * outside.sum()))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="run directory")
    parser.add_argument("--data", type=Path, required=True, help="the labelled data set of the run")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    rows = []
    try:
        splits = {name: split for name, split in zip(("train", "val"), open_splits(options.data), strict=True) if split}
        paths = RunPaths(options.run)
        first = next(iter(splits.values())).ids[0]
        cycles = [number for number in paths.cycles() if paths.cycle(number).map(first).is_file()]
        if not cycles:
            raise InputError(f"{options.run}: no maps; give the directory of a run with a classifier")
        for cycle in cycles:
            means = {}
            for split, images in splits.items():
                maps = paths.cycle(cycle).map
                found = [auc(read_map(maps(name)), images.label_map(name) > 0) for name in images.ids]
                means[split] = float(np.nanmean(found))
            rows.append({"cycle": cycle, **means})
            print(f"cycle {cycle}", *(f"{split} {value:.3f}" for split, value in means.items()), sep="  ")
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    if options.json:
        write_json(options.json, {"rows": rows})
    return 0


if __name__ == "__main__":
    sys.exit(main())
