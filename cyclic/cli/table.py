"""Tables on standard output."""

import sys

import rich.console


def print_table(rows: list[dict]) -> None:
    """Print a row for each dictionary, under the names of their keys."""
    from cyclic.evaluation.table import results_table

    # Outside a terminal rich assumes 80 columns, too few for a row of scores.
    width = None if sys.stdout.isatty() else 240
    rich.console.Console(width=width).print(results_table(rows))
