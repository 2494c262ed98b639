"""Slides on the command's way: files of every format, a kill and what goes on, bad slides among good ones."""

import json
import os
import re
import warnings

import numpy as np
import pytest
from drawn_slides import draw_blobs, fake_predictor, write_ome, write_svs

from cyclic.errors import InputError
from cyclic.files import write_image
from cyclic.slides import folder as module
from cyclic.slides import tasks
from cyclic.slides.detection import here
from cyclic.slides.finding import find_slides, is_slide
from cyclic.slides.folder import predict_slides
from cyclic.slides.predict import SlideOptions

OPTIONS = SlideOptions(mpp=0.25, tissue="none", chunk=100)


def predict(slides, weights, out, formats=("geojson",), options=OPTIONS, **more):
    return predict_slides(slides, weights, out, formats, options, **more)


def visible(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


@pytest.fixture
def slides(tmp_path):
    """A folder of two slides."""
    (tmp_path / "slides").mkdir()
    write_svs(tmp_path / "slides/a.svs", draw_blobs(280, 330, seed=1), mpp=0.25)
    write_ome(tmp_path / "slides/b.ome.tif", draw_blobs(270, 270, seed=2), mpp=0.25)
    return tmp_path / "slides"


def test_what_is_a_slide(slides, tmp_path):
    write_image(slides / "c.png", draw_blobs(50, 60))
    (slides / "dicom").mkdir()
    (slides / "dicom/1.dcm").write_bytes(b"")
    (slides / "notes.txt").write_text("none")
    (slides / ".hidden.svs").write_text("none")
    assert list(find_slides(slides)) == ["a", "b", "c", "dicom"]
    assert [is_slide(slides / name) for name in ("a.svs", "b.ome.tif", "c.png", "dicom")] == [True, True, False, True]
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no slides"):
        find_slides(tmp_path / "empty")
    write_image(slides / "a.png", draw_blobs(50, 60))
    with pytest.raises(InputError, match="same name as"):
        find_slides(slides)


def test_each_slide_has_its_results_and_nothing_else_stays(slides, weights, tmp_path):
    counts = predict(slides, weights, tmp_path / "out", ("geojson", "csv"))
    assert list(counts) == ["a", "b"] and min(counts.values()) > 10
    assert visible(tmp_path / "out") == ["a.csv", "a.geojson", "b.csv", "b.geojson"]
    assert [path.name for path in (tmp_path / "out/.a.cyclic").iterdir()] == ["done.json"]
    for name, count in counts.items():
        assert len(json.loads((tmp_path / f"out/{name}.geojson").read_text())["features"]) == count


class Killed(Exception):
    """Stands for the end of the process."""


def dying_after(count, done):
    """A pool that notes what it does and dies after `count` tasks."""

    def pool(some):
        for task in some:
            if len(done) == count:
                raise Killed
            done.append(task.path)
            yield task()

    return pool


def test_a_kill_at_any_chunk_repeats_none_and_gives_the_same_bytes(slides, weights, tmp_path):
    slide = slides / "a.svs"
    predict(slide, weights, tmp_path / "whole", ("geojson", "csv"))
    total: list = []
    predict(slide, weights, tmp_path / "count", pool=dying_after(-1, total))
    assert len(total) > 8
    done: list = []
    for kills in range(1, len(total), 3):
        with pytest.raises(Killed):
            predict(slide, weights, tmp_path / "out", ("geojson", "csv"), pool=dying_after(kills, done))
        assert visible(tmp_path / "out") == []
    predict(slide, weights, tmp_path / "out", ("geojson", "csv"), pool=dying_after(-1, done))
    assert len(done) == len(set(done)) == len(total)
    for name in ("a.geojson", "a.csv"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_kill_while_results_are_written_leaves_none(slides, weights, tmp_path, monkeypatch):
    from cyclic.slides.writers.outlines import GeoJsonWriter

    def dies(self, nuclei):
        raise Killed

    monkeypatch.setattr(GeoJsonWriter, "add", dies)
    with pytest.raises(Killed):
        predict(slides / "a.svs", weights, tmp_path / "out")
    assert visible(tmp_path / "out") == []
    monkeypatch.undo()
    monkeypatch.setattr(module.Predictor, "load", lambda *_: fake_predictor())
    done: list = []
    assert predict(slides / "a.svs", weights, tmp_path / "out", pool=dying_after(0, done))["a"] > 10


def test_finished_slides_are_not_predicted_again_and_other_settings_are(slides, weights, tmp_path, monkeypatch):
    first = predict(slides, weights, tmp_path / "out")
    monkeypatch.setattr(module.Predictor, "load", lambda *_: pytest.fail("the model is not needed"))
    assert predict(slides, weights, tmp_path / "out") == first
    monkeypatch.setattr(module.Predictor, "load", lambda *_: fake_predictor())
    done: list = []
    with pytest.warns(UserWarning, match="replaced by the new prediction"):
        predict(slides, weights, tmp_path / "out", options=SlideOptions(0.25, (0, 0, 200, 200), "none"),
                pool=dying_after(-1, done))  # fmt: skip
    assert done


def test_chunks_of_other_settings_are_thrown_away_with_a_warning(slides, weights, tmp_path):
    with pytest.raises(Killed):
        predict(slides / "a.svs", weights, tmp_path / "out", pool=dying_after(2, []))
    with pytest.warns(UserWarning, match="chunks of other settings are thrown away"):
        predict(slides / "a.svs", weights, tmp_path / "out", options=SlideOptions(0.25, None, "none", 120))


def test_a_bad_slide_is_named_and_the_rest_is_done(slides, weights, tmp_path):
    (slides / "c.svs").write_text("no slide")
    write_svs(slides / "d.svs", np.full((300, 300, 3), 244, np.uint8))
    with pytest.raises(InputError, match=r"^2 of 4 slides not predicted: .*c\.svs: OpenSlide.*d\.svs: no tissue"):
        predict(slides, weights, tmp_path / "out", options=SlideOptions(mpp=0.25))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        ".a.cyclic", ".b.cyclic", ".cyclic.sums", "a.geojson", "b.geojson",
    ]  # fmt: skip


def test_a_slide_is_predicted_by_one_process_at_a_time(slides, weights, tmp_path):
    def second(some):
        with pytest.raises(InputError, match=r"\.a\.cyclic: another process writes to this folder"):
            predict(slides / "a.svs", weights, tmp_path / "out", options=SlideOptions(0.25, None, "none", 120))
        yield from here(some)

    assert predict(slides / "a.svs", weights, tmp_path / "out", pool=second)["a"] > 10


def test_files_of_others_are_not_replaced(slides, weights, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a.geojson").write_text("mine")
    with pytest.raises(InputError, match=r"a\.geojson: exists, and cyclic did not write it"):
        predict(slides / "a.svs", weights, tmp_path / "out")
    with pytest.warns(UserWarning, match="replaced by the new prediction"):
        predict(slides / "a.svs", weights, tmp_path / "out", overwrite=True)
    assert (tmp_path / "out/a.geojson").read_text() != "mine"
    (tmp_path / "out/a.ome.zarr").mkdir()
    with pytest.raises(InputError, match=r"a\.ome\.zarr: exists, and cyclic did not write it"):
        predict(slides / "a.svs", weights, tmp_path / "out", ("ome-zarr",))


def test_wrong_options_are_refused_before_anything_is_done(slides, weights, tmp_path):
    for call, words in {
        lambda: predict(slides, weights, tmp_path / "out", ("overlay",)): "format overlay: of slides, use one or more",
        lambda: predict(slides, weights, tmp_path / "out", ()): "format none",
        lambda: predict(slides, weights, tmp_path / "out", options=SlideOptions(tissue="x.geojson")): "no such file",
    }.items():
        with pytest.raises(InputError, match=re.escape(words)):
            call()
    assert not (tmp_path / "out").exists()


def test_a_file_stays_open_until_it_is_replaced(tmp_path):
    write_image(tmp_path / "a.png", draw_blobs(20, 30))
    first = tasks.opened(tmp_path / "a.png")
    assert tasks.opened(tmp_path / "a.png") is first and first.levels == [(20, 30)]
    write_image(tmp_path / "a.png", draw_blobs(40, 50))
    os.utime(tmp_path / "a.png", ns=(0, 0))  # a clock may be coarse
    assert tasks.opened(tmp_path / "a.png").levels == [(40, 50)]


def test_each_process_loads_the_model_once(slides, weights, tmp_path):
    loads = []

    def load():
        loads.append(1)
        return fake_predictor()

    tasks._predictors.clear()
    job = tasks.Job(slides / "a.svs", (0, 0, 280, 330), 1.0, "model", load)
    for number in range(3):
        task = tasks.DetectTask(job, tmp_path / f"{number}.npz", [0], [(0, 0, 96, 96)], np.array([[0, 0, 96, 96]]))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            list(here([task]))
    assert len(loads) == 1
