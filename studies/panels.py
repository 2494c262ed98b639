"""Draw what a run made of one place of an image: the steps of the method side by side.

    python studies/panels.py RUN --data DATA --image ID --at 300,400 --out picture.jpg

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
from cyclic.files import write_image
from cyclic.images import read_image
from cyclic.label_maps import read_label_map
from cyclic.runs.paths import RunPaths


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
    paths = RunPaths(run)
    first = paths.cycle(1)
    activation = read_image(first.map(name))[crop]
    pseudo = read_label_map(first.pseudo() / "labels" / f"{name}.tif")[crop]
    cycles = [paths.cycle(number) for number in paths.cycles()]
    found = [cycle.round(number).prediction(name) for cycle in cycles for number in cycle.rounds()]
    predictions = [path for path in found if path.is_file()]
    if not predictions:
        raise InputError(f"{run}: no prediction of {name} yet; wait for the first cycle's end")
    predicted = read_label_map(predictions[-1])[crop]
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
    try:
        place = tuple(int(value) for value in arguments.at.split(",") if value.isdecimal())
        if len(place) != 2:
            raise InputError(f"--at {arguments.at}: write it as y,x in pixels, e.g. 300,400")
        picture = panels(arguments.run, arguments.data, arguments.image, place, arguments.size)
        write_image(arguments.out, picture)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
