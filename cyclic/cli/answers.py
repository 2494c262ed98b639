"""Commands on a person's yes/no answers: `label` asks for them, `enough` tells whether more are worth the time."""

import contextlib
import getpass
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from cyclic.cli.backend import start_keras
from cyclic.cli.options import TILES, Answers, Config, Data, Settings, SlideMpp, TileSide, TileStride
from cyclic.cli.stopping import Stopped
from cyclic.cli.table import print_table
from cyclic.config import load_config
from cyclic.datasets.answers import answer_settings
from cyclic.datasets.layouts import open_splits
from cyclic.errors import InputError


def label(
    images: Annotated[
        list[Path],
        typer.Argument(
            help="Folder of images, or of a data set; or several. Or a slide, or a folder of slides. With --merge: "
            "files of answers.",
            exists=True,
        ),
    ],
    out: Annotated[Path, typer.Option(help="CSV file of the answers; one that is there is gone on with.")],
    merge: Annotated[
        bool, typer.Option("--merge", help="Join the answers of several people, and tell how far they agree.")
    ] = False,
    size: TileSide = TILES.size,
    stride: TileStride = TILES.stride,
    weights: Annotated[
        str | None,
        typer.Option(help="best.weights.h5 of a run, or a model's name: ask first what it is least sure of."),
    ] = None,
    again: Annotated[
        Path | None,
        typer.Option(
            help="Folder of a run that learnt from these answers: ask once more for those that it doubts, in its size.",
            exists=True,
            file_okay=False,
        ),
    ] = None,
    regions: Annotated[
        int | None, typer.Option(min=1, help="Of slides: regions of 1024 x 1024 pixels at most; default: 20.")
    ] = None,
    mpp: SlideMpp = None,
    who: Annotated[str | None, typer.Option(help="Your name in the file; default: that of your account.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the order of the tiles.")] = 0,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on this machine; 0 takes any free one.")] = 8765,
    browser: Annotated[bool, typer.Option(help="Open the page in a browser.")] = True,
) -> None:
    """Answer yes or no for tiles of images on a local page; or join the answers of several people.

    The page works without a network and is seen on this machine alone. Train with `cyclic train --answers FILE`.
    Of slides, regions of tissue are cut first, into a folder beside the answers. Train on that folder.

    Example: cyclic label images/ --out answers.csv
    """
    if merge and again is not None:
        raise InputError(f"--again {again}: asks for tiles, and --merge joins answers; leave out one")
    if merge:
        from cyclic.label.merge import merge_answers

        rows, undecided = merge_answers(images, out)
        print_table(rows)
        print(f"{len(undecided)} tiles without a majority are skipped: {out}")
        return
    from cyclic.label.server import make_server
    from cyclic.label.session import images_of, open_session

    model = None
    if weights is not None and again is not None:
        raise InputError(f"--again {again}: gives the tiles to ask for; leave out --weights")
    if weights is not None:
        from cyclic.models.registry import weights_file

        model = weights_file(weights)
        start_keras()
    folders = images_of(images, out, regions, mpp, seed)
    if folders != images:
        print(f"regions of tissue are in {folders[0]}; train with --data {folders[0]}")
    session = open_session(folders, out, who or _user(), size, stride, seed, model, again)
    with contextlib.closing(session.answers):
        server = make_server(session, port)
        url, given = f"http://{server.host}:{server.port}/", len(session.answers.answers)
        left = len(session.tiles) - len(session.given) if again else len(session.tiles)
        print(f"{url} asks for {left} tiles; {out} has {given} answers", flush=True)
        if browser:
            webbrowser.open(url)
        with contextlib.suppress(Stopped, KeyboardInterrupt):  # Ctrl-C is how a person ends it
            server.serve_forever()
    if points := session.learning_curve():
        print_table(
            [{"answers": p.answers, "tile_accuracy": p.right, "error": p.error, "alike": p.alike} for p in points]
        )
    print(f"{out}: {len(session.answers.answers)} answers; the same command goes on from here")


def _user() -> str:
    """Return the name of the account; "" where it has none, as in many a container."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return ""


def enough(data: Data, answers: Answers = None, config: Config = None, set_: Settings = None) -> None:
    """Tell whether more answers are worth the time: the classifier learns from a quarter of them, half, and all.

    It trains three times, each as long as in the first cycle of a run, and writes nothing.

    Example: cyclic enough --data images/ --answers answers.csv
    """
    settings = [*(answer_settings(answers) if answers else ()), *(set_ or ())]
    chosen = load_config(config or (), settings)
    open_splits(data)
    start_keras()
    from cyclic.cycle.learning_curve import learning_curve

    print_table(learning_curve(chosen, data))
