"""The run directory: what survives a kill, and what is refused."""

import errno
import json
import subprocess
import sys

import numpy as np
import pytest
import yaml
from first_version import EARLIER, OLD

from cyclic.config import load_config
from cyclic.errors import InputError
from cyclic.runs.directory import RunDirectory, read_run_config

CONFIG = {"seed": 3, "cycles": 2, "classifier": {"steps": 400, "tile": [64, 64], "rate": 1e-5}}


class Killed(BaseException):
    """Stands for a kill: nothing in the code under test may catch it."""


def events(run):
    return [json.loads(line) for line in (run.root / "log.jsonl").read_text().splitlines()]


def row(cycle, aji, **other):
    return {"source": "model", "cycle": cycle, "round": 0, "split": "val", "aji": aji} | other


def run_stages(path, work, *, resume=False, kill_in=None):
    """Run two cycles of two stages; append each stage that really works to `work`."""
    with RunDirectory(path, CONFIG, seed=3, resume=resume) as run:
        for key in ("cycle_1/classifier", "cycle_1/maps", "cycle_2/classifier", "cycle_2/maps"):
            if run.is_finished(key):
                continue
            with run.stage(key):
                result = run.root / key / "result.txt"
                result.parent.mkdir(parents=True, exist_ok=True)
                result.write_text("partial")
                if key == kill_in:
                    raise Killed
                work.append(key)
                result.write_text("whole")


def test_kill_and_resume_does_finished_stages_once(tmp_path):
    work = []
    with pytest.raises(Killed):
        run_stages(tmp_path / "run", work, kill_in="cycle_1/maps")
    assert work == ["cycle_1/classifier"]
    assert json.loads((tmp_path / "run/state.json").read_text())["finished"] == ["cycle_1/classifier"]
    with pytest.raises(Killed):
        run_stages(tmp_path / "run", work, resume=True, kill_in="cycle_2/maps")
    run_stages(tmp_path / "run", work, resume=True)
    assert work == ["cycle_1/classifier", "cycle_1/maps", "cycle_2/classifier", "cycle_2/maps"]
    assert (tmp_path / "run/cycle_1/maps/result.txt").read_text() == "whole"
    state = json.loads((tmp_path / "run/state.json").read_text())
    assert state["finished"] == work and list(state["seconds"]) == work


def test_log_tells_what_happened(tmp_path):
    with RunDirectory(tmp_path / "run", CONFIG) as run:
        with run.stage("cycle_1/maps"):
            run.log("selected", kept=np.int64(20), share=np.float32(0.5), loss=float("nan"), file=tmp_path)
        with pytest.raises(Killed), run.stage("cycle_1/pseudo"):
            raise Killed("out of memory")
        log = events(run)
    assert [event["event"] for event in log] == [
        "start", "stage_start", "selected", "stage_end", "stage_start", "stage_stopped"
    ]  # fmt: skip
    assert log[2] | {"time": ""} == {
        "time": "", "event": "selected", "kept": 20, "share": 0.5, "loss": None, "file": str(tmp_path)
    }  # fmt: skip
    assert log[3]["stage"] == "cycle_1/maps" and log[3]["seconds"] == run.seconds["cycle_1/maps"] >= 0
    assert log[5]["error"] == "Killed" and log[5]["message"] == "out of memory"
    assert [event["time"] for event in log] == sorted(event["time"] for event in log)


def test_log_cut_by_a_kill_stays_readable(tmp_path):
    with RunDirectory(tmp_path / "run", CONFIG) as run:
        run.log("first")
    with (tmp_path / "run/log.jsonl").open("a") as file:
        file.write('{"time": "2026-01-01T00:00:00", "eve')
    with RunDirectory(tmp_path / "run", CONFIG, resume=True) as run:
        assert [event["event"] for event in events(run)] == ["start", "first", "resume"]


def test_seconds_measure_the_stage(tmp_path, monkeypatch):
    clock = iter([10.0, 12.5])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    with RunDirectory(tmp_path / "run", CONFIG) as run, run.stage("cycle_1/maps"):
        pass
    assert run.seconds == {"cycle_1/maps": 2.5}
    assert json.loads((tmp_path / "run/metrics.json").read_text())["wall_s"] == {"cycle_1/maps": 2.5}


def test_finished_stage_is_not_run_again(tmp_path):
    with RunDirectory(tmp_path / "run", CONFIG) as run:
        with run.stage("cycle_1/maps"):
            pass
        with pytest.raises(ValueError, match="cycle_1/maps is finished"), run.stage("cycle_1/maps"):
            pytest.fail("the block ran")


def test_rows_replace_their_own_kind_and_survive_resume(tmp_path):
    with RunDirectory(tmp_path / "run", CONFIG, seed=3) as run:
        run.add_rows([row(1, np.float64(0.3)), row(2, 0.4), row(1, 0.2, split="test")])
        run.add_rows([row(1, 0.5)])
    with RunDirectory(tmp_path / "run", CONFIG, seed=3, resume=True) as run:
        run.add_rows([row(2, float("nan")), row(1, 0.1, source="pseudo_masks")])
        content = json.loads((tmp_path / "run/metrics.json").read_text())
        assert run.rows == content["rows"]
    assert content["seed"] == 3
    assert [(item["source"], item["cycle"], item["split"], item["aji"]) for item in content["rows"]] == [
        ("model", 1, "val", 0.5),
        ("model", 2, "val", None),
        ("model", 1, "test", 0.2),
        ("pseudo_masks", 1, "val", 0.1),
    ]


def test_scores_of_a_map_belong_to_no_round(tmp_path):
    found = {"source": "map", "cycle": 1, "split": "val", "auc": 0.875}
    with RunDirectory(tmp_path / "run", CONFIG) as run, run.stage("cycle_1/maps"):
        run.add_rows([found])
    with RunDirectory(tmp_path / "run", CONFIG, resume=True) as run:
        assert run.rows == [found]


def test_config_is_written_and_same_config_resumes(tmp_path):
    with RunDirectory(tmp_path / "run", CONFIG):
        assert yaml.safe_load((tmp_path / "run/config.yaml").read_text()) == CONFIG
    as_tuple = CONFIG | {"classifier": CONFIG["classifier"] | {"tile": (64, 64)}}
    with RunDirectory(tmp_path / "run", as_tuple, resume=True):
        pass


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (CONFIG | {"classifier": CONFIG["classifier"] | {"steps": 800}, "cycles": 2}, "classifier.steps is 400 .* 800"),
        (CONFIG | {"cycles": 5, "seed": 4}, "seed is 3 .* 4"),
        (CONFIG | {"extra": {"key": None}}, "extra.key is absent .* None"),
        ({"seed": 3, "cycles": 2}, "classifier.steps is 400 .* absent"),
    ],
)
def test_changed_config_names_the_first_changed_key(tmp_path, changed, message):
    RunDirectory(tmp_path / "run", CONFIG).close()
    before = (tmp_path / "run/config.yaml").read_text()
    with pytest.raises(InputError, match=message):
        RunDirectory(tmp_path / "run", changed, resume=True)
    assert (tmp_path / "run/config.yaml").read_text() == before
    RunDirectory(tmp_path / "run", CONFIG, resume=True).close()


def test_more_cycles_open_the_last_stage_again(tmp_path):
    with RunDirectory(tmp_path / "run", CONFIG) as run:
        for key in ("cycle_2/maps", "finish"):
            (run.root / "cycle_2").mkdir(exist_ok=True)
            with run.stage(key):
                pass
    more = CONFIG | {"cycles": 3}
    with RunDirectory(tmp_path / "run", more, resume=True) as run:
        assert run.is_finished("cycle_2/maps") and not run.is_finished("finish")
        assert yaml.safe_load((tmp_path / "run/config.yaml").read_text()) == more
        assert {"event": "cycles", "before": 2, "now": 3}.items() <= events(run)[-2].items()
    with RunDirectory(tmp_path / "run", more, resume=True) as run:
        assert not run.is_finished("finish")


def test_cycles_that_have_begun_cannot_be_left_out(tmp_path):
    RunDirectory(tmp_path / "run", CONFIG | {"cycles": 5}).close()
    for cycle in (1, 2, 3):
        (tmp_path / "run" / f"cycle_{cycle}").mkdir()
    with pytest.raises(InputError, match="cycle 3 has begun, so cycles cannot be 2; give 3 or more"):
        RunDirectory(tmp_path / "run", CONFIG | {"cycles": 2}, resume=True)
    assert yaml.safe_load((tmp_path / "run/config.yaml").read_text())["cycles"] == 5
    RunDirectory(tmp_path / "run", CONFIG | {"cycles": 3}, resume=True).close()


def test_existing_run_is_not_overwritten(tmp_path):
    with RunDirectory(tmp_path / "run", CONFIG) as run, run.stage("cycle_1/maps"):
        pass
    with pytest.raises(InputError, match="holds a run already; add --resume or choose another --out"):
        RunDirectory(tmp_path / "run", CONFIG)
    with RunDirectory(tmp_path / "run", CONFIG, resume=True) as run:
        assert run.is_finished("cycle_1/maps") and not run.is_finished("cycle_1/pseudo")


def test_resume_without_a_run(tmp_path):
    with pytest.raises(InputError, match="no run to resume"):
        RunDirectory(tmp_path / "run", CONFIG, resume=True)
    assert not (tmp_path / "run").exists()


def test_path_is_a_file(tmp_path):
    (tmp_path / "run").write_text("")
    for path in (tmp_path / "run", tmp_path / "run" / "inner"):
        with pytest.raises(InputError, match="run.*: .*a file lies where a folder is needed; choose another folder"):
            RunDirectory(path, CONFIG)


@pytest.mark.parametrize(
    "content",
    [
        "",
        '{"finished": ["cyc',
        "[]",
        "null",
        "{}",
        '{"finished": 3, "seconds": {}}',
        '{"finished": [1], "seconds": {}}',
        '{"finished": {"cycle_1/maps": true}}',
        '{"finished": [], "seconds": []}',
        '{"finished": [], "seconds": {}, "rows": [{"aji": 0.5}]}',
        '{"finished": [], "seconds": {}, "files": {"cycle_1/maps": ["a.png"]}}',
        "\udcff",
    ],
)
def test_corrupt_state_is_refused(tmp_path, content):
    RunDirectory(tmp_path / "run", CONFIG).close()
    (tmp_path / "run/state.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match="state.json: not the state of a run.*restore it, or start again"):
        RunDirectory(tmp_path / "run", CONFIG, resume=True)


@pytest.mark.parametrize(
    "content", [None, "", "{}", "[]", "3", '{"rows": 3}', '{"rows": [{"aji": 1}]}', '{"rows": [{"']
)
def test_missing_or_corrupt_metrics_are_written_again(tmp_path, content):
    with RunDirectory(tmp_path / "run", CONFIG) as run, run.stage("cycle_1/scores"):
        run.add_rows([row(1, 0.5)])
    path = tmp_path / "run/metrics.json"
    before = path.read_bytes()
    path.unlink()
    if content is not None:
        path.write_text(content)
    with pytest.warns(UserWarning, match="metrics.json: lacks scores of this run; written again"):
        RunDirectory(tmp_path / "run", CONFIG, resume=True).close()
    assert path.read_bytes() == before


def test_corrupt_metrics_of_an_earlier_version_are_refused(tmp_path):
    with RunDirectory(tmp_path / "run", CONFIG) as run, run.stage("cycle_1/scores"):
        pass
    state = json.loads((tmp_path / "run/state.json").read_text())
    (tmp_path / "run/state.json").write_text(json.dumps({"finished": state["finished"]}))
    (tmp_path / "run/metrics.json").write_text('{"rows": [{"')
    with pytest.raises(InputError, match="metrics.json"):
        RunDirectory(tmp_path / "run", CONFIG, resume=True)


def test_what_a_killed_process_left_unfinished_is_removed(tmp_path):
    with RunDirectory(tmp_path / "run", CONFIG):
        pass
    left = [tmp_path / "run/.tmp-abc.json", tmp_path / "run/cycle_1/maps/.tmp-x.png"]
    left[1].parent.mkdir(parents=True)
    for path in left:
        path.write_text("half")
    RunDirectory(tmp_path / "run", CONFIG, resume=True).close()
    assert not any(path.exists() for path in left)


def test_a_place_without_locks_is_warned_of(tmp_path, monkeypatch):
    def none(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", none)
    with pytest.warns(UserWarning, match="run: cannot be locked .No locks available.; let one process alone"):
        RunDirectory(tmp_path / "run", CONFIG).close()


@pytest.mark.parametrize("content", [None, "a: [", "\udcff"])
def test_corrupt_config_is_refused(tmp_path, content):
    with RunDirectory(tmp_path / "run", CONFIG) as run, run.stage("cycle_1/maps"):
        pass
    (tmp_path / "run/config.yaml").unlink()
    if content is not None:
        (tmp_path / "run/config.yaml").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match="config.yaml: missing or not valid YAML"):
        RunDirectory(tmp_path / "run", CONFIG, resume=True)


def test_two_processes_do_not_write_one_run(tmp_path):
    code = (
        "import sys; from cyclic.runs.directory import RunDirectory\n"
        "try: RunDirectory(sys.argv[1], {}, resume=True)\n"
        "except ValueError as error: print(error)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "run")]
    with RunDirectory(tmp_path / "run", {}):
        held = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    free = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "another process writes this run" in held
    assert free == ""


def test_failed_open_gives_the_lock_back(tmp_path):
    RunDirectory(tmp_path / "run", CONFIG).close()
    with pytest.raises(InputError):
        RunDirectory(tmp_path / "run", {}, resume=True)
    RunDirectory(tmp_path / "run", CONFIG, resume=True).close()


# What the first version recommended, in today's keys.
TODAYS = load_config((), EARLIER)


def test_a_run_of_the_first_version_goes_on_with_the_settings_it_meant(tmp_path):
    now = load_config((), [*EARLIER, "cycles=2", "tiles.size=32", "tiles.stride=36"]).model_dump(mode="json")
    old = OLD | {"cycles": 2, "tiles": OLD["tiles"] | {"size": 32}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(old))
    assert read_run_config(tmp_path).model_dump(mode="json") == now
    RunDirectory(tmp_path, now, resume=True).close()
    with pytest.raises(InputError, match="scale is 2.0 in this run and 3 in the configuration given"):
        RunDirectory(tmp_path, now | {"scale": 3}, resume=True)


def test_a_run_that_this_version_would_continue_otherwise_is_refused(tmp_path):
    old = OLD | {"pseudo": OLD["pseudo"] | {"agreement": True}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(old))
    with pytest.raises(InputError, match=r"began this run with pseudo\.agreement, which this one does not have"):
        RunDirectory(tmp_path, TODAYS.model_dump(mode="json"), resume=True)
    assert read_run_config(tmp_path) == TODAYS  # to look at it is no harm
