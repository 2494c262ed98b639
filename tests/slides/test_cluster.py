"""Several processes give the bytes of one, also while they are killed."""

import os
import signal

import pytest
from drawn_slides import draw_blobs, load_fake, write_svs

from cyclic.errors import InputError
from cyclic.slides import folder as module
from cyclic.slides.cluster import open_pool
from cyclic.slides.folder import predict_slides
from cyclic.slides.predict import SlideOptions

pytest.importorskip("distributed", reason="of the extra [dask]")

OPTIONS = SlideOptions(mpp=0.25, tissue="none", chunk=100)


@pytest.fixture(scope="module")
def pool():
    """Two processes."""
    with open_pool(workers=2) as workers:
        yield workers


@pytest.fixture
def slide(tmp_path, monkeypatch):
    (tmp_path / "w.h5").write_bytes(b"weights")
    write_svs(tmp_path / "a.svs", draw_blobs(420, 420, seed=5))
    monkeypatch.setattr(module.Predictor, "load", load_fake)
    return tmp_path / "a.svs"


def predict(slide, out, **pool):
    predict_slides(slide, slide.parent / "w.h5", out, ("geojson", "csv"), OPTIONS, **pool)
    return {path.name: path.read_bytes() for path in out.glob("a.*")}


def test_two_processes_one_of_which_is_killed_give_the_bytes_of_one(slide, tmp_path, pool):
    expected = predict(slide, tmp_path / "one")
    killed = []

    def killing(tasks):
        for done in pool(tasks):
            nanny = pool.args[1].cluster.workers[0]
            if not killed and nanny.pid is not None:
                os.kill(nanny.pid, signal.SIGKILL)
                killed.append(nanny.pid)
            yield done

    assert predict(slide, tmp_path / "many", pool=killing) == expected
    assert killed
    # The same workers, by the address of their scheduler.
    with open_pool(scheduler=pool.args[1].cluster.scheduler_address) as far:
        assert predict(slide, tmp_path / "far", pool=far) == expected


def test_an_error_of_a_worker_is_the_error_of_the_slide(slide, tmp_path, pool):
    content = slide.read_bytes()
    slide.write_bytes(content[: len(content) // 3])
    with pytest.raises(InputError, match=r"a\.svs"):
        predict(slide, tmp_path / "out", pool=pool)


def test_a_file_that_no_scheduler_wrote_is_said_in_one_line(tmp_path):
    missing, empty = tmp_path / "none.json", tmp_path / "empty.json"
    empty.write_text("{}")
    for path, said in ((missing, "no such file"), (empty, "no address of a scheduler in it")):
        with pytest.raises(InputError, match=f"{path}: {said}"):
            open_pool(scheduler=str(path)).__enter__()


def test_no_scheduler_is_said_in_one_line(monkeypatch):
    monkeypatch.setattr("cyclic.slides.cluster.CONNECT_S", 1)
    with pytest.raises(InputError, match=r"--scheduler tcp://127\.0\.0\.1:9: no Dask scheduler answers"):
        open_pool(scheduler="tcp://127.0.0.1:9").__enter__()
