#!/usr/bin/env bash
# stardist 0.9.2, with NumPy 2.4.6.
#
# matching.matching scores a tile without nuclei, where nothing was predicted, with F1, accuracy and PQ of 0: the worst
# score for a perfect answer. matching_dataset(..., by_image=True) takes the mean over images with these zeros in it. So
# a perfect prediction scores less than 1, and the figure depends on how many empty tiles the test set has. The
# documentation doesn't say so. With by_image=False the same maps score 1.
#
# Seen: one tile with a nucleus and three empty ones, all predicted perfectly. Mean over images: F1 0.25, PQ 0.25.
#
# Exit code 0: still so. 1: it changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile stardist==0.9.2 numpy==2.4.6

"$folder/venv/bin/python" - <<'PYTHON'
import sys

import numpy as np
from stardist.matching import matching, matching_dataset

empty = np.zeros((64, 64), int)
nucleus = empty.copy()
nucleus[20:30, 20:30] = 1
truth = [nucleus, empty, empty, empty]

alone = matching(empty, empty)
found = {by: matching_dataset(truth, truth, by_image=by, show_progress=False) for by in (False, True)}
print(f"empty tile, nothing predicted: F1 {alone.f1}, PQ {alone.panoptic_quality}, false {alone.fp}, missed {alone.fn}")
for by, score in found.items():
    print(f"perfect prediction, by_image={by}: F1 {score.f1:.2f}, PQ {score.panoptic_quality:.2f}")
same = alone.f1 == 0 and found[True].f1 == 0.25 and found[True].panoptic_quality == 0.25 and found[False].f1 == 1
sys.exit(0 if same else 1)
PYTHON
