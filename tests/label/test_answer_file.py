"""Every answer is on disk at once, and what a kill or a full disk leaves behind is gone on with."""

import errno

import pytest

from cyclic.datasets.answers import read_answers
from cyclic.datasets.tile_writing import Tile
from cyclic.errors import InputError
from cyclic.label.answer_file import AnswerFile

HERE, THERE = Tile("a", 0, 0), Tile("a", 8, 0)


def words(path):
    return [(line.tile.y, line.answer) for line in read_answers(path)]


def test_an_answer_is_read_back_before_the_file_is_closed(tmp_path):
    path = tmp_path / "new/answers.csv"
    answers = AnswerFile(path, "anna", 16)
    answers.add(HERE, "yes")
    answers.add(THERE, "skip")
    answers.add(HERE, "no")
    assert words(path) == [(8, "skip"), (0, "no")]
    line = read_answers(path)[0]
    assert (line.who, line.size) == ("anna", 16) and line.time.endswith("+00:00")


def test_a_file_that_got_no_answer_goes_again(tmp_path):
    path = tmp_path / "answers.csv"
    AnswerFile(path, "anna", 16).close()
    assert not path.exists()
    answers = AnswerFile(path, "anna", 16)
    with pytest.raises(InputError, match="another process writes it"):
        AnswerFile(path, "ben", 16)
    answers.add(HERE, "yes")
    answers.undo()
    answers.close()
    AnswerFile(path, "anna", 16).close()
    assert words(path) == []


def test_undo_takes_back_answer_after_answer_also_after_a_restart(tmp_path):
    path = tmp_path / "answers.csv"
    answers = AnswerFile(path, "anna", 16)
    for tile, word in ((HERE, "yes"), (THERE, "yes"), (THERE, "no")):
        answers.add(tile, word)
    assert answers.undo() == THERE and words(path) == [(0, "yes"), (8, "yes")]
    answers.close()
    answers = AnswerFile(path, "ben", 16)
    assert answers.undo() == THERE and answers.undo() == HERE and answers.undo() is None
    assert words(path) == [] and answers.answers == []


@pytest.mark.parametrize("torn", ["a,8,0,1", "a,8,0,16,no,2025-01-01,anna"])
def test_a_file_that_a_kill_has_torn_goes_on(tmp_path, torn):
    path = tmp_path / "answers.csv"
    AnswerFile(path, "anna", 16).add(HERE, "yes")
    whole = torn.endswith("anna")
    path.write_text(path.read_text() + torn)
    if whole:
        answers = AnswerFile(path, "anna", 16)
    else:
        with pytest.warns(UserWarning, match="line 3 is not complete"):
            answers = AnswerFile(path, "anna", 16)
    answers.add(Tile("a", 20, 0), "no")
    assert words(path) == [(0, "yes"), *([(8, "no")] if whole else []), (20, "no")]


def test_what_a_full_disk_took_only_a_part_of_is_taken_back(tmp_path):
    path = tmp_path / "answers.csv"
    answers = AnswerFile(path, "anna", 16)
    answers.add(HERE, "yes")
    before, file = path.read_bytes(), answers._file

    class Full:
        def write(self, data):
            file.write(data[:5])
            return 5

        fileno = file.fileno

    answers._file = Full()
    with pytest.raises(OSError) as error:
        answers.add(THERE, "no")
    assert error.value.errno == errno.ENOSPC and path.read_bytes() == before
    assert [line.tile for line in answers.answers] == [HERE]


def test_one_file_has_one_writer_and_one_size(tmp_path):
    path = tmp_path / "answers.csv"
    answers = AnswerFile(path, "anna", 16)
    answers.add(HERE, "yes")
    with pytest.raises(InputError, match="another process writes it"):
        AnswerFile(path, "ben", 16)
    answers.close()
    with pytest.raises(InputError, match="tiles of 16 pixels, not 32; give --size 16 or another file"):
        AnswerFile(path, "ben", 32)
    AnswerFile(path, "ben", 16).close()


def test_a_file_of_something_else_is_left_alone(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("a,b\n1,2")
    with pytest.raises(InputError, match="no file of answers"):
        AnswerFile(path, "anna", 16)
    assert path.read_text() == "a,b\n1,2"
    with pytest.raises(InputError, match="cannot be written"):
        AnswerFile(tmp_path, "anna", 16)
