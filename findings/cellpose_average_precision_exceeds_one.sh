#!/usr/bin/env bash
# cellpose 4.2.1.1, with NumPy 2.4.6 and SciPy 1.17.1.
#
# metrics.average_precision counts the objects of a label map as its distinct values less one. In a tile that the cells
# fill there is no background, so one object too few is counted. The function takes AP as TP / (TP + FP + FN), and false
# positives or false negatives become -1. AP exceeds 1, also where two cells are merged into one.
#
# Seen: three cells side by side that fill the tile. Perfect prediction: TP 3, FP -1, FN -1, AP 3.0. Two of them merged:
# AP 2.0. With one pixel of background in both maps the same cells score 1.0 and 0.67.
#
# Exit code 0: still so. 1: it changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile numpy==2.4.6 scipy==1.17.1 opencv-python-headless==5.0.0.93 \
    fastremap==1.21.0 fill-voids==2.1.2 tqdm==4.70.1
# Its metrics need no PyTorch, which its other dependencies would bring.
"$folder/venv/bin/pip" install --quiet --no-compile --no-deps cellpose==4.2.1.1

"$folder/venv/bin/python" - <<'PYTHON'
import importlib.util
import sys
import types

import numpy as np

# The package's own __init__ imports PyTorch to print versions; an empty one stands in for it.
package = types.ModuleType("cellpose")
package.__path__ = list(importlib.util.find_spec("cellpose").submodule_search_locations)
sys.modules["cellpose"] = package
from cellpose import metrics  # noqa: E402

truth = np.repeat([[1, 2, 3]], 12, axis=0).repeat(4, axis=1)
merged = np.minimum(truth, 2)


def score(prediction, background):
    maps = [truth.copy(), prediction.copy()]
    for labels in maps:
        labels[0, 0] = 0 if background else labels[0, 0]
    return [float(value[0]) for value in metrics.average_precision(*maps, threshold=[0.5])]


predictions = {"perfect": truth, "merged": merged}
found = {(name, ground): score(each, ground) for name, each in predictions.items() for ground in (0, 1)}
for (name, ground), (precision, true, false, missed) in found.items():
    print(f"{name}, pixels of background {ground}: AP {precision:.2f}, TP {true:.0f}, FP {false:.0f}, FN {missed:.0f}")
same = found["perfect", 0] == [3, 3, -1, -1] and found["merged", 0][0] > 1 and found["merged", 1][0] < 1
sys.exit(0 if same else 1)
PYTHON
