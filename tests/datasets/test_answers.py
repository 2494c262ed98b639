"""Answers as CSV: which line counts, what is refused, and the tiles that are cut by them."""

import numpy as np
import pytest

from cyclic.config import load_config
from cyclic.datasets.answers import COLUMNS, Answer, answer_settings, read_answers, training_answers
from cyclic.datasets.image_folder import ImageFolderDataset
from cyclic.datasets.layouts import open_splits
from cyclic.datasets.tile_answers import cut_answered
from cyclic.datasets.tile_writing import Tile
from cyclic.errors import InputError
from cyclic.files import write_image
from cyclic.images import read_image

HEAD = ",".join(COLUMNS) + "\n"


def line(answer, y=0, x=0, image="a", size=16):
    return Answer(Tile(image, y, x), size, answer, "2025-01-01T00:00:00+00:00", "me").line()


def write(path, *lines, head=HEAD):
    path.write_text(head + "".join(lines), encoding="utf-8")
    return path


@pytest.fixture
def images(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("a", "b, c"):
        write_image(tmp_path / "images" / f"{name}.png", rng.integers(0, 256, (40, 48, 3), np.uint8))
    return ImageFolderDataset(tmp_path / "images")


def test_the_last_line_of_a_tile_counts_and_an_undo_takes_it_back(tmp_path):
    lines = [line("yes"), line("no", 8), line("no"), line("undo"), line("yes", 16), line("undo", 16), line("undo", 16)]
    found = read_answers(write(tmp_path / "a.csv", *lines))
    assert [(each.tile.y, each.answer) for each in found] == [(0, "yes"), (8, "no")]


def test_a_name_with_commas_and_a_mark_at_the_start_are_read(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(HEAD + line("yes", image='b, "c"'), encoding="utf-8-sig")
    assert read_answers(path)[0].tile == Tile('b, "c"', 0, 0)


def test_a_line_that_a_kill_has_torn_does_not_count(tmp_path):
    path = write(tmp_path / "a.csv", line("yes"), line("no", 8)[:9])
    with pytest.warns(UserWarning, match="line 3 is not complete and does not count"):
        assert [each.answer for each in read_answers(path)] == ["yes"]
    # A whole line counts, also where an editor took the last line's end away.
    assert len(read_answers(write(tmp_path / "b.csv", line("yes"), line("no", 8)[:-1]))) == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no file of answers; a CSV file with the columns image,y,x"),
        ("image,answer\na,yes\n", "no file of answers"),
        (HEAD + "a,0,0,16,maybe,t,me\n", "line 2: answer 'maybe' is none of yes, no, skip, undo; correct or remove"),
        (HEAD + "a,0,0,16,yes\n" + line("no"), "line 2: 5 fields instead of 7"),
        (HEAD + "a,-1,0,16,yes,t,me\n", "line 2: y='-1'"),
        (HEAD + "a,1.5,0,16,yes,t,me\n", "line 2: y='1.5'"),
        (HEAD + "a,0,0,0,yes,t,me\n", "size='0'"),
        (HEAD + ",0,0,16,yes,t,me\n", "line 2: no image"),
        (HEAD + line("yes") + line("yes", size=32), "tiles of 16 and of 32 pixels"),
        (HEAD + 'a,"0,0,16,yes,t,me\n', "not a readable CSV file"),
    ],
)
def test_what_is_no_file_of_answers_is_named_in_one_line(tmp_path, content, message):
    path = tmp_path / "a.csv"
    path.write_text(content)
    with pytest.raises(InputError) as error:
        read_answers(path)
    assert message in str(error.value) and str(path) in str(error.value) and "\n" not in str(error.value)


def test_training_takes_yes_and_no_for_its_images_alone(tmp_path, images):
    kept = [line("yes"), line("yes", 24, 32), line("no", 8), line("no", 0, 0, "b, c")]
    path = write(tmp_path / "a.csv", *kept, line("skip", 16), line("yes", image="val"))
    assert "".join(each.line() for each in training_answers([path], images, 16)) == "".join(kept)


@pytest.mark.parametrize(
    ("more", "size", "message"),
    [
        ([line("no", 8), line("no", 9)], 32, "tiles of 16 pixels, but tiles.size is 32; --set tiles.size=16"),
        ([line("no", 8), line("no", 25)], 16, "y=25, x=0 lies outside .*a.png"),
        ([line("no", 8)], 16, "1 times 'no' for training images, and 2 are the least"),
    ],
)
def test_answers_that_cannot_train_are_refused(tmp_path, images, more, size, message):
    path = write(tmp_path / "a.csv", line("yes"), line("yes", 1), *more)
    with pytest.raises(InputError, match=message):
        training_answers([path], images, size)


def test_answers_for_other_images_are_named(tmp_path, images):
    path = write(tmp_path / "a.csv", line("yes", image="elsewhere"), line("no", 8, image="elsewhere"))
    with pytest.raises(InputError, match="none of its images is a training image, e.g. elsewhere, but a is"):
        training_answers([path], images, 16)


@pytest.fixture
def labs(tmp_path):
    """Folders of two labs, each with an image `a`."""
    for lab, side in (("near", 40), ("far", 64)):
        write_image(tmp_path / lab / "a.png", np.full((side, side, 3), side, np.uint8))
    return [tmp_path / "near", tmp_path / "far"]


def test_of_several_data_sets_each_has_its_file(tmp_path, labs):
    joined, _ = open_splits(labs)
    near = write(tmp_path / "near.csv", line("yes"), line("no", 8))
    far = write(tmp_path / "far.csv", line("yes", 48, 48), line("no"))
    found = [(each.tile.image_id, each.tile.y) for each in training_answers([near, far], joined, 16)]
    assert found == [("near__a", 0), ("near__a", 8), ("far__a", 48), ("far__a", 0)]
    # In the wrong order a tile lies outside its image.
    with pytest.raises(InputError, match=r"far\.csv: the tile at y=48, x=48 lies outside .*near/a\.png"):
        training_answers([far, near], joined, 16)


def test_one_file_names_the_set_of_each_image(tmp_path, labs):
    joined, _ = open_splits(labs)
    kept = [line(word, y, 0, f"{lab}__a") for lab in ("near", "far") for word, y in (("yes", 0), ("no", 20))]
    path = write(tmp_path / "all.csv", *kept)
    assert "".join(each.line() for each in training_answers([path], joined, 16)) == "".join(kept)


def test_files_that_do_not_fit_several_data_sets_are_refused(tmp_path, labs, images):
    joined, _ = open_splits(labs)
    one, other, third = (write(tmp_path / f"{name}.csv", line("yes"), line("no", 8)) for name in "xyz")
    for paths, dataset, message in (
        ([one], joined, "x.csv: none of its images .* e.g. a, but near__a is; give a file of answers for each --data"),
        ([one, other], images, "y.csv: 2 files of answers for 1 data sets; give one for each --data"),
        ([one, other, third], joined, "z.csv: 3 files of answers for 2 data sets"),
        ([one, one], joined, "x.csv: given twice"),
    ):
        with pytest.raises(InputError, match=message):
            training_answers(paths, dataset, 16)
    with pytest.raises(InputError, match=r"w\.csv: answers for tiles of 32 pixels, those of .*x\.csv have 16"):
        answer_settings([one, write(tmp_path / "w.csv", line("yes", size=32))])


def test_answered_tiles_are_cut_into_the_folder_of_their_answer(tmp_path, images):
    lines = [line("yes", 3, 5), line("yes", 1), line("no", 24, 32, "b, c"), line("no", 7)]
    answers = training_answers([write(tmp_path / "a.csv", *lines)], images, 16)
    for _ in range(2):  # a stage that was killed runs again
        counts = cut_answered(images, answers, tmp_path / "tiles")
    assert (counts.positive, counts.negative) == (2, 2)
    found = {path.relative_to(tmp_path / "tiles").as_posix() for path in (tmp_path / "tiles").rglob("*.png")}
    assert found == {"positive/a_3_5.png", "positive/a_1_0.png", "negative/b, c_24_32.png", "negative/a_7_0.png"}
    assert np.array_equal(read_image(tmp_path / "tiles/positive/a_3_5.png"), images.image("a")[3:19, 5:21])


def test_settings_follow_from_the_file(tmp_path):
    path = write(tmp_path / 'no: "é😀".csv', line("yes", size=48))
    tiles = load_config((), answer_settings([path])).tiles
    assert (tiles.answers, tiles.size) == ([str(path)], 48)
    # One file is stored as runs of earlier versions did, which go on with it.
    assert tiles.model_dump(mode="json")["answers"] == str(path)
    both = load_config((), answer_settings([path, write(tmp_path / "b.csv", line("no", size=48))])).tiles
    assert both.model_dump(mode="json")["answers"] == both.answers == [str(path), str(tmp_path / "b.csv")]
    with pytest.raises(InputError, match="no answer in it"):
        answer_settings([write(path)])
