#!/usr/bin/env bash
# roifile 2026.2.10, with NumPy 2.4.6.
#
# roiwrite stores a list of ROIs in a ZIP file under their names. If nuclei carry the name of their class, as ROIs made
# with frompoints(..., name="tumour") do, the entries have one name. The file holds every outline, and roiread gives as
# many ROIs as were written. But each of them is the last one: the outlines of the others are lost on reading. Writing
# only warns in the words of Python's zipfile; reading says nothing.
#
# Seen: three square nuclei of 4, 9 and 16 pixels named "tumour" come back as three nuclei of 16.
#
# Exit code 0: still so. 1: it changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile roifile==2026.2.10 numpy==2.4.6

"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import pathlib
import sys
import warnings
import zipfile

import numpy as np
import roifile

warnings.simplefilter("ignore")


def square(side, name):
    return roifile.ImagejRoi.frompoints(10 * side + np.array([[0, 0], [side, 0], [side, side], [0, side]]), name=name)


def area(roi):
    x, y = roi.coordinates().T
    return float(abs(x @ np.roll(y, 1) - y @ np.roll(x, 1)) / 2)


found = {}
for name, names in (("one name", ["tumour"] * 3), ("names of their own", ["a", "b", "c"])):
    path = pathlib.Path(sys.argv[1], f"{name}.zip")
    roifile.roiwrite(path, [square(side, each) for side, each in zip((2, 3, 4), names)])
    entries = len(zipfile.ZipFile(path).infolist())
    found[name] = [area(roi) for roi in roifile.roiread(path)]
    print(f"{name}: {entries} entries in the file, areas read {found[name]}")
sys.exit(0 if found == {"one name": [16, 16, 16], "names of their own": [4, 9, 16]} else 1)
PYTHON
