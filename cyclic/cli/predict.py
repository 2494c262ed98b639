"""`cyclic predict`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from cyclic.cli.backend import start_keras
from cyclic.cli.options import FILE, Overwrite, UsageError
from cyclic.cli.stopping import Interrupted, Stopped
from cyclic.config import SMALLEST_TILE


def predict(
    images: Annotated[
        Path, typer.Argument(help="An image or a slide of any size, or a folder of either.", exists=True)
    ],
    out: Annotated[Path, typer.Option(help="Folder for the results.")],
    weights: Annotated[
        str | None,
        typer.Option(
            help="best.weights.h5 or a model.weights.h5 of a run, or the name of a model; default: the one shipped."
        ),
    ] = None,
    format_: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            help="With commas between, or repeated. Of images: tif, geojson (QuPath), coco, coco-results, csv, "
            "overlay; default: tif,geojson,coco,overlay. Of slides: geojson, geojson.gz, csv, parquet, ome-tiff, "
            "ome-zarr, spatialdata; default: geojson,csv.",
        ),
    ] = None,
    tile: Annotated[
        int | None, typer.Option(min=SMALLEST_TILE, help="Side of a tile in pixels; default: the run's.")
    ] = None,
    score: Annotated[float | None, typer.Option(min=0, max=1, help="Lowest score; default: the run's.")] = None,
    mpp: Annotated[
        float | None,
        typer.Option(
            "--mpp", "--pixel-size", min=1e-6, help="Micrometres per pixel of all images; default: what each file says."
        ),
    ] = None,
    views: Annotated[
        int | None,
        typer.Option(min=1, max=8, help="Flips and turns that vote, each at full cost; default: the run's."),
    ] = None,
    classifier: Annotated[
        Path | None,
        typer.Option(help="A run's classifier.weights.h5 to ask for evidence; default: the one in WEIGHTS.", **FILE),
    ] = None,
    verdict: Annotated[
        bool | None, typer.Option(help="Drop what the classifier has no evidence for; default: the run's.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Another setting, e.g. detection.mask_margin=0.15; repeatable.")
    ] = None,
    region: Annotated[
        str | None, typer.Option(help="Of slides: this part alone, X,Y,WIDTH,HEIGHT in pixels of the finest level.")
    ] = None,
    tissue: Annotated[
        str | None,
        typer.Option(help="Of slides: where to look, auto, none (everywhere) or a GeoJSON file; default: auto."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Of slides: processes on this machine; default: 1.")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="Of slides: a Dask scheduler, whose workers do it: an address or its JSON file.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Find the nuclei in images and whole slides.

    A slide that was stopped goes on with the same command.

    Example: cyclic predict slides/ --weights runs/monusac/best.weights.h5 --out predictions
    """
    from cyclic.models.registry import weights_file

    if classifier is not None and verdict is False:
        raise UsageError("--classifier and --no-verdict exclude each other")
    path = weights_file(weights)
    start_keras()
    from cyclic.inference.folder import DEFAULT_FORMATS, predict_folder
    from cyclic.slides.command import are_slides, predict_command

    options = {"tile": tile, "score": score, "views": views, "verdict": verdict}
    overrides = [*(set_ or ()), *(f"detection.{key}={value}" for key, value in options.items() if value is not None)]
    formats = [name for given in format_ for name in given.split(",")] if format_ else None
    common: dict[str, Any] = {"overrides": overrides, "classifier": classifier, "overwrite": overwrite}
    if are_slides(images, formats, region, tissue, workers, scheduler):
        try:
            counts = predict_command(images, path, out, formats, mpp, region, tissue, workers, scheduler, **common)
        except (KeyboardInterrupt, Stopped) as stop:
            raise Interrupted(f"{out}: stopped; the same command goes on from here", stop) from stop
    else:
        counts = predict_folder(images, path, out, formats or DEFAULT_FORMATS, mpp=mpp, **common)
    print(f"{sum(counts.values())} nuclei in {len(counts)} images: {out}")
