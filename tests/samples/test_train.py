"""The training programs of the data sets: each has its own configuration and the options of `cyclic train`."""

import pathlib
import runpy
import sys

import pytest
import typer

from cyclic import cli
from cyclic.config import load_config
from cyclic.errors import InputError

SAMPLES = pathlib.Path(__file__).resolve().parents[2] / "samples"
DATA_SETS = ("monusac", "ccrcc", "consep")


@pytest.fixture
def program(monkeypatch, capsys):
    """Run the `train.py` of a data set in this process: `(exit code, stderr)`."""

    def run(name, *arguments):
        path = SAMPLES / name / "train.py"
        monkeypatch.setattr(sys, "argv", list(map(str, (path, *arguments))))
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(path), run_name="__main__")
        return end.value.code, capsys.readouterr().err

    return run


def assert_refused(result, *parts):
    code, err = result
    assert code == 2 and all(part in err for part in parts), err


@pytest.mark.parametrize("option", ["--dataset", "--data"])
@pytest.mark.parametrize("name", DATA_SETS)
def test_the_configuration_of_the_data_set_is_read(name, option, program, tmp_path, monkeypatch):
    def stop(paths, *_):
        raise InputError(f"read {[path.name for path in paths]}")

    monkeypatch.setattr("cyclic.cli.training.load_config", stop)
    assert_refused(program(name, option, tmp_path, "--out", tmp_path / "run"), f"read ['{name}_cpu.yaml']")


def test_another_configuration_lies_on_top(program, tmp_path):
    (tmp_path / "mine.yaml").write_text("cycles: 0\n")
    arguments = (f"--dataset={tmp_path}", "--out", tmp_path / "run", "--config", tmp_path / "mine.yaml")
    assert_refused(program("monusac", *arguments), "mine.yaml", "cycles")


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        (["--weights", "none"], ["backbone.weights=null", "backbone.norm=group"]),
        (["--weights=coco"], ["backbone.weights=coco", "backbone.name=resnet50", "backbone.norm=frozen"]),
        (["--weights", "imagenet", "--config", "x.yaml"], ["backbone.weights=imagenet"]),
        (["--weights", "mine.h5", "--cycles", "3"], ["cycles=3", "backbone.weights=mine.h5"]),
        (["--cycles=2", "--set", "seed=1"], ["seed=1", "cycles=2"]),
        (["--weights", "last"], []),
    ],
)
def test_weights_and_cycles_are_settings_of_the_run(options, settings, monkeypatch):
    monkeypatch.syspath_prepend(SAMPLES)
    from training import arguments

    given = arguments("consep_cpu.yaml", ["--dataset", "DIR", "--out", "RUN", *options])
    assert [value for option, value in zip(given, given[1:], strict=False) if option == "--set"] == settings
    assert ("--resume" in given) == ("last" in options)
    assert ("--config" in given) == ("last" not in options)  # a run goes on with its own settings
    command = typer.main.get_command(cli.app).commands["train"]
    parsed, left, _ = command.make_parser(command.context_class(command)).parse_args(given[1:])
    assert parsed["out"] == "RUN" and left == []


def test_public_weights_fit_the_network_that_they_bring(monkeypatch):
    monkeypatch.syspath_prepend(SAMPLES)
    from training import CONFIGS, PUBLIC_NETWORK

    for name in DATA_SETS:
        assert load_config(CONFIGS / f"{name}_cpu.yaml", ("backbone.weights=coco", *PUBLIC_NETWORK))


@pytest.mark.parametrize("name", DATA_SETS)
def test_its_page_tells_the_command(name):
    assert f"python samples/{name}/train.py --dataset DIR --out RUN" in (SAMPLES / name / "README.md").read_text()
