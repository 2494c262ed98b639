"""Answers of a person for tiles, as CSV: a line for each answer, appended in order.

    image,y,x,size,answer,time,who
    slide_a,96,480,64,yes,2025-03-01T09:12:44+00:00,anna

`image` is the image's file name without suffix, behind `<data set>__` where the images of several data sets were
answered together; `y`, `x` is the tile's top left corner and `size` its side, in pixels.
`answer` is yes (shows a nucleus), no, skip, or undo, which takes the tile's last line back. The last line of a tile
counts. `time` is when the answer was given, `who` gave it.
"""

import csv
import io
import json
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cyclic.datasets.dataset import NucleiDataset
from cyclic.datasets.joined import joined_id
from cyclic.datasets.tile_writing import Tile
from cyclic.errors import InputError
from cyclic.files import require_file, same_place
from cyclic.images import read_shape

COLUMNS = ("image", "y", "x", "size", "answer", "time", "who")
YES, NO, SKIP, UNDO = "yes", "no", "skip", "undo"
FORMAT = f"a CSV file with the columns {','.join(COLUMNS)} is needed, as cyclic label writes it"
# A person's answers train from this many of each kind on: one of each is held out.
LEAST = 2
# What a learning curve compares: a quarter of the answers, half, all.
PARTS = (0.25, 0.5, 1.0)


@dataclass(frozen=True)
class Answer:
    """One line.

    Attributes:
        tile: where the tile lies.
        size: its side in px.
        answer: "yes", "no", "skip" or "undo".
        time: ISO 8601.
        who: name of the person.
    """

    tile: Tile
    size: int
    answer: str
    time: str
    who: str

    def line(self) -> str:
        """Return the answer as a line of CSV, with its end."""
        text = io.StringIO()
        where = (self.tile.image_id, self.tile.y, self.tile.x, self.size)
        csv.writer(text, lineterminator="\n").writerow([*where, self.answer, self.time, self.who])
        return text.getvalue()


def read_answers(path: str | Path) -> list[Answer]:
    """Return the answers of a file that count, one a tile, in the order in which they were given.

    Raises:
        InputError: no such file, not a file of answers, a line that is none, or tiles of two sizes.
    """
    return effective(read_lines(path))


def read_lines(path: str | Path) -> list[Answer]:
    """Return every line of a file of answers, also those that were taken back.

    A last line that a kill has torn is left out, with a warning.

    Raises:
        InputError: see `read_answers`.
    """
    path = require_file(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a readable CSV file ({error}); {FORMAT}") from error
    if not rows or tuple(rows[0]) != COLUMNS:
        raise InputError(f"{path}: no file of answers; {FORMAT}")
    lines = []
    for number, row in enumerate(rows[1:], start=2):
        if not row:
            continue
        try:
            lines.append(_parse(row))
        except ValueError as error:
            if number == len(rows) and not text.endswith("\n"):
                warnings.warn(f"{path}: line {number} is not complete and does not count", stacklevel=2)
                break
            raise InputError(f"{path}: line {number}: {error}; correct or remove the line") from error
    sizes = sorted({line.size for line in lines})
    if len(sizes) > 1:
        raise InputError(f"{path}: answers for tiles of {sizes[0]} and of {sizes[1]} pixels; keep one size in a file")
    return lines


def _parse(row: list[str]) -> Answer:
    if len(row) != len(COLUMNS):
        raise ValueError(f"{len(row)} fields instead of {len(COLUMNS)}")
    image, y, x, size, answer, time, who = row
    if answer not in (YES, NO, SKIP, UNDO):
        raise ValueError(f"answer {answer!r} is none of yes, no, skip, undo")
    if not image or not (y.isascii() and x.isascii() and size.isascii()):
        raise ValueError("no image, or a place that is no number")
    if not (y.isdigit() and x.isdigit() and size.isdigit() and int(size)):
        raise ValueError(f"y={y!r}, x={x!r}, size={size!r} are no place in pixels")
    return Answer(Tile(image, int(y), int(x)), int(size), answer, time, who)


def effective(lines: Iterable[Answer]) -> list[Answer]:
    """Return the lines that count: the last of each tile that was not taken back, oldest first."""
    standing: dict[Tile, list[tuple[int, Answer]]] = {}
    for number, line in enumerate(lines):
        of_tile = standing.setdefault(line.tile, [])
        if line.answer != UNDO:
            of_tile.append((number, line))
        elif of_tile:
            of_tile.pop()
    last = sorted((of_tile[-1] for of_tile in standing.values() if of_tile), key=lambda item: item[0])
    return [line for _, line in last]


def answers_by_file(paths: Sequence[str | Path], dataset: NucleiDataset) -> dict[str, list[Answer]]:
    """Return `{file: its answers that count}`, with images named as `dataset` names them.

    Args:
        paths: one file, whose images are named so already; or one for each of the sets that `dataset` joins, in their
            order, whose images are named as in their folder.
        dataset: the images.

    Raises:
        InputError: a broken file, one that is given twice, or another number of files.
    """
    if len(paths) == 1:
        return {str(paths[0]): read_answers(paths[0])}
    check_number(paths, dataset)
    pairs = zip(dataset.set_names, paths, strict=True)
    return {str(path): [_in_set(line, name) for line in read_answers(path)] for name, path in pairs}


def check_number(paths: Sequence[str | Path], dataset: NucleiDataset) -> None:
    """Look whether several files of answers are one for each of the sets that `dataset` joins.

    Raises:
        InputError: they are more or fewer, or one is given twice.
    """
    resolved = [same_place(path) for path in paths]
    for path, place in zip(paths, resolved, strict=True):
        if resolved.count(place) > 1:
            raise InputError(f"{path}: given twice; give a file of answers for each --data, in the same order")
    sets = max(len(dataset.set_names), 1)
    if sets != len(paths):
        raise InputError(
            f"{paths[-1]}: {len(paths)} files of answers for {sets} data sets; give one for each --data, in the same "
            "order, or join those of several people with cyclic label --merge"
        )


def _in_set(line: Answer, name: str) -> Answer:
    return replace(line, tile=replace(line.tile, image_id=joined_id(name, line.tile.image_id)))


def first_part(order: np.ndarray, part: float) -> np.ndarray:
    """Return the first share `part` of an array, one at least.

    >>> first_part(np.arange(10), 0.25)
    array([0, 1])
    """
    return order[: max(1, round(part * len(order)))]


def training_answers(paths: Sequence[str | Path], dataset: NucleiDataset, size: int) -> list[Answer]:
    """Return the yes and no for tiles of the images of `dataset`; answers for other images are left out.

    Args:
        paths: files of answers, see `answers_by_file`.
        dataset: the training images, of which only headers are read.
        size: side of a tile that the run expects, in px.

    Raises:
        InputError: a broken file, one with answers for other images alone, tiles of another size, one that does not lie
            within its image, or fewer than two yes or two no in all.
    """
    answers = []
    for path, given in answers_by_file(paths, dataset).items():
        answers += _for_training(path, given, dataset, size)
    for kind in (YES, NO):
        count = sum(line.answer == kind for line in answers)
        if count < LEAST:
            raise InputError(
                f"{', '.join(map(str, paths))}: {count} times {kind!r} for training images, and {LEAST} are the least; "
                "answer more tiles"
            )
    return answers


def _for_training(path: str, given: list[Answer], dataset: NucleiDataset, size: int) -> list[Answer]:
    """Return what `training_answers` does, of one file with the answers `given`."""
    if given and not any(line.tile.image_id in dataset.ids for line in given):
        cure = "give the images that were answered"
        if dataset.set_names:
            cure = "give a file of answers for each --data, in the same order"
        raise InputError(
            f"{path}: none of its images is a training image, e.g. {given[0].tile.image_id}, but {dataset.ids[0]} is; "
            f"{cure}"
        )
    answers = [line for line in given if line.answer in (YES, NO) and line.tile.image_id in dataset.ids]
    for line in answers:
        if line.size != size:
            raise InputError(
                f"{path}: answers for tiles of {line.size} pixels, but tiles.size is {size}; --set tiles.size="
                f"{line.size}"
            )
    require_inside(path, answers, dataset)
    return answers


def require_inside(path: str | Path, answers: Iterable[Answer], dataset: NucleiDataset) -> None:
    """Raise `InputError` where a tile of an image of `dataset`, answered in the file `path`, does not lie within it."""
    outside = first_outside([(line.tile, line.size) for line in answers if line.tile.image_id in dataset.ids], dataset)
    if outside is not None:
        image = dataset.image_path(outside.image_id)
        raise InputError(
            f"{path}: the tile at y={outside.y}, x={outside.x} lies outside {image}; give the images that were answered"
        )


def first_outside(tiles: Sequence[tuple[Tile, int]], dataset: NucleiDataset) -> Tile | None:
    """Return the first of these tiles, each with its side in px, that does not lie within its image of `dataset`."""
    shapes = {name: read_shape(dataset.image_path(name)) for name in {tile.image_id for tile, _ in tiles}}
    for tile, size in tiles:
        height, width = shapes[tile.image_id]
        if tile.y + size > height or tile.x + size > width:
            return tile
    return None


def answer_settings(paths: Sequence[str | Path]) -> list[str]:
    """Return the settings, `section.key=value`, of a run that learns from files of answers.

    Raises:
        InputError: see `read_answers`; or a file has no answer, or tiles of another size than the first one.
    """
    sizes = {path: _size(path) for path in paths}
    for path, size in sizes.items():
        if size != sizes[paths[0]]:
            raise InputError(
                f"{path}: answers for tiles of {size} pixels, those of {paths[0]} have {sizes[paths[0]]}; one model "
                "takes tiles of one size, so answer tiles of that size"
            )
    return [
        f"tiles.answers={json.dumps([str(path) for path in paths], ensure_ascii=False)}",
        f"tiles.size={sizes[paths[0]]}",
    ]


def _size(path: str | Path) -> int:
    answers = read_answers(path)
    if not answers:
        raise InputError(f"{path}: no answer in it; answer tiles with cyclic label first")
    return answers[0].size
