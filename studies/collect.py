"""Append a finished run to a table of runs: one line with its settings, its scores on val and its minutes.

Example:
    python studies/collect.py RUN --csv results/monuseg.csv --config configs/monusac_cpu.yaml --name labels
"""

import argparse
import csv
import re
import subprocess
import sys
from pathlib import Path

import yaml

from cyclic.config import load_config
from cyclic.errors import InputError
from cyclic.files import atomic_path, read_json
from cyclic.runs.paths import RunPaths

METRICS = ("aji", "dice", "pq")
COLUMNS = (
    "name",
    "seed",
    "settings",
    *METRICS,
    *(f"{metric}_by_cycle" for metric in METRICS),
    *(f"pseudo_{metric}" for metric in METRICS),
    "map_auc_by_cycle",
    *(f"baseline_{metric}" for metric in METRICS),
    "minutes",
    "shares",
    "committed_in",
)


def differences(config: dict, base: dict) -> list[str]:
    """Return `section.key=value` of each setting of `config` (nested) that `base` has otherwise, the seed aside."""
    changed = []
    for key, value in config.items():
        if isinstance(value, dict):
            changed += [f"{key}.{each}" for each in differences(value, base[key])]
        elif key != "seed" and value != base[key]:
            changed.append(f"{key}={yaml.safe_dump(value, default_flow_style=True).split(chr(10))[0]}")
    return changed


def last_of(rows: list[dict], source: str, cycle: int | None = None) -> dict:
    """Return the last row of a source, of one cycle if given; empty if there is none."""
    found = [row for row in rows if row["source"] == source and cycle in (None, row["cycle"])]
    return found[-1] if found else {}


def line(run: Path, name: str, base: dict, commit: str, shares: str = "") -> dict[str, str]:
    """Return the table's line of a run directory.

    Args:
        run: run directory, of which `config.yaml` and `metrics.json` are read.
        name: name of the run without its seed.
        base: the settings that the run's are compared with, nested.
        commit: the commit whose code made the run.
        shares: which stages came from another run, if any did.
    """
    paths = RunPaths(run)
    metrics = read_json(paths.metrics)
    rows = metrics["rows"]
    cycles = sorted({row["cycle"] for row in rows if row["source"] == "model"})
    models = [last_of(rows, "model", cycle) for cycle in cycles]
    maps = sorted((row for row in rows if row["source"] == "map"), key=lambda row: row["cycle"])
    found = {
        "name": name,
        "seed": str(metrics["seed"]),
        "settings": " ".join(
            each.replace(" ", "") for each in differences(load_config(paths.config).model_dump(mode="json"), base)
        ),
        "map_auc_by_cycle": " ".join("nan" if row["auc"] is None else f"{row['auc']:.6f}" for row in maps),
        "minutes": f"{sum(metrics['wall_s'].values()) / 60:.0f}",
        "shares": shares,
        "committed_in": commit,
    }
    sources = {"": models[-1] if models else {}, "pseudo_": last_of(rows, "pseudo_masks")}
    sources["baseline_"] = last_of(rows, "no_label_baseline")
    for metric in METRICS:
        for prefix, row in sources.items():
            found[prefix + metric] = f"{row[metric]:.6f}" if row else ""
        found[f"{metric}_by_cycle"] = " ".join(f"{row[metric]:.6f}" for row in models)
    return {column: found[column] for column in COLUMNS}


def read_table(path: Path) -> list[dict[str, str]]:
    """Return the lines of a table of runs, none if there is no such file.

    Raises:
        InputError: the file is another table.
    """
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    if tuple(reader.fieldnames or ()) != COLUMNS:
        raise InputError(f"{path}: not a table of runs; its first line has to be {','.join(COLUMNS)}")
    return rows


def append(path: Path, row: dict[str, str]) -> None:
    """Append a line to the CSV file, and make the file if there is none.

    Raises:
        InputError: the file is another table, or holds this name and seed.
    """
    rows = read_table(path)
    if any((each["name"], each["seed"]) == (row["name"], row["seed"]) for each in rows):
        raise InputError(f"{path}: holds {row['name']}, seed {row['seed']} already; choose another --name")
    with atomic_path(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows([*rows, row])


def present_commit() -> str:
    """Return the commit that is checked out, in short; empty outside a git checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="directory of the finished run")
    parser.add_argument("--csv", type=Path, required=True, help="table of runs, made if there is none")
    parser.add_argument("--config", help="the settings to compare with; default: the defaults")
    parser.add_argument("--name", help="name without seed; default: the directory's, without _seedN")
    parser.add_argument("--shares", default="", help="stages that came from another run, in words")
    parser.add_argument("--commit", help="the commit whose code made the run; default: the present one")
    options = parser.parse_args()
    name = options.name or re.sub(r"_seed\d+$", "", options.run.resolve().name)
    try:
        base = load_config(options.config or ()).model_dump(mode="json")
        append(options.csv, line(options.run, name, base, options.commit or present_commit(), options.shares))
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
