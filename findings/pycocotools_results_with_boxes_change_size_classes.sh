#!/usr/bin/env bash
# pycocotools 2.0.11, with NumPy 2.4.6.
#
# COCO.loadRes takes the area of a result from its box if the result has one, also where it has a mask.
# COCOeval parts results into small, medium and large by that area. So the same masks, once with their boxes and once
# without, score differently by size: a thin slanting nucleus is small by its mask and medium by its box, and a false
# one of that shape no longer counts against the small ones.
#
# Seen: one true and one false result of one shape, the false one with the higher score. Mask of 641 pixels, box of
# 3721. AP of small objects 0.50 without boxes, 1.00 with them. The overall AP is 0.50 both times.
#
# Exit code 0: still so. 1: it changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pycocotools==2.0.11 numpy==2.4.6

"$folder/venv/bin/python" - <<'PYTHON'
import contextlib
import io
import sys

import numpy as np
from pycocotools import mask as masks
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

SIDE = 200


def slanting(top, left):
    """A band of about ten pixels across, from corner to corner of a box of 61 x 61."""
    y, x = np.mgrid[:SIDE, :SIDE]
    inside = (y >= top) & (y <= top + 60) & (x >= left) & (x <= left + 60)
    band = inside & (np.abs((y - top) - (x - left)) <= 5)
    rle = masks.encode(np.asfortranarray(band.astype(np.uint8)))
    rle["counts"] = rle["counts"].decode()
    return rle


def score(with_boxes):
    true, false = slanting(10, 10), slanting(120, 120)
    truth = COCO()
    truth.dataset = {
        "images": [{"id": 1, "height": SIDE, "width": SIDE}],
        "categories": [{"id": 1, "name": "nucleus"}],
        "annotations": [
            {
                "id": 1,
                "image_id": 1,
                "category_id": 1,
                "segmentation": true,
                "area": int(masks.area(true)),
                "bbox": masks.toBbox(true).tolist(),
                "iscrowd": 0,
            }
        ],
    }
    truth.createIndex()
    results = [
        {"image_id": 1, "category_id": 1, "segmentation": rle, "score": value}
        for rle, value in ((false, 0.9), (true, 0.5))
    ]
    if with_boxes:
        results = [result | {"bbox": masks.toBbox(result["segmentation"]).tolist()} for result in results]
    loaded = truth.loadRes(results)
    evaluation = COCOeval(truth, loaded, "segm")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    areas = [int(annotation["area"]) for annotation in loaded.dataset["annotations"]]
    return areas, evaluation.stats[0], evaluation.stats[3]


with contextlib.redirect_stdout(io.StringIO()):
    found = {boxes: score(boxes) for boxes in (False, True)}
for boxes, (areas, overall, small) in found.items():
    print(f"boxes: {boxes}; areas {areas}; AP {overall:.2f}; AP of small objects {small:.2f}")
same = found[False][0] != found[True][0] and found[False][2] < 0.6 and found[True][2] > 0.99
sys.exit(0 if same else 1)
PYTHON
