"""Score a model on images of several labs, beside thresholds without any learning.

For each lab: the mean of the images' AJI, Dice, PQ and F1; how large a matched nucleus is, as the median of its area
over the true one; and false nuclei per mm² of tissue without any. Thresholds are hematoxylin, Otsu and watershed.

With --stain, images get the stain of a reference before prediction; those without stained tissue stay as they are.

Reads instance labels, so it is for looking back at a finished model; nothing is selected by it.

Example:
    python studies/elsewhere.py RUN/best.weights.h5 --on monuseg=DATA:val --on tnbc=TNBC --json FILE
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from cyclic import Predictor
from cyclic.datasets.dataset import SPLITS, NucleiDataset
from cyclic.datasets.layouts import open_dataset
from cyclic.datasets.stain_normaliser import METHODS, StainNormaliser, is_stained
from cyclic.errors import InputError
from cyclic.evaluation.baseline import no_label_baseline
from cyclic.evaluation.empty_tissue import FALSE_PER_MM2, false_per_mm2, pooled_false_per_mm2
from cyclic.evaluation.matching import median_area_ratio
from cyclic.evaluation.metrics import evaluate_pair
from cyclic.files import digest, write_json
from cyclic.images import read_image

SCORES = ("aji", "dice", "pq", "f1")


def score(dataset: NucleiDataset, segment: Callable[[np.ndarray], np.ndarray]) -> dict[str, float | None]:
    """Return the scores of `segment`, `[H, W, 3]` uint8 -> `[H, W]` label map, on a data set."""
    pairs = [(dataset.label_map(name), segment(dataset.image(name))) for name in dataset.ids]
    scores = [evaluate_pair(*pair) | false_per_mm2(*pair) for pair in pairs]
    means = {metric: float(np.mean([row[metric] for row in scores])) for metric in SCORES}
    return means | {
        "area_ratio": median_area_ratio(pairs),
        FALSE_PER_MM2: pooled_false_per_mm2(scores),
    }


def open_named(text: str) -> tuple[str, NucleiDataset]:
    """Return name and data set of `NAME=FOLDER` or `NAME=FOLDER:SPLIT`.

    Raises:
        InputError: it is written otherwise, or the folder holds no labelled images.
    """
    name, separator, place = text.partition("=")
    if not (name and separator and place):
        raise InputError(f"--on {text}: write it as NAME=FOLDER or NAME=FOLDER:SPLIT")
    folder, colon, split = place.rpartition(":")
    dataset = open_dataset(folder, split) if colon and split in SPLITS else open_dataset(place)
    for image_id in dataset.ids:
        dataset.label_path(image_id)
    return name, dataset


def stain_changer(method: str | None, reference: Path | None) -> Callable[[np.ndarray], np.ndarray]:
    """Return what gives an image (`[H, W, 3]` uint8) the stain of the reference; without a method, nothing changes.

    Raises:
        InputError: a method without a reference or the reverse, or see `StainNormaliser`.
    """
    if (method is None) != (reference is None):
        raise InputError("--stain needs --reference IMAGE, and --reference needs --stain")
    if method is None or reference is None:
        return lambda image: image
    normaliser = StainNormaliser(method, read_image(reference), str(reference))
    return lambda image: normaliser.normalise(image) if is_stained(image) else image


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, help="best.weights.h5 of a run")
    parser.add_argument("--on", action="append", required=True, metavar="NAME=FOLDER", help="a lab's labelled images")
    parser.add_argument("--set", action="append", default=[], dest="overrides", help="a setting, as cyclic predict")
    parser.add_argument("--mpp", type=float, default=0.25, help="micrometres per pixel of all images (0.25)")
    parser.add_argument("--stain", choices=METHODS, help="normalise the images' stain by this method first")
    parser.add_argument("--reference", type=Path, help="the image whose stain they get")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    try:
        sets = dict(map(open_named, options.on))
        predictor = Predictor.load(options.weights, options.overrides)
        restain = stain_changer(options.stain, options.reference)
        labs = {}
        for name, dataset in sets.items():
            model = score(dataset, lambda image: predictor.predict(restain(image), mpp=options.mpp).labels)
            labs[name] = {"images": len(dataset.ids), "model": model, "thresholds": score(dataset, no_label_baseline)}
            for source in ("model", "thresholds"):
                figures = (f"{key} {value:.3f}" for key, value in labs[name][source].items() if value is not None)
                print(f"{name}, {len(dataset.ids)} images, {source}:", *figures, flush=True)
        if options.json:
            about = {
                "weights": digest(options.weights),
                "set": options.overrides,
                "mpp": options.mpp,
                "stain": options.stain,
            }
            write_json(options.json, {**about, "labs": labs})
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
