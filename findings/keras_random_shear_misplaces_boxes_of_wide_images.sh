#!/usr/bin/env bash
# Keras 3.15.1 on JAX 0.10.2, with NumPy 2.4.6.
#
# RandomShear transforms images, masks and boxes together. It shears the boxes in fractions of the image's sides, as if
# the image were square. In a wide image they move by the ratio of the sides too far, in a tall one not far enough.
# Image and mask agree with each other, so training goes on with boxes that lie beside their nuclei. No box of a square
# image is touched by it.
#
# Seen: image of 96 x 192, nucleus of 24 x 12 at (100, 60), shear of 0.3 along x. The mask's nucleus now spans x from 79
# to 106, its box 57 to 88. IoU of box and nucleus 0.18. In a square image of 96 x 96 the same IoU is over 0.8.
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


def sheared(width, left):
    """Return the box around the sheared mask, and the sheared box, both x1, y1, x2, y2."""
    mask = np.zeros((1, 96, width, 1), np.int32)
    mask[:, 60:72, left : left + 24] = 1
    shear = keras.layers.RandomShear((0.3, 0.3), 0.0, fill_mode="constant", bounding_box_format="xyxy", seed=1)
    boxes = {"boxes": np.array([[[left, 60, left + 24, 72]]], np.float32), "labels": np.array([[1]])}
    images = np.repeat(mask * 255.0, 3, axis=-1).astype(np.float32)
    inputs = {"images": images, "segmentation_masks": mask, "bounding_boxes": boxes}
    result = shear(inputs, training=True)
    y, x = np.nonzero(np.asarray(result["segmentation_masks"])[0, ..., 0])
    return np.array([x.min(), y.min(), x.max() + 1, y.max() + 1]), np.asarray(result["bounding_boxes"]["boxes"])[0, 0]


def iou(a, b):
    overlap = np.prod(np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None))
    return overlap / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - overlap)


found = {}
for width, left in ((96, 60), (192, 100)):
    mask, box = sheared(width, left)
    found[width] = iou(mask, box)
    print(f"image 96 x {width}: nucleus at {mask.tolist()}, box {box.round(1).tolist()}, IoU {found[width]:.2f}")
sys.exit(0 if found[96] > 0.8 and found[192] < 0.3 else 1)
PYTHON
