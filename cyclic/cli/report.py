"""`cyclic report`."""

from pathlib import Path
from typing import Annotated

import typer

from cyclic.cli.options import FOLDER, Overwrite


def report(
    run: Annotated[Path, typer.Argument(help="Run directory, finished or not.")],
    data: Annotated[
        list[Path] | None, typer.Option(help="Its data set; default: where the run read it. Repeatable.", **FOLDER)
    ] = None,
    out: Annotated[Path | None, typer.Option(help="HTML file; default: report.html in the run directory.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Write one HTML page on a run: scores, curves, and every step of the method on every image.

    Example: cyclic report runs/monusac
    """
    from cyclic.report.html import write_report

    print(write_report(run, data, out, overwrite))
