#!/usr/bin/env bash
# cellpose 4.2.1.1, with NumPy 2.4.6 and SciPy 1.17.1.
#
# metrics.aggregated_jaccard_index is not the index of that name by Kumar et al. (IEEE TMI 2017), with which methods for
# nuclei are compared. There, predicted nuclei without a partner are added to the denominator. Here it is the union of
# both foregrounds, so what lies on a true nucleus costs nothing. Split nuclei score higher, and figures of the two can
# not stand in one table. The documentation gives the quotient in half a line, and doesn't say that it differs.
#
# Seen: four nuclei, each predicted as two halves. Here 0.50, by Kumar et al. 0.33. Each predicted as five strips: 0.20
# here, 0.11 there.
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


def published(truth, prediction):
    """The index as the paper defines it, object by object."""
    shared = joined = 0
    used = set()
    for label in range(1, truth.max() + 1):
        mask = truth == label
        overlaps = {}
        for other in set(prediction[mask]) - {0}:
            candidate = prediction == other
            overlaps[other] = ((mask & candidate).sum(), (mask | candidate).sum())
        best = max(overlaps, key=lambda other: overlaps[other][0] / overlaps[other][1])
        shared, joined = shared + overlaps[best][0], joined + overlaps[best][1]
        used.add(best)
    unused = set(range(1, prediction.max() + 1)) - used
    return shared / (joined + sum((prediction == other).sum() for other in unused))


def scene(strips):
    """Four nuclei of 20 x 20 pixels, and each cut into strips."""
    truth, prediction = np.zeros((2, 64, 64), int)
    height = 20 // strips
    for label, (y, x) in enumerate(((5, 5), (5, 35), (35, 5), (35, 35))):
        truth[y : y + 20, x : x + 20] = label + 1
        for strip in range(strips):
            rows = slice(y + strip * height, y + (strip + 1) * height)
            prediction[rows, x : x + 20] = label * strips + strip + 1
    return truth, prediction


same = True
for strips in (1, 2, 5):
    truth, prediction = scene(strips)
    here, there = metrics.aggregated_jaccard_index([truth], [prediction])[0], published(truth, prediction)
    print(f"each nucleus in {strips} pieces: cellpose {here:.2f}, as published {there:.2f}")
    same &= abs(here - 1 / strips) < 1e-6 and abs(there - 1 / (2 * strips - 1)) < 1e-6
sys.exit(0 if same else 1)
PYTHON
