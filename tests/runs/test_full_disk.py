"""A disk that is really full: a small file system in memory, mounted for one process alone."""

import subprocess
import sys

import numpy as np
import pytest

from cyclic.datasets.synthetic import draw_tissue
from cyclic.files import write_image
from cyclic.label_maps import write_label_map

BOARD = """if True:
    import sys, warnings
    from pathlib import Path
    from cyclic.errors import InputError
    from cyclic.runs.directory import RunDirectory
    from cyclic.runs.board import Board
    disk = Path(sys.argv[1])
    with RunDirectory(disk / "run", {}) as run, Board(disk / "run/tensorboard") as board:
        with run.stage("tiles"):
            board.scalars("model", {"aji": 0.5}, 0)
        with (disk / "filler").open("wb", buffering=0) as filler:
            try:
                while True:
                    filler.write(bytes(512))
            except OSError:
                pass
        for step in range(1, 2000):
            board.scalars("model", {"aji": 0.5}, step)
        board.flush()
        try:
            with run.stage("finish"):
                pass
        except InputError as error:
            print(error)
        (disk / "filler").unlink()
    with RunDirectory(disk / "run", {}, resume=True) as run:
        print(run.is_finished("tiles"), run.is_finished("finish"))
"""


@pytest.fixture
def run_on_small_disk(tmp_path):
    """Run Python, with its arguments, beside an empty file system of 300 kB: the process that ended, and its folder."""
    disk = tmp_path / "disk"
    disk.mkdir()

    def run(*arguments):
        mount = f"mount -t tmpfs -o size=300k tmpfs {disk}"
        if subprocess.run(["unshare", "-rm", "sh", "-c", mount], capture_output=True).returncode:
            pytest.skip("no file system can be mounted here")
        call = ["unshare", "-rm", "sh", "-c", f'{mount} && exec "$@"', "sh", sys.executable, *map(str, arguments)]
        return subprocess.run(call, capture_output=True, text=True, timeout=600)

    return run, disk


def test_tiles_that_do_not_fit_are_one_line(run_on_small_disk, tmp_path):
    run, disk = run_on_small_disk
    image, labels = draw_tissue(np.random.default_rng(0), 128)
    write_image(tmp_path / "images/a.png", image)
    write_label_map(tmp_path / "labels/a.tif", labels)
    data = ("--images", tmp_path / "images", "--labels", tmp_path / "labels")
    done = run("-m", "cyclic.cli", "tiles", *data, "--out", disk / "tiles", "--size", "32", "--stride", "4")
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert "No space left on device" in done.stderr and "free space or choose another folder" in done.stderr


def test_a_run_goes_on_after_its_disk_was_full(run_on_small_disk):
    run, disk = run_on_small_disk
    done = run("-c", BOARD, disk)
    assert done.returncode == 0 and "the run goes on" in done.stderr and "Traceback" not in done.stderr, done.stderr
    refused, after = done.stdout.splitlines()
    assert "cannot be written (No space left on device); free space" in refused and after == "True False"
