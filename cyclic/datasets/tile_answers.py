"""Cut the tiles that a person has answered: yes into `positive/`, no into `negative/`."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from cyclic.datasets.answers import NO, YES, Answer
from cyclic.datasets.tile_folder import CLASSES
from cyclic.datasets.tile_writing import Images, TileCounts, write_tiles

FOLDERS = dict(zip((NO, YES), CLASSES, strict=True))


def cut_answered(images: Images, answers: Sequence[Answer], out: Path) -> TileCounts:
    """Cut the tiles into `out/{positive,negative}/<image id>_<y>_<x>.png`; tiles that lie there already are removed.

    Args:
        images: where the pixels are.
        answers: what `cyclic.datasets.answers.training_answers` returned; all of one size.
        out: a run's own folder of tiles.
    """
    tiles = {folder: [line.tile for line in answers if line.answer == word] for word, folder in FOLDERS.items()}
    for folder in tiles:
        shutil.rmtree(out / folder, ignore_errors=True)
    size, counts = answers[0].size, {folder: len(members) for folder, members in tiles.items()}
    write_tiles(images, tiles, out, size, {"settings": {"size": size}, "counts": counts})
    return TileCounts(counts["positive"], counts["negative"])
