"""The answers that a run has set aside, since they look wrong: `{"answers": 1000, "doubted": [{"tile", "answer"}]}`."""

from pathlib import Path

import numpy as np

from cyclic.datasets.answers import NO, YES
from cyclic.datasets.tile_folder import TileFolder, parse_tile_name
from cyclic.errors import InputError
from cyclic.files import read_json, write_json


def write_doubted(path: Path, doubted: TileFolder, answers: int) -> None:
    """Write the doubted tiles of so many answers; a tile is named after its image and place."""
    labels = (YES if label else NO for label in doubted.labels)
    lines = [{"tile": file.stem, "answer": answer} for file, answer in zip(doubted.paths, labels, strict=True)]
    write_json(path, {"answers": answers, "doubted": lines})


def without_doubted(tiles: TileFolder, doubted: dict[str, set[str]]) -> np.ndarray:
    """Return which of the tiles are not doubted, `[N]` bool; `doubted` is what `read_doubted` returned."""
    answers = [YES if label else NO for label in tiles.labels]
    return np.array([path.stem not in doubted[word] for path, word in zip(tiles.paths, answers, strict=True)], bool)


def read_doubted(path: Path) -> dict[str, set[str]]:
    """Return `{answer: tiles}` of what `write_doubted` wrote; without a file no tile: that run doubts nothing.

    Raises:
        InputError: the file is another.
    """
    doubted: dict[str, set[str]] = {NO: set(), YES: set()}
    if not path.is_file():
        return doubted
    try:
        for line in read_json(path)["doubted"]:
            parse_tile_name(line["tile"])  # text?
            doubted[line["answer"]].add(line["tile"])
    except (KeyError, TypeError) as error:
        raise InputError(f"{path}: not what a run wrote; cyclic train --resume makes it again") from error
    return doubted
