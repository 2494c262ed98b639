"""Tell what became of the true nuclei (hit, merged, split, missed) and what the predictions are.

Prints the shares of each image and their mean; the file has a 95 % bootstrap interval, too. AJI without the predictions
in the background is the most that knowing where no nucleus is could give. The script reads true label maps, so it is
for looking back; nothing is selected by it.

Example:
    python scripts/error_types.py RUN/cycle_1/round_0/predictions --gt LABELS --json errors.json
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from cyclic.errors import InputError
from cyclic.evaluation.error_types import error_types, in_background
from cyclic.evaluation.folders import require_same_shape, summarise
from cyclic.evaluation.matching import Overlaps, contingency, restrict
from cyclic.evaluation.metrics import aji
from cyclic.evaluation.sources import open_source
from cyclic.files import write_json


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pred", type=Path, help="folder of predicted label maps")
    parser.add_argument(
        "--gt", type=Path, required=True, help="folder of true label maps; others than the predicted may lie there"
    )
    parser.add_argument("--json", type=Path, help="also write the shares to this file")
    options = parser.parse_args()
    try:
        pred, gt = open_source(options.pred), open_source(options.gt)
        missing = [name for name in pred.readers if name not in gt.readers]
        if missing:
            raise InputError(f"{options.gt}: no label map for {missing[0]}; give the labels of {options.pred}")
        images = {}
        for name, read in pred.readers.items():
            true, found = gt.readers[name](), read()
            require_same_shape(true, found)
            images[name] = _errors(contingency(true.labels, found.labels))
        summary = summarise(images)
        for name, shares in {**images, "mean": summary["mean"]}.items():
            print(name, *(f"{kind} {share:.3f}" for kind, share in shares.items()))
        if options.json:
            write_json(options.json, summary)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _errors(overlaps: Overlaps) -> dict[str, float]:
    every_nucleus = np.ones(len(overlaps.true_ids), bool)
    cleared = restrict(overlaps, every_nucleus, ~in_background(overlaps))
    return {**error_types(overlaps), "aji": aji(overlaps), "aji_without_background": aji(cleared)}


if __name__ == "__main__":
    sys.exit(main())
