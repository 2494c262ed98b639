#!/usr/bin/env bash
# spatialdata 0.7.3, with scikit-image 0.26.0 and shapely 2.2.0.
#
# to_polygons turns each contour of a label into a polygon of its own. The contour of a hole becomes one as well, beside
# that of the outline, and both go into one MultiPolygon. Its area holds the hole twice: once inside the outline, which
# has no hole, and once by itself. Vesicular nuclei that were segmented as rings grow so, and the geometry is not valid.
# Contours run through pixel centres, counted from 0, while a label element has its first pixel centre at 0.5. So all
# polygons lie half a pixel towards the origin.
#
# Seen, with a square of 10 x 10 pixels from (20, 20) whose middle 4 x 4 pixels are background, 84 pixels: a MultiPolygon
# of two, area 115, not valid, bounds 19.5 to 29.5. A full square beside it, 100 pixels: area 99.5, bounds 4.5 to 14.5.
#
# Exit code 0: still so. 1: it changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile spatialdata==0.7.3 scikit-image==0.26.0 shapely==2.2.0

"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import sys

import numpy as np
from spatialdata import to_polygons
from spatialdata.models import Labels2DModel

labels = np.zeros((40, 40), np.int32)
labels[5:15, 5:15] = 1
labels[20:30, 20:30] = 2
labels[23:27, 23:27] = 0
shapes = to_polygons(Labels2DModel.parse(labels, dims=("y", "x"))).set_index("label").geometry
for label, shape in shapes.items():
    pixels = int(np.sum(labels == label))
    print(f"{label}: {pixels} pixels, {shape.geom_type}, area {shape.area}, valid {shape.is_valid}, bounds {shape.bounds}")
full, ring = shapes[1], shapes[2]
same = ring.area == 115 and not ring.is_valid and full.area == 99.5 and full.bounds == (4.5, 4.5, 14.5, 14.5)
sys.exit(0 if same else 1)
PYTHON
