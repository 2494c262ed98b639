"""Bad days of the machine: a full disk, a read-only one, no /dev/shm, little memory, a wrong clock, data that vanishes.

What can't be done is one line that names the file and the cure, exit code 2, and what was there before is as it was.
Small file systems in memory are mounted for one process alone. `runs/test_full_disk.py` fills the disk under a run.
"""

import json
import os
import re
import subprocess
import sys
import time

import numpy as np
import pytest
import tifffile

from cyclic.errors import InputError
from cyclic.files import digest
from cyclic.images import read_image
from cyclic.inference.folder import predict_folder
from cyclic.inference.predictor import Predictor
from cyclic.runs.directory import RunDirectory

# Runs commands in one process and prints exit code and standard error of each.
COMMANDS = """if True:
    import contextlib, io, json, sys
    from cyclic.cli.exit import exit_code
    done = []
    for arguments in json.loads(sys.argv[1]):
        said = io.StringIO()
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            code = exit_code(arguments)
        done.append((code, said.getvalue()))
    print(json.dumps(done))
"""


def writers(untrained, fake_run, disk):
    """Every command that writes, `{name: its arguments}`, with its results in the folder `disk`."""
    labels = str(untrained / "labels")
    answers = [disk.parent / f"{who}.csv" for who in ("anna", "ben")]
    for path in answers:
        path.write_text(f"image,y,x,size,answer,time,who\na,0,0,16,yes,2026-01-01T10:00:00+00:00,{path.stem}\n")
    commands = {
        "train": ("train", "--data", untrained, "--out", disk / "run"),
        "adapt": ("adapt", untrained, "--weights", "he-nuclei", "--out", disk / "adapted"),
        "demo": ("demo", "--out", disk / "demo"),
        "tiles": (
            "tiles", "--images", untrained / "images", "--labels", labels, "--size", 16, "--stride", 8,
            "--out", disk / "tiles",
        ),
        "unsorted tiles": ("tiles", "--images", untrained / "images", "--size", 16, "--out", disk / "unsorted"),
        "prepare": ("prepare", "monuseg", untrained, disk / "prepared"),
        "label": ("label", untrained, "--out", disk / "a.csv", "--size", 16, "--port", 0, "--no-browser"),
        "merge": ("label", "--merge", *answers, "--out", disk / "merged.csv"),
        "predict": ("predict", untrained / "images", "--weights", untrained / "a.h5", "--out", disk / "predicted"),
        "predict a slide": (
            "predict", untrained / "images/val_000.png", "--weights", untrained / "a.h5", "--tissue", "none",
            "--out", disk / "slides",
        ),
        "evaluate": ("evaluate", "--pred", labels, "--gt", labels, "--json", disk / "scores.json"),
        "report": ("report", fake_run.run, "--data", fake_run.data, "--out", disk / "report.html"),
    }  # fmt: skip
    return {name: [str(argument) for argument in command] for name, command in commands.items()}


@pytest.fixture
def on_disk(tmp_path):
    """Run commands beside a file system that is mounted as said: `[(exit code, standard error)]`, in their order."""
    disk = tmp_path / "disk"
    disk.mkdir()

    def run(mount, commands):
        if subprocess.run(["unshare", "-rm", "sh", "-c", mount], capture_output=True).returncode:
            pytest.skip("no file system can be mounted here")
        call = ["unshare", "-rm", "sh", "-c", f'{mount} && exec "$@"', "sh", sys.executable, "-c", COMMANDS]
        loud = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "1"}  # else standard error is put elsewhere
        done = subprocess.run([*call, json.dumps(commands)], env=loud, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run, disk


def sums(folder):
    return {path: digest(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def lines(said):
    """Return what was said but for warnings and how far the work was."""
    return [line for line in said.splitlines() if not re.match("warning: |[^:]+: [0-9]+/[0-9]+", line)]


@pytest.mark.parametrize(
    ("mount", "cause"),
    [
        ("mount -t tmpfs -o ro tmpfs {}", "choose a folder that you may write to"),
        (
            "mount -t tmpfs -o size=4k tmpfs {0}; head -c 9000 /dev/zero > {0}/filler; true",
            "No space left on device",
        ),
    ],
    ids=["read-only", "full"],
)
def test_a_disk_that_takes_nothing_is_one_line(untrained, fake_run, on_disk, mount, cause):
    run, disk = on_disk
    commands = writers(untrained, fake_run, disk)
    before = sums(untrained)
    found = dict(zip(commands, run(mount.format(disk), list(commands.values())), strict=True))
    wrong = {
        name: (code, said)
        for name, (code, said) in found.items()
        if code != 2 or len(lines(said)) != 1 or str(disk) not in said or cause not in said
    }
    assert not wrong
    assert sums(untrained) == before


def test_prediction_needs_no_shared_memory(untrained, on_disk, tmp_path):
    run, _ = on_disk
    slide = tmp_path / "slide.tif"
    tifffile.imwrite(slide, np.tile(read_image(untrained / "images/val_000.png"), (2, 2, 1)), tile=(64, 64))
    predict = ["predict", "--weights", str(untrained / "a.h5"), "--out"]
    images, slides = str(tmp_path / "images"), str(tmp_path / "slides")
    one = [*predict, images, str(untrained / "images")]
    many = [*predict, slides, str(slide), "--tissue", "none", "--workers", "2"]
    found = run("mount -t tmpfs -o ro tmpfs /dev/shm", [one, many])
    assert found[0][0] == 0, found[0][1]
    assert found[1] == [
        2,
        "error: --workers 2: processes need shared memory, and /dev/shm has none (Read-only file system); mount it, or "
        "use one worker\n",
    ]


def test_the_keras_json_of_another_program_changes_nothing(command, untrained, tmp_path, monkeypatch):
    (tmp_path / "keras.json").write_text('{"image_data_format": "channels_first", "floatx": "float16"}')
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    image, weights = untrained / "images/val_000.png", untrained / "a.h5"
    code, _, said = command("predict", image, "--weights", weights, "--mpp", 0.25, "--out", tmp_path / "out")
    assert code == 0, said


@pytest.mark.parametrize(("command", "gib"), [("predict", 1), ("predict", 4), ("train", 1)])
def test_little_memory_is_enough_or_one_line(untrained, tmp_path, command, gib):
    limited = f'ulimit -v {gib * 2**20} && exec "$@"'
    given = {"predict": (untrained / "images", "--weights", untrained / "a.h5"), "train": ("--data", untrained)}
    call = [sys.executable, "-m", "cyclic.cli", command, *given[command], "--out", tmp_path / "out"]
    call = ["sh", "-c", limited, "sh", *map(str, call)]
    done = subprocess.run(call, capture_output=True, text=True, timeout=600)
    if done.returncode == 0:
        assert (tmp_path / "out/val_000.tif").is_file()
    else:
        assert done.returncode == 2 and len(lines(done.stderr)) == 1, done.stderr
        assert done.stderr.splitlines()[-1].startswith("error: not enough memory"), done.stderr
        assert not (tmp_path / "out").exists()


def test_an_image_that_vanishes_is_named_and_the_others_are_predicted(untrained, tmp_path, monkeypatch):
    images = tmp_path / "images"
    images.mkdir()
    for path in (untrained / "images").iterdir():
        (images / path.name).write_bytes(path.read_bytes())
    predict = Predictor.predict

    def vanish(*arguments):
        (images / "train_001.png").unlink(missing_ok=True)
        return predict(*arguments)

    monkeypatch.setattr(Predictor, "predict", vanish)
    with pytest.raises(InputError, match="1 of 3 images not predicted: .*train_001.png: no such file; check the path"):
        predict_folder(images, untrained / "a.h5", tmp_path / "out", ("tif", "coco"))
    assert {path.name for path in (tmp_path / "out").glob("*.*")} >= {"train_000.tif", "val_000.tif", "coco.json"}


def test_a_clock_that_goes_backwards_changes_nothing(tmp_path, monkeypatch):
    with RunDirectory(tmp_path / "run", {"cycles": 1}) as run, run.stage("tiles", ["tiles"]):
        (tmp_path / "run/tiles").mkdir()
        (tmp_path / "run/tiles/a.png").write_text("a tile")
    for path in (tmp_path / "run").rglob("*"):
        os.utime(path, (4e9, 4e9))  # the year 2096
    now = iter(range(10**9, 0, -1000))
    monkeypatch.setattr(time, "time", lambda: float(next(now)))
    with RunDirectory(tmp_path / "run", {"cycles": 1}, resume=True) as run:
        assert run.is_finished("tiles")
        with run.stage("maps"):
            pass
    seconds = json.loads((tmp_path / "run/metrics.json").read_text())["wall_s"]
    assert set(seconds) == {"tiles", "maps"} and all(0 <= value < 60 for value in seconds.values())
