"""Print a table of runs as Markdown: one line a name, its seeds averaged, the best AJI first.

Example:
    python studies/ablation.py results/monuseg.csv --name labels_by_itself no_label_cycles
"""

import argparse
import csv
import itertools
import sys
from pathlib import Path

import numpy as np

from cyclic.errors import InputError

HEAD = (
    "| run | seeds | AJI | Dice | PQ | AJI by cycle | pseudo masks' AJI | minutes |\n"
    "| --- | --- | --- | --- | --- | --- | --- | --- |\n"
)


def mean(values: list[str]) -> str:
    """Return the mean of numbers as text and, of several, their standard deviation; "-" if one is missing."""
    if "" in values:
        return "-"
    numbers = [float(value) for value in values]
    return f"{np.mean(numbers):.3f}" + (f" ± {np.std(numbers, ddof=1):.3f}" if len(numbers) > 1 else "")


def line(name: str, runs: list[dict[str, str]]) -> str:
    """Return the line of the runs of one name, one run a seed."""
    cycles = itertools.zip_longest(*(run["aji_by_cycle"].split() for run in runs), fillvalue="")
    cells = [name, ", ".join(run["seed"] for run in runs)]
    cells += [mean([run[metric] for run in runs]) for metric in ("aji", "dice", "pq")]
    cells.append(", ".join(mean(list(ajis)) for ajis in cycles) or "-")
    cells.append(mean([run["pseudo_aji"] for run in runs]))
    cells.append(f"{np.mean([float(run['minutes']) for run in runs]):.0f}")
    return "| " + " | ".join(cells) + " |"


def table(path: Path, names: list[str] | None = None) -> str:
    """Return the Markdown table of a CSV file that `collect.py` wrote, or of these names in it.

    Raises:
        InputError: there is no such file, or no such name in it.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such table of runs; studies/collect.py writes one")
    groups: dict[str, list[dict[str, str]]] = {}
    with path.open(newline="") as file:
        for run in csv.DictReader(file):
            groups.setdefault(run["name"], []).append(run)
    for name in names or []:
        if name not in groups:
            raise InputError(f"{path}: no run named {name}; it has {', '.join(groups)}")
    chosen = {name: runs for name, runs in groups.items() if not names or name in names}
    best_first = sorted(
        chosen, key=lambda name: np.mean([float(run["aji"] or 0) for run in chosen[name]]), reverse=True
    )
    return HEAD + "".join(line(name, chosen[name]) + "\n" for name in best_first)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("csv", type=Path, help="table of runs")
    parser.add_argument("--name", nargs="+", help="these alone")
    options = parser.parse_args()
    try:
        print(table(options.csv, options.name), end="")
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
