#!/usr/bin/env python
"""Draw what a run made of one place of an image: the steps of the method side by side.

    python scripts/panels.py RUN --data DATA --image ID --at 300,400 --out picture.jpg

From left to right: image, activation map and pseudo masks of the first cycle, the last prediction and, for val images,
its errors against the ground truth.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from cyclic.datasets.layouts import open_dataset, open_splits
from cyclic.draw.overlays import contour_overlay, error_overlay, side_by_side
from cyclic.errors import InputError
from cyclic.evaluation.error_types import find_errors
from cyclic.evaluation.matching import contingency
from cyclic.files import read_image, read_json, read_label_map, write_image


def panels(run: Path, data: Path, name: str, at: tuple[int, int], size: int) -> np.ndarray:
    """Return the picture `[h, w, 3]` uint8.

    Args:
        run: run directory.
        data: its data set.
        name: image id.
        at: (y, x) of the top left corner of the place.
        size: its side in pixels.
    """
    crop = np.s_[at[0] : at[0] + size, at[1] : at[1] + size]
    dataset = open_dataset(data)
    image = dataset.image(name)[crop]
    activation = read_image(run / "cycle_1" / "maps" / f"{name}.png")[crop]
    pseudo = read_label_map(run / "cycle_1" / "pseudo" / "labels" / f"{name}.tif")[crop]
    rounds = [key for key in read_json(run / "state.json")["finished"] if key.endswith("/detect")]
    found = [run / key.removesuffix("/detect") / "predictions" / f"{name}.tif" for key in rounds]
    predicted = read_label_map([path for path in found if path.is_file()][-1])[crop]
    pictures = [
        ("image", np.repeat(np.repeat(image, 2, axis=0), 2, axis=1)),
        ("activation map", np.repeat(np.repeat(activation, 2, axis=0), 2, axis=1)),
        ("pseudo masks, cycle 1", contour_overlay(image, pseudo)),
        ("prediction", contour_overlay(image, predicted)),
    ]
    _, val = open_splits(data)
    if val and name in val.ids:
        true = dataset.label_map(name)[crop]
        pictures.append(("errors", error_overlay(image, true, predicted, find_errors(contingency(true, predicted)))))
    return side_by_side(pictures)


def main() -> int:
    parser = argparse.ArgumentParser(description="Draw the steps of the method at one place of an image.")
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--image", required=True, help="image id")
    parser.add_argument("--at", default="300,300", help="y,x of the top left corner")
    parser.add_argument("--size", type=int, default=300, help="side in pixels")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    y, x = (int(value) for value in arguments.at.split(","))
    try:
        picture = panels(arguments.run, arguments.data, arguments.image, (y, x), arguments.size)
        write_image(arguments.out, picture)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
