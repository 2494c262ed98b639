"""The no-label baseline on synthetic and real tissue."""

import json
import pathlib

import numpy as np
import pytest

from cyclic.evaluation.baseline import no_label_baseline
from cyclic.evaluation.metrics import evaluate_pair
from cyclic.images import read_image
from cyclic.label_maps import read_label_map

SHARED = pathlib.Path(__file__).resolve().parents[2].parent / "shared"
PINK, PURPLE = (235, 200, 220), (90, 50, 130)


def discs(centres, radius=12, size=120):
    yy, xx = np.mgrid[:size, :size]
    labels = np.zeros((size, size), np.int32)
    for label, (y, x) in enumerate(centres, 1):
        labels[(yy - y) ** 2 + (xx - x) ** 2 < radius**2] = label
    return labels, np.where(labels[..., None] > 0, PURPLE, PINK).astype(np.uint8)


def test_separate_and_touching_discs():
    labels, image = discs([(25, 25), (80, 40), (80, 62)])
    found = no_label_baseline(image)
    assert found.dtype == np.int32 and found.shape == labels.shape
    scores = evaluate_pair(labels, found)
    assert scores["n_pred"] == 3 and scores["aji"] > 0.85


def test_debris_is_dropped_and_holes_are_filled():
    labels, image = discs([(60, 60)])
    image[10:15, 10:15] = PURPLE
    image[58:62, 58:62] = PINK
    found = no_label_baseline(image)
    assert not found[:30, :30].any() and found[60, 60] > 0


def test_blank_image():
    assert not no_label_baseline(np.full((40, 50, 3), 255, np.uint8)).any()


@pytest.mark.skipif(not SHARED.is_dir(), reason="shared data not present")
def test_figure_on_the_validation_images():
    folder = SHARED / "data" / "monuseg"
    rows = []
    for name in json.loads((folder / "split.json").read_text())["val"]:
        image = read_image(next((folder / "images").glob(f"{name}.*")))
        rows.append(
            evaluate_pair(read_label_map(next((folder / "labels").glob(f"{name}.*"))), no_label_baseline(image))
        )
    mean = {name: np.mean([row[name] for row in rows]) for name in ("aji", "dice", "pq")}
    assert mean == pytest.approx({"aji": 0.396, "dice": 0.702, "pq": 0.303}, abs=0.02)
