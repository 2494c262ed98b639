"""Which files may be replaced, and which are images."""

import numpy as np
import pytest
import tifffile

from cyclic.errors import InputError
from cyclic.files import (
    SUMS,
    announce,
    atomic_folder,
    atomic_path,
    check_outputs,
    claim,
    image_files,
    lock_folder,
    read_json,
    write_image,
    write_json,
)
from cyclic.label_maps import write_label_map


@pytest.fixture
def scores(tmp_path):
    path = tmp_path / "scores.json"
    write_json(path, {"info": "made by cyclic"})
    claim(path)
    return path


def test_a_file_as_we_left_it_may_be_replaced(scores):
    assert check_outputs([scores]) == [scores]


def test_a_file_written_twice_may_be_replaced(scores):
    write_json(scores, {"info": "made by cyclic", "more": 1})
    claim(scores)
    assert check_outputs([scores]) == [scores]


@pytest.mark.parametrize("edited", ['{"info": "made by cyclic"}', ""])
def test_an_edited_file_stays_although_it_carries_our_mark(scores, edited):
    scores.write_text(edited)
    with pytest.raises(InputError, match="scores.json: exists, and was edited since cyclic wrote it"):
        check_outputs([scores])
    assert check_outputs([scores], overwrite=True) == [scores]


def test_a_file_written_anew_before_a_kill_may_be_replaced(scores):
    announce(scores)
    write_json(scores, {"info": "made by cyclic", "more": 1})
    assert check_outputs([scores]) == [scores]
    scores.write_text("mine")
    with pytest.raises(InputError, match="scores.json: exists, and was edited"):
        check_outputs([scores])


def test_a_line_torn_by_a_kill_spoils_no_other(scores):
    with (scores.parent / SUMS).open("a") as file:
        file.write("0123abc")
    write_json(scores, {"other": 1})
    claim(scores)
    assert check_outputs([scores]) == [scores]


def test_a_folder_is_written_by_one_process_at_a_time(tmp_path):
    with (
        lock_folder(tmp_path / "out"),
        pytest.raises(InputError, match="out: another process writes to this folder"),
        lock_folder(tmp_path / "out"),
    ):
        pytest.fail("two at a time")
    (tmp_path / "out/.tmp-left.png").write_text("half")
    with lock_folder(tmp_path / "out"):
        assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("earlier", [True, False], ids=["there before", "made"])
@pytest.mark.parametrize("written", [True, False], ids=["with a file", "empty"])
def test_an_error_leaves_no_empty_folder_that_was_not_there_before(tmp_path, earlier, written):
    out = tmp_path / "out"
    if earlier:
        out.mkdir()
    with pytest.raises(InputError, match="broken"), lock_folder(out):
        if written:
            (out / "a.txt").touch()
        raise InputError("broken")
    assert out.exists() == (earlier or written) and (out / "a.txt").exists() == written


def test_a_source_that_is_missing_is_named_and_not_the_space(tmp_path):
    with pytest.raises(InputError, match="gone.h5: no such file; check the path"), atomic_path(tmp_path / "a.h5"):
        (tmp_path / "gone.h5").read_bytes()
    assert not list(tmp_path.iterdir())


def test_json_nested_without_end_is_refused(tmp_path):
    (tmp_path / "a.json").write_text("[" * 100_000)
    with pytest.raises(InputError, match="a.json: not valid JSON"):
        read_json(tmp_path / "a.json")


def test_without_our_list_the_mark_decides(scores):
    (scores.parent / SUMS).unlink()
    assert check_outputs([scores]) == [scores]
    scores.write_text("mine")
    with pytest.raises(InputError, match="scores.json: exists, and cyclic did not write it"):
        check_outputs([scores])


def test_the_list_of_a_folder_is_that_of_sha256sum(scores):
    line = (scores.parent / SUMS).read_text()
    assert len(line.split("  ")[0]) == 64 and line.endswith("  scores.json\n")


@pytest.mark.parametrize("side", [8, 12_000])  # of a large one the mark lies far behind the beginning
def test_our_label_maps_are_no_images(tmp_path, side):
    write_image(tmp_path / "a.png", np.zeros((8, 8, 3), np.uint8))
    write_label_map(tmp_path / "a.tif", np.zeros((side, side), np.uint16))
    assert image_files(tmp_path) == {"a": tmp_path / "a.png"}
    assert check_outputs([tmp_path / "a.tif"]) == [tmp_path / "a.tif"]
    (tmp_path / "a.png").unlink()
    with pytest.raises(InputError, match="no images"):
        image_files(tmp_path)


def test_a_tiff_of_somebody_else_is_an_image(tmp_path):
    write_image(tmp_path / "a.png", np.zeros((8, 8, 3), np.uint8))
    tifffile.imwrite(tmp_path / "b.tif", np.zeros((8, 8, 3), np.uint8), software="a scanner")
    (tmp_path / "c.tif").write_bytes(b"broken")  # whoever reads it says so
    assert list(image_files(tmp_path)) == ["a", "b", "c"]
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((8, 8), np.uint8))
    with pytest.raises(InputError, match="same id"):
        image_files(tmp_path)


def test_a_folder_that_cannot_be_made_is_named_before_the_work(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="sub: no folder can be made here; a file lies where a folder is needed"):
        check_outputs([tmp_path / "file" / "sub" / "scores.json"])
    check_outputs([tmp_path / "new" / "sub" / "scores.json"])
    assert not (tmp_path / "new").exists()


def test_a_place_where_nothing_can_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file: no folder can be made here; a file lies where a folder is needed"):
        write_json(tmp_path / "file" / "scores.json", {})
    with pytest.raises(InputError, match="/proc/nowhere: no folder can be made here"):
        write_json("/proc/nowhere/scores.json", {})


def test_a_key_that_stands_twice_is_named_where_it_matters(tmp_path):
    (tmp_path / "split.json").write_text('{"train": ["a"], "val": ["b"], "train": ["c"]}')
    assert read_json(tmp_path / "split.json")["train"] == ["c"]
    with pytest.raises(InputError, match="split.json: not valid JSON .key 'train' stands twice"):
        read_json(tmp_path / "split.json", keys_once=True)


def test_a_folder_that_a_kill_left_unfinished_goes(tmp_path):
    left = tmp_path / ".tmp-out/images"
    left.mkdir(parents=True)
    (left / "half.png").write_text("half")
    with atomic_folder(tmp_path / "out") as folder:
        (folder / "a.txt").write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.txt"]


def test_a_new_folder_is_written_by_one_process_at_a_time(tmp_path):
    with atomic_folder(tmp_path / "out") as folder:
        (folder / "a.txt").write_text("first")
        with (
            pytest.raises(InputError, match="out: another process writes this folder; wait for its end"),
            atomic_folder(tmp_path / "out"),
        ):
            pytest.fail("two at a time")
    assert (tmp_path / "out/a.txt").read_text() == "first"


def test_what_a_kill_left_beside_an_output_goes_unless_somebody_writes_there(tmp_path):
    (tmp_path / ".tmp-left.json").write_text("half")
    with atomic_path(tmp_path / "b.json") as unfinished:
        unfinished.write_text("{}")
        check_outputs([tmp_path / "a.json"])
    assert {path.name for path in tmp_path.iterdir()} == {".tmp-left.json", "b.json"}
    check_outputs([tmp_path / "a.json"])
    assert [path.name for path in tmp_path.iterdir()] == ["b.json"]
