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

from cyclic.datasets.layouts import open_splits
from cyclic.errors import InputError
from cyclic.evaluation.auc import mean_auc
from cyclic.files import write_json
from cyclic.images import read_map
from cyclic.runs.paths import RunPaths


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
                means[split] = mean_auc((read_map(maps(name)), images.label_map(name)) for name in images.ids)
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
