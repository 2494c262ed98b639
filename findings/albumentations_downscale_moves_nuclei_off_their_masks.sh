#!/usr/bin/env bash
# albumentations 2.0.8, with OpenCV 5.0.0.93 and NumPy 2.4.6.
#
# Downscale makes an image coarse: it shrinks and enlarges it again. It is a transform of images only, so masks and
# boxes stay as they are. But OpenCV's nearest neighbour takes the first pixel of each block, not the middle one. So the
# content of the image moves to the right and down by half a block, and lies beside its mask. The project has reports
# of the same cause for masks in Resize, not for Downscale.
#
# Seen: a nucleus of 40 x 40 pixels at scale 0.25, at each of the 16 places it can have within a block. In the image its
# centre moves by 1.5 pixels in y and in x on average, and never to the left or up. In the mask it moves by 0.
#
# Exit code 0: still so. 1: it changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile albumentations==2.0.8 opencv-python-headless==5.0.0.93 numpy==2.4.6

NO_ALBUMENTATIONS_UPDATE=1 "$folder/venv/bin/python" - <<'PYTHON'
import sys

import albumentations
import numpy as np

downscale = albumentations.Compose([albumentations.Downscale(scale_range=(0.25, 0.25), p=1)])


def centre(mask):
    return np.argwhere(mask).mean(0)


moved, stayed = [], []
for y in range(40, 44):
    for x in range(40, 44):
        mask = np.zeros((128, 128), np.uint8)
        mask[y : y + 40, x : x + 40] = 1
        image = np.repeat(mask[..., None] * 255, 3, axis=-1)
        result = downscale(image=image, mask=mask)
        moved.append(centre(result["image"][..., 0] > 127) - centre(mask))
        stayed.append(centre(result["mask"]) - centre(mask))
mean = np.mean(moved, axis=0)
print(f"image: moved by {mean.round(2)} (y, x) on average, {np.min(moved):.1f} to {np.max(moved):.1f}")
print(f"mask: moved by {np.abs(stayed).max():.1f}")
sys.exit(0 if np.allclose(mean, 1.5) and np.min(moved) >= 0 and not np.any(stayed) else 1)
PYTHON
