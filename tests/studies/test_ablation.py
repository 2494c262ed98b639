"""The tables of runs: `studies/collect.py` appends a run, `studies/ablation.py` averages the seeds."""

import csv
import json

import ablation
import collect
import pytest
import yaml

from cyclic.config import RunConfig, load_config

BASE = RunConfig().model_dump(mode="json")


@pytest.fixture
def call(monkeypatch, capsys):
    """Call a script's `main` with arguments; returns its exit code, output and errors."""

    def _call(script, *arguments):
        monkeypatch.setattr("sys.argv", ["x", *map(str, arguments)])
        code = script.main()
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return _call


def add_run(folder, seed, ajis, map_aucs=(), **settings):
    """Write a run of one cycle an AJI; without any it has pseudo masks alone."""
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump({**BASE, "seed": seed, **settings}))
    scores = {"round": 0, "dice": 0.7, "pq": 0.3}
    rows = [{"source": "no_label_baseline", "cycle": 0, "aji": 0.2, **scores}]
    rows += [{"source": "pseudo_masks", "cycle": 1, "aji": 0.35, **scores}]
    rows += [{"source": "model", "cycle": cycle, "aji": aji, **scores} for cycle, aji in enumerate(ajis, start=1)]
    # The last cycle first: a run that is resumed scores the maps of its early cycles last.
    maps = [{"source": "map", "cycle": cycle, "auc": auc} for cycle, auc in enumerate(map_aucs, start=1)]
    rows += reversed(maps)
    (folder / "metrics.json").write_text(json.dumps({"rows": rows, "seed": seed, "wall_s": {"a": 60.0, "b": 120.0}}))
    return folder


def test_a_run_becomes_one_line_and_runs_before_it_stay(tmp_path, call):
    for seed, ajis in enumerate(([0.40, 0.44], [0.42, 0.46])):
        run = add_run(tmp_path / f"twice_seed{seed}", seed, ajis, cycles=3)
        assert call(collect, run, "--csv", tmp_path / "runs.csv", "--commit", "abc1234")[0] == 0
    with (tmp_path / "runs.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["name"], first["seed"], first["settings"]) == ("twice", "0", "cycles=3")
    assert (second["aji"], second["aji_by_cycle"], second["minutes"]) == ("0.460000", "0.420000 0.460000", "3")
    assert (second["pseudo_aji"], second["baseline_aji"], second["committed_in"]) == ("0.350000", "0.200000", "abc1234")


@pytest.mark.parametrize(
    ("map_aucs", "cell"), [((0.75, 0.8), "0.750000 0.800000"), ((None, 0.5), "nan 0.500000"), ((), "")]
)
def test_the_maps_of_each_cycle_are_in_one_cell(tmp_path, call, map_aucs, cell):
    run = add_run(tmp_path / "maps", 0, [0.40, 0.44], map_aucs)
    assert call(collect, run, "--csv", tmp_path / "runs.csv")[0] == 0
    (row,) = collect.read_table(tmp_path / "runs.csv")
    assert (row["map_auc_by_cycle"], row["aji"]) == (cell, "0.440000")


def test_the_same_name_and_seed_come_in_once(tmp_path, call):
    run = add_run(tmp_path / "once", 0, [0.4])
    assert call(collect, run, "--csv", tmp_path / "runs.csv")[0] == 0
    code, _, err = call(collect, run, "--csv", tmp_path / "runs.csv")
    assert code == 2 and "once, seed 0" in err
    assert call(collect, run, "--csv", tmp_path / "runs.csv", "--name", "again")[0] == 0


def test_another_table_is_not_overwritten(tmp_path, call):
    (tmp_path / "runs.csv").write_text("image,score\na,1\n")
    code, _, err = call(collect, add_run(tmp_path / "run", 0, [0.4]), "--csv", tmp_path / "runs.csv")
    assert code == 2 and "not a table of runs" in err
    assert (tmp_path / "runs.csv").read_text() == "image,score\na,1\n"


def test_a_folder_that_is_no_run_is_named(tmp_path, call):
    code, _, err = call(collect, tmp_path, "--csv", tmp_path / "runs.csv")
    assert code == 2 and str(tmp_path) in err


def test_differences_give_back_the_configuration():
    overrides = ("pseudo.share=null", "pseudo.factors=[1.0, 1.2]", "cycles=4", "seed=3")
    found = collect.differences(load_config((), overrides).model_dump(mode="json"), BASE)
    assert load_config((), (*found, "seed=3")) == load_config((), overrides)
    assert len(found) == 3


def test_seeds_are_averaged_and_the_best_comes_first(tmp_path, call):
    runs = {"twice_seed0": [0.40, 0.44], "twice_seed1": [0.42, 0.46], "once": [0.47], "never": []}
    for name, ajis in runs.items():
        call(collect, add_run(tmp_path / name, int(name[-1] == "1"), ajis), "--csv", tmp_path / "runs.csv")
    code, out, _ = call(ablation, tmp_path / "runs.csv")
    first, second, third = out.removeprefix(ablation.HEAD).splitlines()
    assert code == 0
    assert first == "| once | 0 | 0.470 | 0.700 | 0.300 | 0.470 | 0.350 | 3 |"
    assert second.startswith("| twice | 0, 1 | 0.450 ± 0.014 |") and "| 0.410 ± 0.014, 0.450 ± 0.014 |" in second
    assert third == "| never | 0 | - | - | - | - | 0.350 | 3 |"


def test_an_unknown_name_and_a_missing_table_are_told(tmp_path, call):
    call(collect, add_run(tmp_path / "once", 0, [0.4]), "--csv", tmp_path / "runs.csv")
    code, _, err = call(ablation, tmp_path / "runs.csv", "--name", "twice")
    assert code == 2 and "twice" in err and "once" in err
    assert call(ablation, tmp_path / "nowhere.csv")[0] == 2
