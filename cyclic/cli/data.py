"""Commands that write data to train on: `tiles` and `prepare`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from cyclic.cli.options import FILE, FOLDER, TILES, SlideMpp, TileSide, TileStride, UsageError
from cyclic.datasets.layouts import open_dataset
from cyclic.datasets.tile_cutting import MAX_COVERAGE_NEGATIVE, MIN_COVERAGE, cut_tiles

DataSet = Literal["monuseg", "monusac", "consep", "ccrcc", "pannuke"]
PublishedSplit = Literal["16/14", "37/14"]
Stain = Literal["macenko", "reinhard"]


def tiles(
    images: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the images to cut. Without --out: folder of tiles to check, which holds positive/ and "
            "negative/.",
            **FOLDER,
        ),
    ] = None,
    slides: Annotated[
        Path | None,
        typer.Option(
            help="Instead: a slide or a folder of slides. Tiles of tissue, side by side, are cut into unsorted/.",
            exists=True,
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the images' label maps: a number for each nucleus, 0 elsewhere, and the image's file name.",
            **FOLDER,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="New folder for the tiles: positive/ and negative/, or unsorted/ without --labels."),
    ] = None,
    size: TileSide = TILES.size,
    stride: TileStride = TILES.stride,
    min_coverage: Annotated[
        float, typer.Option(min=0, max=1, help="A tile is positive if nuclei cover at least this share of it.")
    ] = MIN_COVERAGE,
    max_coverage_negative: Annotated[
        float, typer.Option(min=0, max=1, help="A tile is negative if they cover at most this share.")
    ] = MAX_COVERAGE_NEGATIVE,
    balance: Annotated[bool, typer.Option(help="Keep as many positive as negative tiles, chosen by chance.")] = True,
    count: Annotated[
        int | None, typer.Option(min=2, help="Tiles at most, chosen by chance; default: all, of slides 1000.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of both choices.")] = 0,
    mpp: SlideMpp = None,
) -> None:
    """Cut tiles with and without nuclei out of labelled images; or check a folder of such tiles.

    Of the labels only yes or no is kept. Without labels the tiles are cut into unsorted/: move each into positive/ or
    negative/. Train on the tiles with `--set tiles.folder=TILES`; those of val and test images are left out there.

    Example: cyclic tiles --images data/images --labels data/labels --out tiles
    """
    from cyclic.datasets.tile_grid import cut_unsorted
    from cyclic.datasets.tile_sources import ImageLabelPairs, check_tiles

    if out is None and (labels is not None or slides is not None):
        raise UsageError("Missing option '--out'")
    if slides is not None and out is not None:
        from cyclic.slides.tissue_tiles import cut_tissue_tiles

        counts = cut_tissue_tiles(slides, out, size, mpp, count, seed)
    elif images is None:
        raise UsageError("Missing option '--images' or '--slides'")
    elif out is None:
        counts = check_tiles(images)
    elif labels is None:
        counts = cut_unsorted(open_dataset(images), out, size, stride, count, seed)
    else:
        pairs = ImageLabelPairs(images, labels)
        counts = cut_tiles(pairs, out, size, stride, min_coverage, max_coverage_negative, balance, seed, count)
    also = f", {counts.unsorted} to sort in unsorted/" if counts.unsorted else ""
    print(f"{counts.positive} positive and {counts.negative} negative tiles in {out or images}{also}")


def prepare(
    data_set: Annotated[DataSet, typer.Argument(help="What was downloaded.")],
    source: Annotated[Path, typer.Argument(help="Folder of the download.", **FOLDER)],
    out: Annotated[Path, typer.Argument(help="New folder for images/, labels/, types/ and split.json.")],
    split: Annotated[
        PublishedSplit | None,
        typer.Option(help="Of MoNuSeg: 16 of 30 images train (Kumar et al. 2017), or 37; default: as the folders say."),
    ] = None,
    crop: Annotated[int | None, typer.Option(help="Cut images into squares of this side; 250 in the paper.")] = None,
    stain: Annotated[
        Stain | None, typer.Option(help="Give all images the stain of one; needs torchstain. Default: leave it.")
    ] = None,
    reference: Annotated[
        Path | None, typer.Option(help="The image that --stain goes by; default: the first to train on.", **FILE)
    ] = None,
) -> None:
    """Write a published data set as folders that every other command reads: images, labels, classes, splits.

    It reads the official downloads, and the folders of the paper's own program.

    Example: cyclic prepare monuseg downloads/monuseg data/monuseg --split 16/14
    """
    from cyclic.datasets.prepare import prepare
    from cyclic.runs.progress import Progress

    with Progress() as progress:
        prepared = prepare(data_set, source, out, split, crop, stain, reference, progress.track)
    splits = "".join(f", {count} to {name}" for name, count in prepared.splits.items())
    print(f"{prepared.images} images with {prepared.nuclei} nuclei{splits}: {out}")
