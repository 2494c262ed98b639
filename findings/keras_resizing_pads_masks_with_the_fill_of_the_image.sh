#!/usr/bin/env bash
# Keras 3.15.1 on JAX 0.10.2, with NumPy 2.4.6.
#
# Resizing(pad_to_aspect_ratio=True, fill_value=255) pads H&E images with white, like glass. It pads the segmentation
# masks that go with them with 255 too. A label map gets a nucleus numbered 255, larger than any other, on the padding.
# The documentation has one word on fill_value, "padding value", and none on masks.
#
# Seen: a map of 96 x 192 with one nucleus, resized to 64 x 64. Labels 0, 1 and 255 come back. 255 covers 2048 pixels,
# half of the map; the nucleus covers 32. With fill_value 0 there are labels 0 and 1.
#
# Exit code 0: still so. 1: it changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile keras==3.15.1 jax==0.10.2 numpy==2.4.6

KERAS_BACKEND=jax "$folder/venv/bin/python" - <<'PYTHON'
import sys

import keras
import numpy as np

labels = np.zeros((1, 96, 192, 1), np.int32)
labels[:, 60:72, 100:124] = 1
images = np.full((1, 96, 192, 3), 230, np.float32)

found = {}
for fill in (0.0, 255.0):
    resize = keras.layers.Resizing(64, 64, pad_to_aspect_ratio=True, fill_value=fill)
    masks = np.asarray(resize({"images": images, "segmentation_masks": labels})["segmentation_masks"])
    found[fill] = dict(zip(*(part.tolist() for part in np.unique(masks, return_counts=True)), strict=True))
    print(f"fill_value {fill:.0f}: pixels of each label {found[fill]}")
sys.exit(0 if set(found[0.0]) == {0, 1} and found[255.0].get(255) == 2048 else 1)
PYTHON
