"""Lists of runs: their order, what is left alone or resumed, and that one commit made each. `cyclic` is a fake."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import collect
import pytest
import run_list
import yaml

from cyclic.config import RunConfig
from cyclic.errors import InputError

STUDIES = pathlib.Path(run_list.__file__).parent
# Stands for the package of the checkout. The name of the data set says how the run goes.
FAKE = """
import json, pathlib, sys, time
import yaml

options = sys.argv[2:]
value = dict(zip(options, options[1:]))
config, data, out = (value[name] for name in ("--config", "--data", "--out"))
seed = int(value["--set"].removeprefix("seed="))
with open("calls.txt", "a") as file:
    file.write(" ".join(sys.argv[1:]) + chr(10))
print("says", data)
if data == "broken":
    sys.exit(3)
out = pathlib.Path(out)
out.mkdir(exist_ok=True)
settings = yaml.safe_load(pathlib.Path(config).read_text()) | {"seed": seed}
(out / "config.yaml").write_text(yaml.safe_dump(settings))
if data == "halfway" and "--resume" not in options:
    sys.exit(1)
if data == "edited":
    pathlib.Path("configs/new.yaml").write_text("cycles: 1")
if data == "slow":
    pathlib.Path("running.txt").touch()
    time.sleep(600)
row = {"source": "model", "cycle": 1, "round": 0, "aji": 0.5, "dice": 0.5, "pq": 0.5}
metrics = {"rows": [row] if data != "scoreless" else [], "seed": seed, "wall_s": {}}
if data != "lost":
    (out / "metrics.json").write_text(json.dumps(metrics))
"""


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A git repository whose `cyclic` is the fake; the scripts take it for theirs."""
    root = tmp_path / "repository"
    for folder in ("cyclic", "configs"):
        (root / folder).mkdir(parents=True)
    (root / "cyclic/cli.py").write_text(FAKE)
    (root / "configs/base.yaml").write_text(yaml.safe_dump(RunConfig().model_dump(mode="json")))
    git(root, "init", "--quiet")
    commit(root)
    monkeypatch.setattr(run_list, "ROOT", root)
    return root


def git(root, *arguments):
    who = ("-c", "user.name=x", "-c", "user.email=x@y", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", "-C", root, *who, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit(root):
    git(root, "add", "cyclic", "configs")
    git(root, "commit", "--quiet", "--allow-empty", "-m", "x")
    return git(root, "rev-parse", "HEAD")


def write_list(root, *entries):
    usual = {"config": "configs/base.yaml", "data": "good", "csv": "results.csv", "seeds": [0]}
    (root / "list.yaml").write_text(json.dumps([usual | entry for entry in entries]))  # JSON is YAML
    return root / "list.yaml"


@pytest.fixture
def call(repository, monkeypatch, capsys):
    """Run the list of the repository: exit code, output, errors."""

    def _call(*options):
        arguments = [repository / "list.yaml", "--out", repository / "runs", *options]
        monkeypatch.setattr("sys.argv", ["x", *map(str, arguments)])
        code = run_list.main()
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return _call


def calls(root):
    """The calls of the fake, `[(folder of the run, the rest)]`."""
    text = (root / "calls.txt").read_text() if (root / "calls.txt").is_file() else ""
    found = [line.partition(" --out ")[2].partition(" ") for line in text.splitlines()]
    return [(str(pathlib.Path(folder).relative_to(root / "runs")), rest) for folder, _, rest in found]


def collected(root, name="results.csv"):
    return [(row["name"], row["seed"], row["committed_in"]) for row in collect.read_table(root / name)]


def test_one_seed_of_all_comes_first_and_each_gets_its_line(repository, call):
    many = {"name": "a", "seeds": [0, 1]}
    write_list(repository, many, many | {"name": "b", "set": ["cycles=1", "scale=2"]}, many | {"csv": "other.csv"})
    code, out, err = call()
    assert (code, err) == (0, "") and out.count(": done") == 6
    names = [f"{folder}_seed{seed}" for seed in (0, 1) for folder in ("results/a", "results/b", "other/a")]
    assert [folder for folder, _ in calls(repository)] == names
    assert calls(repository)[1][1] == "--set cycles=1 --set scale=2 --set seed=0"
    short = git(repository, "rev-parse", "--short", "HEAD")
    assert collected(repository) == [(name, seed, short) for seed in "01" for name in "ab"]
    assert collected(repository, "other.csv") == [("a", seed, short) for seed in "01"]
    assert "says good" in (repository / "runs/results/a_seed0.log").read_text()
    assert (repository / "runs/results/a_seed0.commit").read_text().strip() == git(repository, "rev-parse", "HEAD")


def test_what_is_in_its_table_is_left_alone(repository, call):
    write_list(repository, {"name": "a"})
    call()
    write_list(repository, {"name": "a", "seeds": [0, 1]})
    assert call()[0] == 0 and call()[0] == 0
    assert [folder for folder, _ in calls(repository)] == ["results/a_seed0", "results/a_seed1"]


def test_a_run_that_has_begun_is_resumed_and_its_output_kept(repository, call):
    write_list(repository, {"name": "a", "data": "halfway"})
    code, _, err = call()
    assert code == 1 and "results: a, seed 0: cyclic train ended with 1; see" in err and collected(repository) == []
    assert call()[0] == 0
    assert [rest for _, rest in calls(repository)] == ["--set seed=0", "--set seed=0 --resume"]
    assert (repository / "runs/results/a_seed0.log").read_text().count("says halfway") == 2
    assert len(collected(repository)) == 1


@pytest.mark.parametrize("data", ["broken", "lost"])
def test_a_failed_run_is_named_and_the_rest_goes_on(repository, call, data):
    write_list(repository, {"name": "a", "data": data}, {"name": "b"})
    code, out, err = call()
    assert code == 1 and "failed: results: a, seed 0; the same command" in err and "results: b, seed 0: done" in out
    assert [name for name, *_ in collected(repository)] == ["b"]


def test_a_run_without_scores_gets_its_line(repository, call):
    write_list(repository, {"name": "a", "data": "scoreless"})
    assert call()[0] == 0 and [name for name, *_ in collected(repository)] == ["a"]


def test_dry_prints_what_would_run(repository, call):
    write_list(repository, {"name": "a"}, {"name": "b", "set": ["pseudo.factors=[1.0, 1.2]"]})
    call("--only", "a")
    code, out, _ = call("--dry")
    assert code == 0 and len(calls(repository)) == 1
    folder = repository / "runs/results/b_seed0"
    given = f"--config configs/base.yaml --data good --out {folder}"
    assert out == f"cyclic train {given} --set 'pseudo.factors=[1.0, 1.2]' --set seed=0\n"


def test_a_run_does_not_go_on_with_other_code(repository, call):
    write_list(repository, {"name": "a", "data": "halfway"})
    call()
    began = git(repository, "rev-parse", "HEAD")
    (repository / "cyclic/cli.py").write_text(FAKE + "# other")
    commit(repository)
    code, _, err = call()
    assert code == 2 and len(err.splitlines()) == 1 and len(calls(repository)) == 1
    assert f"results/a_seed0: began at {began[:7]}, where cyclic/ or configs/ differ" in err
    assert f"git checkout {began[:7]}, or remove the folder" in err
    git(repository, "checkout", "--quiet", began)
    assert call()[0] == 0


def test_commits_that_leave_the_code_alone_change_nothing(repository, call):
    write_list(repository, {"name": "a", "data": "halfway"})
    call()
    short = git(repository, "rev-parse", "--short", "HEAD")
    (repository / "README.md").write_text("x")
    git(repository, "add", "README.md")
    commit(repository)
    assert call()[0] == 0 and collected(repository) == [("a", "0", short)]


@pytest.mark.parametrize("name", ["cyclic/cli.py", "cyclic/new.py", "configs/base.yaml"])
def test_nothing_runs_on_changes_that_are_not_committed(repository, call, name):
    write_list(repository, {"name": "a"})
    with (repository / name).open("a") as file:
        file.write("# more\n")
    code, _, err = call()
    assert code == 2 and f"{name}: changed and not committed; commit or stash it" in err
    assert calls(repository) == [] and len(err.splitlines()) == 1


def test_a_folder_of_another_commit_is_told_before_anything_runs(repository, call):
    write_list(repository, {"name": "a"}, {"name": "b"})
    (repository / "runs/results/b_seed0").mkdir(parents=True)
    (repository / "runs/results/b_seed0/config.yaml").write_text("cycles: 1")
    code, _, err = call()
    assert code == 2 and "b_seed0: began at an unknown commit; remove it" in err and calls(repository) == []


def test_a_run_during_which_the_code_changed_never_counts(repository, call):
    write_list(repository, {"name": "a", "data": "edited"}, {"name": "b"})
    code, _, err = call()
    assert code == 2 and "a, seed 0: the code changed while it ran, so it does not count" in err
    (repository / "configs/new.yaml").unlink()
    code, _, err = call()
    assert code == 2 and "a_seed0: began at an unknown commit" in err
    assert len(calls(repository)) == 1 and collected(repository) == []


@pytest.mark.parametrize(
    ("entries", "options", "message"),
    [
        ([{"name": "a"}, {"name": "a"}], (), "results: a, seed 0: twice in the list"),
        ([{"name": "a"}, {"name": "b"}], ("--only", "c"), "--only c: no such entry; there are a, b"),
        ([{"name": "a/b"}], (), "list.yaml: 0.name"),
        ([{"name": "a"}, {"name": "b", "sets": []}], (), "list.yaml: 1.sets"),
        ([{"name": "a", "seeds": []}], (), "list.yaml: 0.seeds"),
        ([{"name": "a", "csv": "configs/base.yaml"}], (), "base.yaml: not a table of runs"),
    ],
)
def test_a_list_that_cannot_be_run_is_told_in_one_line(repository, call, entries, options, message):
    write_list(repository, *entries)
    code, _, err = call(*options)
    assert code == 2 and message in err and len(err.splitlines()) == 1 and calls(repository) == []


def test_a_missing_list_and_a_folder_without_git(repository, call, tmp_path, monkeypatch):
    code, _, err = call()
    assert code == 2 and "list.yaml: missing or not valid YAML" in err
    monkeypatch.setattr(run_list, "ROOT", tmp_path)
    with pytest.raises(InputError, match="not a git checkout"):
        run_list.present_commit()


def test_a_kill_stops_the_training_too(repository):
    """The script as a process of its own, in the repository of the fake."""
    (repository / "studies").mkdir()
    for name in ("run_list.py", "collect.py"):
        (repository / "studies" / name).write_text((STUDIES / name).read_text())
    write_list(repository, {"name": "a", "data": "slow"})
    command = [sys.executable, "studies/run_list.py", "list.yaml", "--out", "runs"]
    environment = {**os.environ, "PYTHONPATH": str(STUDIES.parent)}
    process = subprocess.Popen(command, cwd=repository, env=environment, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 600
    while not (repository / "running.txt").is_file():
        assert process.poll() is None and time.monotonic() < end, process.communicate()
        time.sleep(0.05)
    trainings = children(process.pid)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=600)
    assert process.returncode == 130 and "stopped; the same command goes on from here" in err
    while any(is_alive(pid) for pid in trainings):
        assert time.monotonic() < end
        time.sleep(0.05)
    assert trainings


def children(pid):
    return [int(word) for word in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_alive(pid):
    """A killed process whose end nobody has read yet is a zombie, "Z"."""
    status = pathlib.Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


def test_the_list_of_the_repository_names_configurations_and_tables_that_exist(tmp_path):
    path = STUDIES / "lists/map_decides.yaml"
    runs = run_list.runs_of(run_list.read_list(path), tmp_path)
    assert len(runs) == 30 and {run.seed for run in runs[:18]} == {0}
    for run in runs:
        assert (run_list.ROOT / run.entry.config).is_file() and run.table.is_file()
    assert {run.entry.name for run in runs if run.seed == 2} == {"map", "map_stain_only", "map_no_label"}


def test_the_list_of_wrong_answers_is_the_run_map_with_other_tiles(tmp_path):
    runs = run_list.runs_of(run_list.read_list(STUDIES / "lists/wrong_answers.yaml"), tmp_path)
    assert len(runs) == 9 and len({run.entry.config for run in runs}) == 1
    for run in runs:
        assert [setting.partition("=")[0] for setting in run.entry.overrides] == ["tiles.folder"]
