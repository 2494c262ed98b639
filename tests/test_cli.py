"""The command line: what it prints, writes and refuses, and with which exit code."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import keras  # noqa: F401  # before any command mutes native code in this process
import numpy as np
import pytest

from cyclic import cli
from cyclic.config import RunConfig
from cyclic.datasets.monusac import MonusacDataset
from cyclic.datasets.synthetic import draw_tissue
from cyclic.errors import InputError
from cyclic.files import write_image
from cyclic.label_maps import write_label_map
from cyclic.runs.directory import RunDirectory

COMMANDS = (
    "demo",
    "tiles",
    "label",
    "enough",
    "train",
    "classifier",
    "pseudo-masks",
    "mask-rcnn",
    "predict",
    "evaluate",
    "report",
    "doctor",
)
# What three of them were called in version 0.1: they still run, and are not listed.
FORMER = {"classify": "classifier", "pseudo": "pseudo-masks", "segment": "mask-rcnn"}


@pytest.fixture
def call(capsys):
    """Run a command in this process: `(exit code, stdout, stderr)`."""

    def run(*arguments):
        with pytest.raises(SystemExit) as end:
            cli.main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return end.value.code, out, err

    return run


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two labelled images."""
    root = tmp_path_factory.mktemp("cli")
    for seed in range(2):
        image, labels = draw_tissue(np.random.default_rng(seed), 128)
        write_image(root / "images" / f"image_{seed}.png", image)
        write_label_map(root / "labels" / f"image_{seed}.tif", labels)
    return root


def assert_refused(result, *parts):
    """Exit code 2 and exactly one line on standard error, with these parts in it."""
    code, _, err = result
    assert code == 2 and err.startswith("error: ") and err.count("\n") == 1 and err.endswith("\n"), err
    for part in parts:
        assert str(part) in err


# --- help ---


def test_help_lists_every_command(call):
    code, out, err = call("--help")
    assert code == 0 and err == ""
    assert all(f"  {name} " in out for name in COMMANDS)
    assert call() == (0, out, "")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_has_an_example(call, name):
    code, out, _ = call(name, "--help")
    assert code == 0 and f"Example: cyclic {name}" in " ".join(out.split())


def test_help_says_what_the_folders_hold(call):
    _, out, _ = call("train", "--help")
    assert "Folder with images/ and, where there are any, labels/ and split.json" in " ".join(out.split())
    _, out, _ = call("tiles", "--help")
    for part in ("Folder of the images to cut", "folder of tiles to check", "a number for each nucleus", "New folder"):
        assert part in " ".join(out.split())


@pytest.mark.parametrize("name", FORMER)
def test_former_names_of_commands_run_and_are_not_listed(call, name, data, monkeypatch, tmp_path):
    ran = []
    monkeypatch.setattr("cyclic.cycle.loop.train", lambda *_, until, **__: ran.append(until) or [])
    assert call(name, "--data", data, "--out", tmp_path / "run")[0] == 0 and ran == [FORMER[name]]
    assert f"  {name} " not in call("--help")[1]


def test_files_lie_on_top_of_each_other_and_a_former_key_is_warned_of(call, data, monkeypatch, tmp_path):
    ran = []
    monkeypatch.setattr("cyclic.cycle.loop.train", lambda config, *_, **__: ran.append(config) or [])
    (tmp_path / "a.yaml").write_text("cycles: 2\nseed: 1\n")
    (tmp_path / "b.yaml").write_text("seed: 3\nsegmenter: {warmup: 0, crop: 64}\n")
    files = ("--config", tmp_path / "a.yaml", "--config", tmp_path / "b.yaml")
    code, _, err = call("train", "--data", data, "--out", tmp_path / "run", *files, "--set", "scale=1")
    assert code == 0 and err.count("\n") == 1
    assert err.startswith("warning: ") and "b.yaml: keys of an earlier version" in err and "mask_rcnn.warmup" in err
    assert (ran[0].cycles, ran[0].seed, ran[0].mask_rcnn.crop, ran[0].scale) == (2, 3, 64, 1)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], 0),
        (["train", "--data", "nowhere", "--out", "run"], 2),
        (["train", "--data", ".", "--out", "run", "--set", "cycles=0"], 2),
        (["predict", "nowhere.png", "--weights", "w.h5", "--out", "o"], 2),
    ],
)
def test_help_and_bad_paths_do_not_wait_for_tensorflow(arguments, code):
    at_exit = "atexit.register(lambda: print('keras' in sys.modules))"
    script = f"import atexit, sys; from cyclic import cli; {at_exit}; cli.main()"
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True)
    assert done.returncode == code and done.stdout.endswith("False\n")


# --- wrong use ---


def test_unknown_command_and_option(call):
    assert_refused(call("trian"), "trian", "cyclic --help")
    assert_refused(call("train", "--steps", "3"), "--steps", "cyclic train --help")
    assert_refused(call("train", "--out", "run"), "--data", "cyclic train --help")


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "--data", "nowhere", "--out", "run"],
        ["tiles", "--images", "nowhere", "--out", "tiles"],
        ["evaluate", "--pred", "nowhere", "--gt", "nowhere"],
        ["predict", "nowhere", "--weights", __file__, "--out", "out"],
    ],
)
def test_no_such_folder(call, arguments):
    assert_refused(call(*arguments), "nowhere", "--help")


def test_unknown_key_names_the_nearest(call, data, tmp_path):
    run = ("train", "--data", data, "--out", tmp_path / "run")
    assert_refused(call(*run, "--set", "mask_rcnn.step=3"), "mask_rcnn.step", "did you mean mask_rcnn.steps?")
    (tmp_path / "config.yaml").write_text("cycels: 3\n")
    assert_refused(call(*run, "--config", tmp_path / "config.yaml"), "config.yaml", "did you mean cycles?")
    assert not (tmp_path / "run").exists()


def test_value_out_of_range(call, data, tmp_path):
    result = call("train", "--data", data, "--out", tmp_path / "run", "--set", "pseudo.share=1.5")
    assert_refused(result, "pseudo.share", "1.5", "less than or equal to 1")


def test_data_without_images(call, tmp_path):
    (tmp_path / "images").mkdir()
    assert_refused(call("train", "--data", tmp_path, "--out", tmp_path / "run"), tmp_path / "images", "no images")
    assert_refused(call("train", "--data", tmp_path / "images", "--out", tmp_path / "run"), "no images/", "give")


def test_data_without_labels_and_tiles(call, data, tmp_path):
    write_image(tmp_path / "images" / "a.png", np.zeros((64, 64, 3), np.uint8))
    result = call("train", "--data", tmp_path, "--out", tmp_path / "run")
    assert_refused(result, tmp_path, "set tiles.folder")


def test_resume_without_a_run_and_run_without_resume(call, data, tmp_path):
    run = tmp_path / "run"
    assert_refused(call("train", "--data", data, "--out", run, "--resume"), run, "no run to resume")
    run.mkdir()
    (run / "config.yaml").write_text("seed: 0\n")
    assert_refused(call("train", "--data", data, "--out", run), run, "add --resume")
    assert_refused(call("train", "--data", data, "--out", run, "--resume", "--set", "seed=3"), "seed is 0", "--out")


def test_out_is_a_file(call, data, tmp_path):
    (tmp_path / "file").write_text("")
    result = call("tiles", "--images", data / "images", "--labels", data / "labels", "--out", tmp_path / "file")
    assert_refused(result, tmp_path / "file")
    cure = "a file lies where a folder is needed; choose another folder"
    for out in (tmp_path / "file", tmp_path / "file" / "inner"):
        assert_refused(call("train", "--data", data, "--out", out), tmp_path / "file", cure)
        score = ("evaluate", "--pred", data / "labels", "--gt", data / "labels")
        assert_refused(call(*score, "--json", out / "scores.json"), tmp_path / "file", cure)
    assert_refused(call("demo", "--out", tmp_path / "file"), tmp_path / "file", cure)
    assert (tmp_path / "file").read_text() == ""


def test_disk_full_is_one_line(call, data, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "scores.json"))

    monkeypatch.setattr("cyclic.cli.evaluate.print_table", full)
    result = call("evaluate", "--pred", data / "labels", "--gt", data / "labels")
    assert_refused(result, tmp_path / "scores.json", "No space left", "free space")


def test_defects_are_not_hidden(data, monkeypatch):
    def broken(*_):
        raise OSError(errno.EBADF, "Bad file descriptor")

    monkeypatch.setattr("cyclic.cli.evaluate.print_table", broken)
    with pytest.raises(OSError, match="Bad file descriptor"):
        cli.main(["evaluate", "--pred", str(data / "labels"), "--gt", str(data / "labels")])


def test_interrupted_training_says_how_to_go_on(call, data, tmp_path, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("cyclic.cycle.loop.train", interrupt)
    train = ("train", "--data", data, "--out", tmp_path / "run")
    code, _, err = call(*train)
    assert code == 130 and err.count("\n") == 1 and "nothing was begun, so the same command begins anew" in err
    RunDirectory(tmp_path / "run", RunConfig().model_dump(mode="json")).close()
    code, _, err = call(*train)
    assert code == 130 and "add --resume to the same command (cyclic train --resume ...), and it goes on" in err
    code, _, err = call(*train, "--resume")
    assert code == 130 and "the same command (cyclic train ...) goes on from here" in err
    code, _, err = call("pseudo-masks", "--data", data, "--out", tmp_path / "run")
    assert code == 130 and "the same command (cyclic pseudo-masks ...) goes on from here" in err


def test_a_stopped_dry_run_wrote_nothing(call, data, tmp_path, monkeypatch):
    monkeypatch.setattr("cyclic.cycle.dry_run.dry_run", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    code, _, err = call("train", "--data", data, "--out", tmp_path / "run", "--dry-run")
    assert code == 130 and err == f"error: {tmp_path / 'run'}: stopped; nothing was written\n"


@pytest.fixture
def interruptible():
    """Python's own answer to Ctrl-C, also where whoever started the tests ignores it, as a background job does."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_every_command_with_one_line(call, data, tmp_path, monkeypatch, interruptible, number, code):
    before = signal.getsignal(number)
    labels = ("--labels", data / "labels", "--out", tmp_path / "tiles")
    commands = {
        "cyclic.datasets.tile_sources.ImageLabelPairs": ("tiles", "--images", data / "images", *labels),
        "cyclic.evaluation.compare.evaluate_and_write": (
            "evaluate",
            "--pred",
            data / "labels",
            "--gt",
            data / "labels",
        ),
        "cyclic.inference.folder.predict_folder": (
            "predict",
            data / "images",
            "--weights",
            __file__,
            "--out",
            tmp_path,
        ),
        "cyclic.report.html.write_report": ("report", tmp_path),
    }
    for function, arguments in commands.items():
        monkeypatch.setattr(function, lambda *_, **__: os.kill(os.getpid(), number) or time.sleep(60))
        found, _, err = call(*arguments)
        assert found == code and err.count("\n") == 1 and "stopped; no file is half written" in err
    monkeypatch.setattr("cyclic.cycle.loop.train", lambda *_, **__: os.kill(os.getpid(), number) or time.sleep(60))
    found, _, err = call("train", "--data", data, "--out", tmp_path / "run")
    assert found == code and err.count("\n") == 1 and "run: stopped; nothing was begun" in err
    assert signal.getsignal(number) is before


@pytest.mark.parametrize(
    ("error", "parts"),
    [
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "a.png"), ("a.png: No such", "restore it")),
        (OSError(errno.EIO, "Input/output error", "a.png"), ("a.png: Input/output error", "run the command again")),
        (OSError(errno.EFBIG, "File too large", "a.tif"), ("a.tif: File too large", "free space")),
        (MemoryError("Unable to allocate 9 GiB"), ("not enough memory", "lower detection.tile")),
        (type("ResourceExhaustedError", (Exception,), {})("OOM"), ("not enough memory", "mask_rcnn.batch")),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), ("not enough memory", "mask_rcnn.batch")),
        (ImportError("lib.so: failed to map segment from shared object"), ("not enough memory", "close other")),
        (RuntimeError("can't start new thread"), ("not enough memory", "close other")),
    ],
)
def test_what_the_machine_lacks_is_one_line(call, data, monkeypatch, error, parts):
    monkeypatch.setattr("cyclic.cli.evaluate.print_table", lambda *_: (_ for _ in ()).throw(error))
    assert_refused(call("evaluate", "--pred", data / "labels", "--gt", data / "labels"), *parts)


def test_long_message_of_a_broken_file_stays_one_line(call, monkeypatch, data):
    def broken(*_):
        raise InputError("a.png: two\nlines")

    monkeypatch.setattr("cyclic.cli.evaluate.print_table", broken)
    assert_refused(call("evaluate", "--pred", data / "labels", "--gt", data / "labels"), "a.png: two lines")


# --- tiles ---


def tile_options(data, out):
    return ("tiles", "--images", data / "images", "--labels", data / "labels", "--out", out, "--size", 32)


def test_tiles_are_cut_and_can_be_checked(call, data, tmp_path):
    code, out, err = call(*tile_options(data, tmp_path), "--stride", 24)
    assert code == 0 and err == ""
    positive, negative = (len(list((tmp_path / name).glob("*.png"))) for name in ("positive", "negative"))
    assert positive == negative > 0
    assert out == f"{positive} positive and {negative} negative tiles in {tmp_path}\n"
    assert call("tiles", "--images", tmp_path) == (0, out, "")


def test_no_balance_keeps_all(call, data, tmp_path):
    assert call(*tile_options(data, tmp_path / "a"))[0] == 0
    assert call(*tile_options(data, tmp_path / "b"), "--no-balance")[0] == 0
    counts = [len(list((tmp_path / name).rglob("*.png"))) for name in "ab"]
    assert counts[0] < counts[1]


def test_image_without_label_map_is_named(call, data, tmp_path):
    write_label_map(tmp_path / "image_0.tif", np.zeros((128, 128), np.int32))
    result = call("tiles", "--images", data / "images", "--labels", tmp_path, "--out", tmp_path / "tiles")
    assert_refused(result, data / "images/image_1.png", "add image_1.tif")


def test_label_map_of_another_size_is_named(call, data, tmp_path):
    for name in ("image_0", "image_1"):
        write_label_map(tmp_path / f"{name}.tif", np.zeros((100, 100), np.int32))
    result = call("tiles", "--images", data / "images", "--labels", tmp_path, "--out", tmp_path / "tiles")
    assert_refused(result, tmp_path / "image_0.tif", "(100, 100)")


def test_one_class_alone(call, data, tmp_path):
    write_image(tmp_path / "images/a.png", np.zeros((64, 64, 3), np.uint8))
    write_label_map(tmp_path / "labels/a.tif", np.ones((64, 64), np.int32))
    assert_refused(call(*tile_options(tmp_path, tmp_path / "tiles")), "no negative tile", "smaller size")
    write_image(tmp_path / "cut/positive/a_0_0.png", np.zeros((32, 32, 3), np.uint8))
    assert_refused(call("tiles", "--images", tmp_path / "cut"), tmp_path / "cut/negative", "no such folder")


def test_truncated_tile_is_named(call, data, tmp_path):
    assert call(*tile_options(data, tmp_path))[0] == 0
    tile = next((tmp_path / "positive").iterdir())
    tile.write_bytes(tile.read_bytes()[:200])
    assert_refused(call("tiles", "--images", tmp_path), tile, "replace or remove")


def test_images_without_labels_option(call, data, tmp_path):
    assert_refused(call("tiles", "--images", data / "images"), data / "images", "--labels")
    result = call("tiles", "--images", data / "images", "--labels", data / "labels")
    assert_refused(result, "--out", "cyclic tiles --help")


def test_images_without_labels_are_cut_to_be_sorted(call, data, tmp_path):
    options = ("tiles", "--images", data / "images", "--out", tmp_path, "--size", 32, "--count", 5)
    expected = f"0 positive and 0 negative tiles in {tmp_path}, 5 to sort in unsorted/\n"
    assert call(*options) == call(*options) == (0, expected, "")
    refused = call("tiles", "--images", tmp_path)
    assert_refused(refused, "no positive/ and negative/ in it; move the 5 tiles of unsorted/")
    for kind, path in zip(("positive", "negative"), list((tmp_path / "unsorted").iterdir()), strict=False):
        (tmp_path / kind).mkdir()
        path.rename(tmp_path / kind / path.name)
    expected = f"1 positive and 1 negative tiles in {tmp_path}, 3 to sort in unsorted/\n"
    assert call("tiles", "--images", tmp_path) == (0, expected, "")


def test_answers_say_how_large_a_tile_is(call, data, monkeypatch, tmp_path):
    ran = []
    monkeypatch.setattr("cyclic.cycle.loop.train", lambda config, *_, **__: ran.append(config) or [])
    path = tmp_path / "answers.csv"
    path.write_text("image,y,x,size,answer,time,who\nimage_0,0,0,48,yes,t,me\n")
    assert call("train", "--data", data, "--out", tmp_path / "run", "--answers", path)[0] == 0
    assert (ran[0].tiles.answers, ran[0].tiles.size) == ([str(path)], 48)
    other = ("--set", f"tiles.folder={tmp_path}")
    refused = call("train", "--data", data, "--out", tmp_path / "run", "--answers", path, *other)
    assert_refused(refused, "tiles.folder and tiles.answers exclude each other")


# --- models ---


@pytest.fixture
def homes(tmp_path, monkeypatch):
    """A user's folders of their own, and a package that ships no model."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("CYCLIC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("cyclic.models.registry.SHIPPED", tmp_path / "shipped")


def test_predict_without_weights_says_what_is_missing(call, data, tmp_path, homes):
    refused = call("predict", data / "images", "--out", tmp_path / "out")
    assert_refused(refused, "ships no model yet; give --weights FILE, or the name of a model (cyclic models list)")
    refused = call("predict", data / "images", "--out", tmp_path / "out", "--weights", "he-nuclei")
    assert_refused(refused, "he-nuclei: no model of this name")
    refused = call("predict", data / "images", "--out", tmp_path / "out", "--weights", tmp_path / "none.h5")
    assert_refused(refused, tmp_path / "none.h5", "no such weights file")
    assert not (tmp_path / "out").exists()


def test_a_model_is_registered_listed_shown_and_fetched(call, tmp_path, homes):
    file, checksum = tmp_path / "w.h5", "9834876dcfb05cb167a5c24953eba58c4ac89b1adf57f28f2f9d09af107ee8f0"
    file.write_bytes(b"aaa")
    assert call("models", "list") == (0, "no models yet; cyclic models add registers your own\n", "")
    add = ("models", "add", file.as_uri(), "--name", "far", "--licence", "CC BY 4.0", "--mpp", 0.5)
    assert_refused(call(*add), file.as_uri(), "an address needs --sha256")
    assert call(*add, "--sha256", checksum)[0] == 0
    _, out, _ = call("models", "list")
    assert all(part in out for part in ("Model", "far", "to download", "0.500", "CC BY 4.0"))
    _, out, _ = call("models", "info", "far")
    assert f'"sha256": "{checksum}"' in out
    code, out, _ = call("models", "get", "far")
    assert code == 0 and Path(out.strip()).read_bytes() == b"aaa"
    assert_refused(call("models", "get", "fra"), "did you mean far?")
    assert_refused(call(*add, "--sha256", checksum), "far: a model of this name is there already")
    assert_refused(call("models", "add", tmp_path / "none.h5", "--name", "x"), tmp_path / "none.h5", "no such file")


def test_a_model_adapts_by_its_name_and_to_answers(call, data, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("cyclic.models.registry.weights_file", lambda name: tmp_path / f"{name}.h5")
    monkeypatch.setattr("cyclic.trained.adapting", lambda *given: asked.append(given) or RunConfig())
    monkeypatch.setattr("cyclic.cycle.loop.train", lambda *_, **__: [])
    path = tmp_path / "answers.csv"
    path.write_text(ANSWERS.format(who="anna", word="no"))
    options = ("--weights", "lab", "--answers", path, "--out", tmp_path / "run")
    assert call("adapt", data, *options)[0] == 0
    assert asked == [(tmp_path / "lab.h5", [f'tiles.answers=["{path}"]', "tiles.size=48"])]


# --- label ---


ANSWERS = "image,y,x,size,answer,time,who\nimage_0,0,0,48,yes,t,{who}\nimage_0,9,0,48,{word},t,{who}\n"


def test_answers_of_two_people_become_one_file(call, tmp_path):
    for who, word in (("anna", "no"), ("ben", "yes")):
        (tmp_path / f"{who}.csv").write_text(ANSWERS.format(who=who, word=word))
    files = (tmp_path / "anna.csv", tmp_path / "ben.csv")
    code, out, err = call("label", "--merge", *files, "--out", tmp_path / "all.csv")
    assert code == 0 and err == "" and "Cohen's kappa" in out and "0.500" in out
    assert out.endswith(f"1 tiles without a majority are skipped: {tmp_path / 'all.csv'}\n")
    assert "image_0,9,0,48,skip,t,anna+ben" in (tmp_path / "all.csv").read_text()


def test_what_the_page_cannot_start_with_is_refused(call, data, tmp_path):
    path = tmp_path / "answers.csv"
    assert_refused(call("label", data, data, "--out", path), data, "given twice; give each data set once")
    assert_refused(call("label", data, "--out", path, "--size", 200), "128 x 128 pixels, smaller than a tile")
    assert_refused(call("label", tmp_path, "--out", path), tmp_path, "no image in it")
    path.write_text(ANSWERS.format(who="anna", word="no"))
    assert_refused(call("label", data, "--out", path), path, "give --size 48")


def test_truncated_image_in_training(call, data, tmp_path):
    for name in ("image_0", "image_1"):
        content = (data / f"images/{name}.png").read_bytes()
        (tmp_path / "images").mkdir(exist_ok=True)
        (tmp_path / f"images/{name}.png").write_bytes(content[: 500 if name == "image_1" else None])
        write_label_map(tmp_path / f"labels/{name}.tif", MonusacDataset(data).label_map(name))
    result = call("train", "--data", tmp_path, "--out", tmp_path / "run", "--set", "tiles.size=32")
    assert_refused(result, tmp_path / "images/image_1.png", "replace or remove")


# --- evaluate ---


def test_evaluate_prints_and_writes_scores(call, data, tmp_path):
    scores = tmp_path / "scores.json"
    code, out, err = call("evaluate", "--pred", data / "labels", "--gt", data / "labels", "--json", scores)
    assert code == 0 and err == ""
    assert "image_0" in out and "mean" in out and "AJI+" in out and "1.000" in out
    found = json.loads(scores.read_text())
    assert set(found["images"]) == {"image_0", "image_1"} and found["mean"]["aji"] == 1.0


def test_letters_that_the_output_lacks_end_no_command(data, command, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    shutil.copyfile(data / "labels/image_0.tif", tmp_path / "säge.tif")
    code, out, err = command("evaluate", "--pred", tmp_path, "--gt", tmp_path)
    assert (code, err) == (0, "") and "s\\xe4ge" in out and "1.000" in out


def test_evaluate_names_the_missing_prediction(call, data, tmp_path):
    write_label_map(tmp_path / "image_0.tif", np.zeros((128, 128), np.int32))
    result = call("evaluate", "--pred", tmp_path, "--gt", data / "labels")
    assert_refused(result, tmp_path, "no prediction for image_1")


# --- predict ---


def test_missing_and_wrong_weights(call, data, tmp_path):
    image, out = data / "images/image_0.png", ("--out", tmp_path / "out")
    assert_refused(call("predict", image, "--weights", tmp_path / "no.h5", *out), tmp_path / "no.h5")
    (tmp_path / "text.h5").write_text("not h5")
    assert_refused(call("predict", image, "--weights", tmp_path / "text.h5", *out), tmp_path / "text.h5", "replace")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file.attrs["layer_names"] = []
    result = call("predict", image, "--weights", tmp_path / "other.h5", *out)
    assert_refused(result, tmp_path / "other.h5", "best.weights.h5 of a run")


def test_folder_without_images_and_file_that_is_none(call, data, tmp_path):
    weights = tmp_path / "w.h5"
    weights.write_text("")
    options = ("--weights", weights, "--out", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    assert_refused(call("predict", tmp_path / "empty", *options), tmp_path / "empty", "no images")
    assert_refused(call("predict", weights, *options), weights, "not an image")


def test_unknown_format_and_score_out_of_range(call, data, tmp_path):
    (tmp_path / "w.h5").write_text("")
    run = ("predict", data / "images", "--weights", tmp_path / "w.h5", "--out", tmp_path / "out")
    assert_refused(call(*run, "--format", "tif,svg"), "svg", "tif, geojson, coco, overlay")
    assert_refused(call(*run, "--score", "1.5"), "--score", "cyclic predict --help")
    for name in ("--mpp", "--pixel-size"):  # the second is what 0.2 called it
        assert_refused(call(*run, name, "0"), name, "cyclic predict --help")
    for tile in ("0", "1", "15"):
        assert_refused(call(*run, "--tile", tile), "--tile", "16")
    assert_refused(call(*run, "--no-verdict", "--classifier", tmp_path / "w.h5"), "--no-verdict exclude each other")
    for views in ("0", "9"):
        assert_refused(call(*run, "--views", views), "--views", "cyclic predict --help")


@pytest.mark.parametrize("formats", [("--format", "tif,csv"), ("--format", "tif", "--format", "csv")])
def test_options_of_predict_reach_the_prediction(call, data, tmp_path, monkeypatch, formats):
    def predict_folder(images, weights, out, formats, **options):
        assert (images, formats) == (data / "images", ["tif", "csv"])
        settings = ["detection.mask_margin=0.1", "detection.tile=64", "detection.score=0.25", "detection.views=4"]
        settings.append("detection.verdict=True")
        given = {"overrides": settings, "classifier": tmp_path / "c.h5", "mpp": 0.5, "overwrite": True}
        assert options == given
        return {"a": 3}

    monkeypatch.setattr("cyclic.inference.folder.predict_folder", predict_folder)
    (tmp_path / "w.h5").write_text("")
    (tmp_path / "c.h5").write_text("")
    options = (*formats, "--tile", 64, "--score", 0.25, "--mpp", 0.5, "--views", 4)
    options += ("--set", "detection.mask_margin=0.1", "--classifier", tmp_path / "c.h5", "--verdict", "--overwrite")
    code, out, _ = call("predict", data / "images", "--weights", tmp_path / "w.h5", "--out", tmp_path, *options)
    assert code == 0 and out == f"3 nuclei in 1 images: {tmp_path}\n"


def test_predict_then_evaluate(call, tiny_run, tmp_path):
    """What a user does with a run: predict a folder, score it."""
    weights, out = tiny_run.run / "best.weights.h5", tmp_path / "out"
    measured = ("--format", "tif,geojson,csv", "--pixel-size", "0.25")
    code, text, _ = call("predict", tiny_run.data / "images", "--weights", weights, "--out", out, *measured)
    assert code == 0 and f"in 3 images: {out}" in text and "area_um2" in (out / "val_000.csv").read_text()
    code, text, _ = call("evaluate", "--pred", out, "--gt", tiny_run.data / "labels")
    assert code == 0 and "AP50" in text


def test_predict_takes_settings_of_detection_alone(call, tiny_run, tmp_path):
    run = ("predict", tiny_run.data / "images", "--weights", tiny_run.run / "best.weights.h5", "--out", tmp_path)
    assert_refused(call(*run, "--set", "backbone.name=vgg16"), "backbone.name=vgg16", "detection.key=value")
    assert_refused(call(*run, "--set", "detection.mask_margins=0.1"), "did you mean detection.mask_margin?")
    assert_refused(call(*run, "--set", "detection.mask_margin=2"), "detection.mask_margin = 2")


def test_nan_weights(call, tiny_run, data, tmp_path):
    weights = tmp_path / "nan.h5"
    weights.write_bytes((tiny_run.run / "best.weights.h5").read_bytes())
    with h5py.File(weights, "r+") as file:
        layer = file["mrcnn_mask"]
        layer[layer.attrs["weight_names"][0]][...] = np.nan
    result = call("predict", data / "images", "--weights", weights, "--out", tmp_path / "out")
    assert_refused(result, weights, "NaN in layer mrcnn_mask", "earlier checkpoint")


# --- train ---


def test_resume_of_a_finished_run_prints_its_table(call, tiny_run):
    code, out, _ = call("train", "--data", tiny_run.data, "--out", tiny_run.run, "--resume")
    assert code == 0 and "no_label_baseline" in out and "best.weights.h5" in out


def test_dry_run_tells_time_and_writes_nothing(call, tiny_run, tmp_path):
    run = tmp_path / "run"
    code, out, _ = call("train", "--config", tiny_run.config, "--data", tiny_run.data, "--out", run, "--dry-run")
    assert code == 0 and not run.exists()
    for stage in ("classifier, step", "activation map", "pseudo masks", "Mask R-CNN, step", "detection", "total"):
        assert stage in out
    assert "1x64x64x3" in out  # a training crop


def test_demo_continues_or_shows_its_run(call, tmp_path, monkeypatch):
    """The demo's files and order; its networks run in `make demo`."""
    calls = []

    def train(config, data, out, *, resume, until):
        calls.append((resume, until, config.mask_rcnn.steps))
        out.mkdir(exist_ok=True)
        (out / "config.yaml").write_text("")
        assert len(MonusacDataset(data[0], "train").ids) > 1
        return [{"source": "model", "cycle": 1, "aji": 0.5}]

    monkeypatch.setattr("cyclic.cycle.loop.train", train)
    for _ in range(2):
        code, out, err = call("demo", "--out", tmp_path / "demo")
        assert code == 0 and "0.500" in out and err == ""
    assert [resume for resume, _, _ in calls] == [False, True]
    assert calls[0][1] is None and calls[0][2] < 900


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ('"$@" models list >&-', 0),
        ('"$@" models list >&- 2>&- <&-', 0),
        ('"$@" models list | true; exit ${PIPESTATUS[0]}', 128 + signal.SIGPIPE),
        ('mkdir gone; cd gone; rmdir ../gone; "$@" evaluate --gt "$0" --pred "$0" --json scores.json', 2),
    ],
    ids=["no output", "no streams", "reader left", "working folder gone"],
)
def test_what_is_done_to_the_streams_and_the_folder_of_a_process_ends_in_no_traceback(data, tmp_path, script, code):
    program = [sys.executable, "-m", "cyclic.cli"]
    done = subprocess.run(
        ["bash", "-c", script, str(data / "labels"), *program], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == code and "Traceback" not in done.stderr
    assert code != 2 or "the working folder is gone" in done.stderr
