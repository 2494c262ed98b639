"""Answers of a careless person: a folder of tiles again, with a share of the tiles in the wrong class.

Of both classes the same share is moved, at random. What the run makes of it tells what wrong answers cost; the runs are
listed in studies/lists/wrong_answers.yaml.

Example:
    python studies/flip_answers.py runs/map/tiles --share 0.05 --out runs/wrong_answers/tiles_05
"""

import argparse
import shutil
import sys
from pathlib import Path

import numpy as np

from cyclic.datasets.tile_folder import CLASSES, load_tiles
from cyclic.errors import InputError


def flip_answers(tiles: Path, out: Path, share: float, seed: int = 0) -> int:
    """Copy tiles into `out/positive` and `out/negative`, a share of each class into the other, and return how many.

    Raises:
        InputError: no tiles, `out` is there already, or `share` is not in [0, 1].
    """
    if not 0 <= share <= 1:
        raise InputError(f"--share {share}: give a share between 0 and 1")
    if out.exists():
        raise InputError(f"{out}: exists already; choose another folder")
    folder, rng = load_tiles(tiles), np.random.default_rng(seed)
    labels = folder.labels.copy()
    for label in range(len(CLASSES)):
        members = np.flatnonzero(folder.labels == label)
        labels[rng.choice(members, round(share * len(members)), replace=False)] = 1 - label
    for path, label in zip(folder.paths, labels, strict=True):
        target = out / CLASSES[label] / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    return int((labels != folder.labels).sum())


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tiles", type=Path, help="folder with positive/ and negative/")
    parser.add_argument("--share", type=float, required=True, help="share of wrong answers, 0 to 1")
    parser.add_argument("--out", type=Path, required=True, help="new folder")
    parser.add_argument("--seed", type=int, default=0, help="seed of the choice")
    given = parser.parse_args(arguments)
    try:
        count = flip_answers(given.tiles, given.out, given.share, given.seed)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{count} answers are wrong now: {given.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
