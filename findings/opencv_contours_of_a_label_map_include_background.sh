#!/usr/bin/env bash
# OpenCV 5.0.0 (opencv-python-headless 5.0.0.93), with NumPy 2.4.6.
#
# cv2.findContours takes a label map of 32-bit integers in the modes RETR_CCOMP and RETR_FLOODFILL, and so keeps nuclei
# apart that touch. It also returns the outlines of the background around them, as rings one pixel outside. The
# documentation of RETR_CCOMP promises outer boundaries on the top level and boundaries of holes on the second. For a
# label map all lie on the top level, without parent or child. Nothing tells a nucleus from the background around it.
#
# Seen: a map of one nucleus of 5 x 5 pixels gives 2 contours, one 7 pixels wide. Three nuclei apart give 6. Two that
# touch and one apart give 5. All have the hierarchy of outer boundaries. The binary mask of three nuclei apart gives 3.
#
# Exit code 0: still so. 1: it changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile opencv-python-headless==5.0.0.93 numpy==2.4.6

"$folder/venv/bin/python" - <<'PYTHON'
import sys

import cv2
import numpy as np


def label_map(*corners):
    labels = np.zeros((40, 40), np.int32)
    for label, (y, x) in enumerate(corners, 1):
        labels[y : y + 5, x : x + 5] = label
    return labels


maps = {
    "one nucleus": label_map((5, 5)),
    "three apart": label_map((5, 5), (5, 20), (25, 10)),
    "two touching, one apart": label_map((5, 5), (5, 10), (25, 10)),
}
same = True
for name, labels in maps.items():
    for mode in (cv2.RETR_CCOMP, cv2.RETR_FLOODFILL):
        contours, hierarchy = cv2.findContours(labels.copy(), mode, cv2.CHAIN_APPROX_NONE)
        widths = sorted(int(np.ptp(contour[:, 0, 0])) + 1 for contour in contours)
        top = bool((hierarchy[0, :, 2:] == -1).all())
        print(f"{name}: {labels.max()} labels, {len(contours)} contours, widths {widths}, all on the top level: {top}")
        same &= len(contours) > labels.max() and top
binary = (maps["three apart"] > 0).astype(np.uint8)
count = len(cv2.findContours(binary, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)[0])
print(f"binary mask of three apart: {count} contours")
sys.exit(0 if same and count == 3 else 1)
PYTHON
