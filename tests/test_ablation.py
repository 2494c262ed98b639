"""The table of `scripts/ablation.py`."""

import importlib.util
import json
import pathlib

import yaml

from cyclic.config import RunConfig, load_config

_SCRIPT = pathlib.Path(__file__).resolve().parents[1] / "scripts" / "ablation.py"
_SPEC = importlib.util.spec_from_file_location("ablation", _SCRIPT)
ablation = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(ablation)
HEAD, differences, main, table = ablation.HEAD, ablation.differences, ablation.main, ablation.table
BASE = RunConfig().model_dump(mode="json")


def add_run(folder, seed, ajis, **settings):
    """Write a run of one cycle an AJI."""
    folder.mkdir(parents=True)
    config = {**BASE, "seed": seed, **settings}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    rows = [
        {"source": source, "cycle": cycle, "round": 0, "aji": aji - less, "dice": 0.7, "pq": 0.3}
        for cycle, aji in enumerate(ajis, start=1)
        for source, less in (("pseudo_masks", 0.1), ("model", 0.0))
    ]
    (folder / "metrics.json").write_text(json.dumps({"rows": rows, "seed": seed, "wall_s": {"a": 60.0, "b": 120.0}}))


def test_seeds_are_averaged_and_the_best_comes_first(tmp_path):
    add_run(tmp_path / "default_seed0", 0, [0.40, 0.44])
    add_run(tmp_path / "default_seed1", 1, [0.42, 0.46])
    add_run(tmp_path / "once", 0, [0.47], cycles=1)
    first, second = table(tmp_path, BASE)[len(HEAD) :].splitlines()
    assert first.startswith("| once | 0.470 | 0.700 | 0.300 | 0.470 | 0.370 | 0 | 3 | `--set cycles=1`")
    assert second.startswith("| default | 0.450 ± 0.014 |") and "| 0, 1 |" in second
    assert "| 0.410 ± 0.014, 0.450 ± 0.014 |" in second  # by cycle


def test_differences_give_back_the_configuration():
    overrides = ("maps.flips=true", "pseudo.share=null", "pseudo.factors=[1.0, 1.2]", "cycles=4", "seed=3")
    found = differences(load_config(None, overrides).model_dump(mode="json"), BASE)
    assert load_config(None, (*found, "seed=3")) == load_config(None, overrides)
    assert len(found) == 4


def test_settings_that_came_after_a_run_are_told_where_the_configuration_changes_them(tmp_path):
    add_run(tmp_path / "old", 0, [0.4])
    config = {**BASE, "detection": {key: value for key, value in BASE["detection"].items() if key != "mask_margin"}}
    (tmp_path / "old" / "config.yaml").write_text(yaml.safe_dump(config))
    assert table(tmp_path, BASE).splitlines()[-1].endswith("| none |")
    changed = load_config(None, ("detection.mask_margin=0.2",)).model_dump(mode="json")
    assert table(tmp_path, changed).splitlines()[-1].endswith("| `--set detection.mask_margin=0.0` |")


def test_text_around_the_table_stays(tmp_path, monkeypatch, capsys):
    add_run(tmp_path / "runs" / "default", 0, [0.4])
    page, config = tmp_path / "page.md", tmp_path / "config.yaml"
    page.write_text(f"before\n\n{HEAD}| old | 1 |\n\nafter\n")
    config.write_text("cycles: 2\n")
    monkeypatch.setattr("sys.argv", ["x", str(tmp_path / "runs"), "--config", str(config), "--out", str(page)])
    assert main() == 0
    text = page.read_text()
    assert text.startswith("before\n\n| run |") and text.endswith("|\n\nafter\n") and "old" not in text
    assert "| default | 0.400 |" in text


def test_a_folder_without_runs_is_named(tmp_path, monkeypatch, capsys):
    config = tmp_path / "config.yaml"
    config.write_text("cycles: 2\n")
    monkeypatch.setattr("sys.argv", ["x", str(tmp_path), "--config", str(config)])
    assert main() == 2
    assert str(tmp_path) in capsys.readouterr().err
