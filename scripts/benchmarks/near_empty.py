"""What a model finds in images with few nuclei: false ones per mm² of empty tissue, with the classifier's verdict.

The peer is the same model without the verdict, so the ratio is what the verdict costs.

Example:
    python scripts/benchmark.py near_empty --weights RUN/best.weights.h5 --data DATA --json FILE
"""

import argparse
import time
from pathlib import Path

import numpy as np

from cyclic.errors import InputError
from cyclic.evaluation.empty_tissue import EMPTY_MM2, FALSE_PER_MM2, USUAL_MPP, false_per_mm2, pooled_false_per_mm2
from cyclic.evaluation.metrics import evaluate_pair
from cyclic.files import image_files, label_files
from cyclic.images import read_image
from cyclic.inference.predictor import Predictor
from cyclic.label_maps import read_label_map

PEER = "verdict off"
COUNTED = ("n_true", "n_pred", "f1", FALSE_PER_MM2, EMPTY_MM2)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--weights", type=Path, required=True, help="best.weights.h5 of a run")
    parser.add_argument("--classifier", type=Path, help="classifier.weights.h5 of the run, where WEIGHTS hold none")
    parser.add_argument("--data", type=Path, required=True, help="folder with images/ and labels/")
    parser.add_argument("--at-most", type=int, default=30, help="true nuclei of an image; others are left out")
    parser.add_argument("--mpp", type=float, default=USUAL_MPP, help="micrometres per pixel of the images")
    parser.add_argument("--set", action="append", default=[], help="detection.key=value of both sides; repeatable")


def run(arguments: argparse.Namespace) -> list[dict]:
    with_verdict = Predictor.load(arguments.weights, ["detection.verdict=true", *arguments.set], arguments.classifier)
    if with_verdict.classifier is None:
        raise InputError(f"{arguments.weights}: holds no classifier; give best.weights.h5, or --classifier")
    sides = (with_verdict, Predictor(with_verdict.model, with_verdict.config))
    images, rows = near_empty_images(arguments.data, arguments.at_most), []
    for number, (name, (path, true)) in enumerate(images.items()):
        image = read_image(path)
        if number == 0:  # the networks are compiled
            with_verdict.predict(image, arguments.mpp)
        rows.append(compare(name, image, true, sides, arguments.mpp))
    return [*rows, total(rows)]


def near_empty_images(data: Path, at_most: int) -> dict[str, tuple[Path, np.ndarray]]:
    """Return `{image id: (image file, true label map)}` of the images with so many nuclei or fewer."""
    images, labels = image_files(data / "images"), label_files(data / "labels")
    truths = {name: read_label_map(labels[name]) for name in images if name in labels}
    chosen = {name: (images[name], true) for name, true in truths.items() if len(np.unique(true[true > 0])) <= at_most}
    if not chosen:
        raise InputError(f"{data}: no labelled image of {at_most} nuclei or fewer; raise --at-most")
    return chosen


def compare(name: str, image: np.ndarray, true: np.ndarray, sides: tuple[Predictor, Predictor], mpp: float) -> dict:
    """Return the row of an image: with the verdict, and with names that end in `_off` without it."""
    seconds, scores = [], []
    for predictor in sides:
        start = time.perf_counter()
        labels = predictor.predict(image, mpp).labels
        seconds.append(time.perf_counter() - start)
        every = evaluate_pair(true, labels) | false_per_mm2(true, labels, mpp)
        scores.append({key: every[key] for key in COUNTED})
    on, off = scores
    row = {"case": name, "ours_s": seconds[0], "peer": PEER, "peer_s": seconds[1], "ratio": seconds[0] / seconds[1]}
    return row | on | {f"{key}_off": off[key] for key in ("n_pred", "f1", FALSE_PER_MM2)}


def total(rows: list[dict]) -> dict:
    """Return the row of all images: sums, means of F1, and all false nuclei over all empty tissue."""
    summed = {
        key: sum(row[key] for row in rows) for key in ("ours_s", "peer_s", "n_true", "n_pred", "n_pred_off", EMPTY_MM2)
    }
    means = {key: float(np.mean([row[key] for row in rows])) for key in ("f1", "f1_off")}
    without = [row | {FALSE_PER_MM2: row[f"{FALSE_PER_MM2}_off"]} for row in rows]
    pooled = {FALSE_PER_MM2: pooled_false_per_mm2(rows), f"{FALSE_PER_MM2}_off": pooled_false_per_mm2(without)}
    ratio = summed["ours_s"] / summed["peer_s"]
    return {"case": f"{len(rows)} images", "peer": PEER, "ratio": ratio} | summed | means | pooled
