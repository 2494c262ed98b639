#!/usr/bin/env bash
# cellpose 4.2.1.1, with NumPy 2.4.6 and OpenCV 5.0.0.93.
#
# utils.distance_to_boundary is documented as the distance of each mask pixel to the boundary. It returns the square of
# that distance. utils.masks_to_edges takes its threshold as a distance to the boundary and compares it with the square:
# a rim asked for as wide as 4 pixels comes out 2 pixels wide. A radius read from the map is far too large.
#
# Seen: a square nucleus of 21 x 21 pixels. Its centre is 10 pixels from the outermost pixels; the map says 100. Rim for
# threshold 4: 152 pixels, which is two pixels wide. Rim of all pixels less than 4 away: 272.
#
# Exit code 0: still so. 1: it changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile numpy==2.4.6 scipy==1.17.1 opencv-python-headless==5.0.0.93 \
    fastremap==1.21.0 fill-voids==2.1.2 tqdm==4.70.1
# These functions need no PyTorch, which its other dependencies would bring.
"$folder/venv/bin/pip" install --quiet --no-compile --no-deps cellpose==4.2.1.1

"$folder/venv/bin/python" - <<'PYTHON'
import importlib.util
import sys
import types

import numpy as np
from scipy import ndimage

# The package's own __init__ imports PyTorch to print versions; an empty one stands in for it.
package = types.ModuleType("cellpose")
package.__path__ = list(importlib.util.find_spec("cellpose").submodule_search_locations)
sys.modules["cellpose"] = package
from cellpose import utils  # noqa: E402

labels = np.zeros((41, 41), int)
labels[10:31, 10:31] = 1
centre = utils.distance_to_boundary(labels)[20, 20]
rim = int(utils.masks_to_edges(labels, threshold=4).sum())
# The outermost pixels are at distance 0, so one less than the distance to the background.
truth = ndimage.distance_transform_edt(labels) - 1
asked = int(((truth < 4) & (labels > 0)).sum())
print(f"centre: {truth[20, 20]:.0f} pixels from the rim, the map says {centre:.0f}")
print(f"rim below 4: {rim} pixels, {asked} were asked for")
sys.exit(0 if centre == truth[20, 20] ** 2 and rim < asked else 1)
PYTHON
