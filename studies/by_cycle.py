"""The command line of studies that have a row for each cycle of a run."""

import argparse
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from cyclic.errors import InputError
from cyclic.files import write_json
from cyclic.runs.paths import RunPaths


def main(
    about: str | None,
    rows: Callable[[RunPaths, list[Path]], Iterable[dict]],
    lines_of: Callable[[dict], Iterable[str]],
) -> int:
    """Print the rows of a run, write them to a file if one is asked for, and return the exit code.

    Args:
        about: what the study shows, for `--help`.
        rows: of a run and its data sets.
        lines_of: what is printed of a row.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="run directory")
    parser.add_argument("--data", type=Path, action="append", required=True, help="its labelled data set; repeatable")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    try:
        found = []
        for row in rows(RunPaths(options.run), options.data):
            found.append(row)
            print(*lines_of(row), sep="\n", flush=True)
        if options.json:
            write_json(options.json, {"rows": found})
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0
