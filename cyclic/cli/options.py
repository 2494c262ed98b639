"""Options that commands of several files share, their defaults, and the class of wrong use."""

from pathlib import Path
from typing import Annotated, Any

import typer

from cyclic.config import RunConfig

# Click's class of wrong use; Typer brings Click under another name in each of its versions.
UsageError: Any = typer.BadParameter.__base__
TILES = RunConfig().tiles

FOLDER = {"exists": True, "file_okay": False}
FILE = {"exists": True, "dir_okay": False}
Config = Annotated[
    list[Path] | None,
    typer.Option(help="YAML settings, see configs/; repeatable, later on top; default: the run's own.", **FILE),
]
Data = Annotated[
    list[Path],
    typer.Option(
        help="Folder with images/ and, where there are any, labels/ and split.json; or a folder of images alone; or a "
        "download of MoNuSeg, MoNuSAC, CoNSeP or ccRCC as it is. Repeat it to train one model on several. README shows "
        "an example.",
        **FOLDER,
    ),
]
Settings = Annotated[list[str] | None, typer.Option("--set", help="One setting, e.g. mask_rcnn.steps=100; repeatable.")]
Answers = Annotated[
    list[Path] | None,
    typer.Option(
        help="File of yes/no answers for tiles of the images, from cyclic label. Of several data sets repeat it, one a "
        "set in the same order.",
        **FILE,
    ),
]
TileSide = Annotated[int, typer.Option(min=1, help="Side of a tile in pixels.")]
TileStride = Annotated[int, typer.Option(min=1, help="Distance from tile to tile in pixels.")]
SlideMpp = Annotated[
    float | None,
    typer.Option(min=1e-6, help="Of slides: micrometres per pixel of all; default: what each file says."),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace files that cyclic did not write, or that were edited since, too.")
]
