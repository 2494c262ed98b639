"""Write the table of ablation runs: one line a configuration, its seeds averaged, with the command that repeats it.

Each folder `NAME` or `NAME_seedN` under RESULTS holds `config.yaml` and `metrics.json` of one run.

Example:
    python scripts/ablation.py results/ablation --config configs/monusac_cpu.yaml --out docs/ablation.md
"""

import argparse
import re
import sys
from pathlib import Path

import numpy as np
import yaml

from cyclic.config import load_config
from cyclic.errors import InputError
from cyclic.files import atomic_path, read_json

COLUMNS = ("aji", "dice", "pq")
HEAD = (
    "| run | AJI | Dice | PQ | AJI by cycle | pseudo masks' AJI | seeds | minutes | what is set |\n"
    "| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n"
)


def differences(config: dict, base: dict) -> list[str]:
    """Return `section.key=value` of each setting of `config` (nested) that `base` has otherwise, the seed aside."""
    found = []
    for key, value in config.items():
        if isinstance(value, dict):
            found += [f"{key}.{each}" for each in differences(value, base[key])]
        elif key != "seed" and value != base[key]:
            found.append(f"{key}={yaml.safe_dump(value, default_flow_style=True).split(chr(10))[0]}")
    return found


def last_of(rows: list[dict], source: str, cycle: int | None = None) -> dict | None:
    """Return the last row of a source, of one cycle if given; None if there is none."""
    found = [row for row in rows if row["source"] == source and cycle in (None, row["cycle"])]
    return found[-1] if found else None


def mean(rows: list[dict | None], metric: str) -> str:
    """Return the mean of a metric and, of several rows, its standard deviation; "-" if a run has no such row."""
    if any(row is None for row in rows):
        return "-"
    values = [row[metric] for row in rows]
    return f"{np.mean(values):.3f}" + (f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else "")


def line(name: str, runs: list[Path], base: dict) -> str:
    """Return the table's line of one configuration, from its runs' folders."""
    metrics = [read_json(run / "metrics.json") for run in runs]
    rows = [each["rows"] for each in metrics]
    models = [last_of(each, "model") for each in rows]
    cells = [name, *(mean(models, metric) for metric in COLUMNS)]
    cycles = sorted({row["cycle"] for each in rows for row in each if row["source"] == "model"})
    curve = [mean([last_of(each, "model", cycle) for each in rows], "aji") for cycle in cycles]
    cells.append(", ".join(curve) or "-")
    cells.append(mean([last_of(each, "pseudo_masks") for each in rows], "aji"))
    cells.append(", ".join(str(each["seed"]) for each in metrics))
    cells.append(f"{np.mean([sum(each['wall_s'].values()) for each in metrics]) / 60:.0f}")
    # Settings that came after the run have their defaults, which change nothing.
    changed = differences(load_config(runs[0] / "config.yaml").model_dump(mode="json"), base)
    cells.append(" ".join(f"`--set {each}`" for each in changed) or "none")
    return "| " + " | ".join(cells) + " |"


def table(results: Path, base: dict) -> str:
    """Return the Markdown table of all runs under `results`, best AJI first.

    Raises:
        InputError: there is no run.
    """
    groups: dict[str, list[Path]] = {}
    for path in sorted(results.glob("*/metrics.json")):
        groups.setdefault(re.sub(r"_seed\d+$", "", path.parent.name), []).append(path.parent)
    if not groups:
        raise InputError(f"{results}: no run with a metrics.json; copy config.yaml and metrics.json of runs there")
    lines = [line(name, runs, base) for name, runs in groups.items()]
    return HEAD + "\n".join(sorted(lines, key=lambda each: each.split("|")[2], reverse=True)) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="folder of the runs' folders")
    parser.add_argument("--config", required=True, help="the configuration that the settings are told beside")
    parser.add_argument("--out", type=Path, help="Markdown file whose table is replaced; default: print the table")
    options = parser.parse_args()
    try:
        found = table(options.results, load_config(options.config).model_dump(mode="json"))
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    if options.out is None:
        print(found, end="")
        return 0
    # The text around the table is written by hand and stays.
    text = options.out.read_text() if options.out.exists() else HEAD
    before, after = text.split(HEAD, 1)
    rest = "".join(re.split(r"(?m)^(?!\|)", after, maxsplit=1)[1:])
    with atomic_path(options.out) as temporary:
        temporary.write_text(before + found + rest)
    return 0


if __name__ == "__main__":
    sys.exit(main())
