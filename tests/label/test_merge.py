"""Answers of several people: the majority counts, and their disagreement is told."""

import pytest

from cyclic.datasets.answers import COLUMNS, Answer, read_answers
from cyclic.datasets.tile_writing import Tile
from cyclic.errors import InputError
from cyclic.label.merge import cohen_kappa, merge_answers


def write(path, who, words, size=16, day=1):
    """Tile y = 0, 1, 2, ... is answered with each word; None: not at all."""
    lines = [Answer(Tile("a", y, 0), size, word, f"2025-01-0{day}", who).line() for y, word in enumerate(words) if word]
    path.write_text(",".join(COLUMNS) + "\n" + "".join(lines))
    return path


def test_the_majority_counts_and_a_draw_is_skipped(tmp_path):
    files = [
        write(tmp_path / "anna.csv", "anna", ["yes", "yes", "no", "yes", "skip", "skip", None]),
        write(tmp_path / "ben.csv", "ben", ["yes", "no", "no", "no", "yes", "skip", "no"], day=2),
        write(tmp_path / "cleo.csv", "cleo", ["no", "no", None, "skip", "no", None, None]),
    ]
    rows, undecided = merge_answers(files, tmp_path / "all.csv")
    merged = read_answers(tmp_path / "all.csv")
    assert [line.answer for line in merged] == ["yes", "no", "no", "skip", "skip", "skip", "no"]
    assert [tile.y for tile in undecided] == [3, 4]
    assert merged[0].who == "anna+ben+cleo" and merged[0].time == "2025-01-02" and merged[6].who == "ben"
    assert [row["n_both"] for row in rows] == [4, 2, 3]
    assert [row["share"] for row in rows] == [0.5, 0.0, pytest.approx(1 / 3)]
    assert rows[0]["first"] == str(files[0]) and rows[0]["second"] == str(files[1])


def test_kappa_is_that_of_the_textbook():
    pairs = [("yes", "yes")] * 20 + [("yes", "no")] * 5 + [("no", "yes")] * 10 + [("no", "no")] * 15
    assert cohen_kappa(pairs) == (0.7, pytest.approx(0.4))
    assert cohen_kappa([("yes", "no"), ("no", "yes")]) == (0.0, -1.0)
    # Where chance alone agrees on everything, agreement tells nothing.
    assert cohen_kappa([("yes", "yes")] * 3) == (1.0, None) and cohen_kappa([]) == (None, None)


def test_what_cannot_be_merged_is_refused(tmp_path):
    one, other = write(tmp_path / "a.csv", "a", ["yes"]), write(tmp_path / "b.csv", "b", ["yes"], size=32)
    with pytest.raises(InputError, match="two files of answers or more"):
        merge_answers([one], tmp_path / "all.csv")
    with pytest.raises(InputError, match="named twice"):
        merge_answers([one, one], tmp_path / "all.csv")
    with pytest.raises(InputError, match=r"b.csv: tiles of 32 pixels, those of .*a.csv have 16"):
        merge_answers([one, other], tmp_path / "all.csv")
    with pytest.raises(InputError, match=r"b.csv: exists already, and answers are never replaced"):
        merge_answers([one, write(tmp_path / "c.csv", "c", ["no"])], other)
    assert read_answers(other)[0].size == 32
