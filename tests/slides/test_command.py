"""`cyclic predict` on slides, as a user runs it: what is taken for a slide, one line for what is wrong, and Ctrl-C."""

import numpy as np
import pytest
from drawn_slides import draw_blobs, fake_predictor, write_svs

from cyclic import cli
from cyclic.errors import InputError
from cyclic.files import write_image
from cyclic.slides import folder
from cyclic.slides.command import are_slides, parse_region


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    """Run `cyclic predict`: `(exit code, stdout, stderr)`, with a network that finds dark blobs."""
    (tmp_path / "w.h5").write_bytes(b"weights")
    monkeypatch.setattr(folder.Predictor, "load", lambda *_: fake_predictor())

    def run(*arguments):
        given = [str(each) for each in arguments]
        with pytest.raises(SystemExit) as left:
            cli.main(["predict", *given, "--weights", str(tmp_path / "w.h5"), "--out", str(tmp_path / "out")])
        captured = capsys.readouterr()
        return left.value.code, captured.out, captured.err

    return run


def test_slides_are_told_from_images_by_file_option_or_format(tmp_path):
    write_svs(tmp_path / "a.svs", draw_blobs(300, 300))
    write_image(tmp_path / "b.png", draw_blobs(60, 60))
    (tmp_path / "images").mkdir()
    write_image(tmp_path / "images/c.png", draw_blobs(60, 60))
    assert are_slides(tmp_path / "a.svs", None) and are_slides(tmp_path, None)
    assert not are_slides(tmp_path / "b.png", None, None) and not are_slides(tmp_path / "images", ["csv"])
    assert are_slides(tmp_path / "b.png", ["parquet"]) and are_slides(tmp_path / "b.png", None, None, "0,0,9,9")
    assert not are_slides(tmp_path / "b.png", ["svg"])


def test_a_slide_is_predicted_with_progress_and_its_files_named(call, tmp_path):
    write_svs(tmp_path / "a.svs", draw_blobs(300, 420))
    code, out, err = call(
        tmp_path / "a.svs", "--tissue", "none", "--region", "0,0,300,300", "--format", "geojson.gz,csv"
    )
    assert code == 0 and "nuclei in 1 images" in out and "tiles: 1/1" in err
    assert sorted(path.name for path in (tmp_path / "out").glob("a.*")) == ["a.csv", "a.geojson.gz"]


def test_wrong_use_is_one_line_and_exit_code_2(call, tmp_path):
    write_svs(tmp_path / "a.svs", draw_blobs(300, 420))
    write_svs(tmp_path / "glass.svs", np.full((300, 300, 3), 244, np.uint8))
    for arguments, words in (
        (("a.svs", "--region", "1,2,3"), "--region 1,2,3: give X,Y,WIDTH,HEIGHT"),
        (("a.svs", "--region", "0,0,900,900"), "is not within its 420 x 300 pixels"),
        (("a.svs", "--workers", "2", "--scheduler", "tcp://x:1"), "exclude each other"),
        (("a.svs", "--format", "geojson,overlay"), "format overlay: of slides, use one or more"),
        (("a.svs", "--tissue", tmp_path / "none.geojson"), "none.geojson: no such file"),
        (("glass.svs",), "glass.svs: no tissue found"),
    ):
        code, _, err = call(tmp_path / arguments[0], *arguments[1:])
        lines = [line for line in err.splitlines() if line.startswith("error: ")]
        assert code == 2 and len(lines) == 1 and words in lines[0], err


def test_ctrl_c_says_how_to_go_on(call, tmp_path, monkeypatch):
    write_svs(tmp_path / "a.svs", draw_blobs(300, 420))

    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("cyclic.slides.folder.find_nuclei", stop)
    code, _, err = call(tmp_path / "a.svs")
    assert code == 130 and "the same command goes on from here" in err


@pytest.mark.parametrize("text", ["", "1,2,3", "a,b,c,d", "1;2;3;4", "1,2,3,4,5"])
def test_a_region_is_four_numbers(text):
    with pytest.raises(InputError, match="four whole numbers"):
        parse_region(text)
