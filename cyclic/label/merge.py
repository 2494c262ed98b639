"""Answers of several people as one file, and how far they agree."""

import itertools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from cyclic.datasets.answers import COLUMNS, NO, SKIP, YES, Answer, read_answers
from cyclic.datasets.tile_writing import Tile
from cyclic.errors import InputError
from cyclic.files import atomic_path


def merge_answers(paths: Sequence[str | Path], out: str | Path) -> tuple[list[dict], list[Tile]]:
    """Write one answer a tile: that of the majority, and skip where as many said yes as no.

    Args:
        paths: files of answers, one a person, of tiles of one size.
        out: file to write; there is none yet.

    Returns:
        What `agreement` returns, and the tiles on which no majority was found.

    Raises:
        InputError: fewer than two files, a broken one, tiles of two sizes, or `out` is there already.
    """
    out = Path(out)
    if len(paths) < 2:
        raise InputError("merge: give two files of answers or more")
    if out.exists():
        raise InputError(f"{out}: exists already, and answers are never replaced; choose another file")
    people = {str(path): {line.tile: line for line in read_answers(path)} for path in paths}
    if len(people) < len(paths):
        raise InputError("merge: one file is named twice; name each once")
    sizes = {line.size: path for path, lines in people.items() for line in lines.values()}
    if len(sizes) > 1:
        (one, first), (other, second) = sorted(sizes.items())[:2]
        raise InputError(f"{second}: tiles of {other} pixels, those of {first} have {one}; merge tiles of one size")
    merged, undecided = [], []
    for tile in dict.fromkeys(tile for lines in people.values() for tile in lines):
        given = [lines[tile] for lines in people.values() if tile in lines]
        merged.append(_majority(given))
        if merged[-1].answer == SKIP and any(line.answer != SKIP for line in given):
            undecided.append(tile)
    with atomic_path(out) as temporary:
        text = ",".join(COLUMNS) + "\n" + "".join(line.line() for line in merged)
        temporary.write_text(text, encoding="utf-8")
    return agreement(people), undecided


def _majority(lines: list[Answer]) -> Answer:
    votes = Counter(line.answer for line in lines)
    answer = SKIP if votes[YES] == votes[NO] else max((YES, NO), key=votes.__getitem__)
    who = "+".join(sorted({line.who for line in lines}))
    return Answer(lines[0].tile, lines[0].size, answer, max(line.time for line in lines), who)


def agreement(people: dict[str, dict[Tile, Answer]]) -> list[dict]:
    """Return a row for each two people: `first`, `second`, `n_both`, `share` and `kappa`.

    Tiles count that both answered with yes or no. `share` is that of the same answers, `kappa` is Cohen's (Cohen 1960,
    Educational and Psychological Measurement 20): what the agreement is above chance, 1 at most. Both are None without
    such a tile, and `kappa` where chance alone agrees on everything.
    """
    rows = []
    for (first, one), (second, other) in itertools.combinations(people.items(), 2):
        pairs = [(one[tile].answer, other[tile].answer) for tile in one if tile in other]
        pairs = [pair for pair in pairs if SKIP not in pair]
        share, kappa = cohen_kappa(pairs)
        rows.append({"first": first, "second": second, "n_both": len(pairs), "share": share, "kappa": kappa})
    return rows


def cohen_kappa(pairs: Sequence[tuple[str, str]]) -> tuple[float | None, float | None]:
    """Return the share of equal pairs and Cohen's kappa.

    >>> cohen_kappa([("yes", "yes")] * 20 + [("yes", "no")] * 5 + [("no", "yes")] * 10 + [("no", "no")] * 15)
    (0.7, 0.4)
    """
    if not pairs:
        return None, None
    count = len(pairs)
    share = sum(one == other for one, other in pairs) / count
    first, second = (Counter(side) for side in zip(*pairs, strict=True))
    chance = sum(first[word] * second[word] for word in (YES, NO)) / count**2
    return share, None if chance == 1 else round((share - chance) / (1 - chance), 12)
