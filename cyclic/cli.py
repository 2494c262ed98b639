"""The `cyclic` command: one function a subcommand.

Exit code 0: done, 2: bad input or wrong use, 130 or 143: stopped by Ctrl-C or SIGTERM, 141: the reader of the output
left, 1: a defect.
"""

from cyclic.allocator import keep_freed_memory

# Before NumPy and TensorFlow start their threads, each of which would get a heap of its own, out of reach of this.
keep_freed_memory()

import contextlib
import errno
import faulthandler
import getpass
import io
import logging
import os
import re
import resource
import signal
import sys
import warnings
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Literal, TextIO

import rich.console
import typer

from cyclic.config import SMALLEST_TILE, RunConfig, load_config, merge_overrides
from cyclic.datasets.answers import answer_settings
from cyclic.datasets.layouts import open_dataset, open_splits
from cyclic.datasets.tile_cutting import MAX_COVERAGE_NEGATIVE, MIN_COVERAGE, cut_tiles
from cyclic.errors import InputError
from cyclic.files import FULL, cure
from cyclic.runs.directory import RunDirectory, read_run_config
from cyclic.runs.paths import RunPaths

app = typer.Typer(
    help="Nuclei instance segmentation on H&E images from image-level labels.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
models = typer.Typer(help="Trained models by name.", rich_markup_mode=None)
app.add_typer(models, name="models")
# Click's class of wrong use; Typer brings Click under another name in each of its versions.
UsageError: Any = typer.BadParameter.__base__
TILES = RunConfig().tiles
DEMO_CONFIG = Path(__file__).with_name("demo.yaml")
# Disk full, no right to write, a file where a folder should be: the user's to repair, not a defect.
USERS_ERRNO = {*FULL, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG}
# What was there a moment ago, and a disk or network drive that fails.
VANISHED_ERRNO = {errno.ENOENT, errno.EIO, errno.ESTALE, errno.ENOTCONN}
# What the backends raise where memory ends, and what the system's loader and Python's threads say there.
OUT_OF_MEMORY = ("MemoryError", "ResourceExhaustedError", "OutOfMemoryError")
OUT_OF_MEMORY_SAID = ("failed to map segment", "cannot allocate memory", "can't start new thread")

# What a shell shows of a program that SIGPIPE, number 13, ends; Windows has no such signal.
READER_LEFT = 128 + 13

# In a smaller address space TensorFlow does not start, or waits for ever where it ends.
LEAST_GIB = 4
MEMORY = "not enough memory; close other programs, or lower detection.tile, mask_rcnn.batch and the like"

# What a shell makes of "$OUT" and --out="$OUT" where OUT is not set.
NO_VALUE = re.compile("(--[a-z-]+=)?")

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
DataSet = Literal["monuseg", "monusac", "consep", "ccrcc", "pannuke"]
PublishedSplit = Literal["16/14", "37/14"]
Stain = Literal["macenko", "reinhard"]
Run = Annotated[Path, typer.Option(help="Run directory.")]
Settings = Annotated[list[str] | None, typer.Option("--set", help="One setting, e.g. mask_rcnn.steps=100; repeatable.")]
Answers = Annotated[
    list[Path] | None,
    typer.Option(
        help="File of yes/no answers for tiles of the images, from cyclic label. Of several data sets repeat it, one a "
        "set in the same order.",
        **FILE,
    ),
]
ModelName = Annotated[str, typer.Argument(help="Name of the model.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Run one step of each stage, tell sizes and times, and stop.")]


Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace files that cyclic did not write, or that were edited since, too.")
]


class Stopped(BaseException):
    """The process got a signal to stop, Ctrl-C (SIGINT) or SIGTERM."""

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.code = 128 + number


class Interrupted(Exception):
    """The user stopped a command; the message says how to go on, and `code` is the exit code."""

    def __init__(self, message: str, cause: BaseException):
        super().__init__(message)
        self.code = cause.code if isinstance(cause, Stopped) else 128 + signal.SIGINT


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for data and run.")] = Path("cyclic-demo"),
) -> None:
    """Run the whole method on synthetic tissue, in minutes on two cores.

    Example: cyclic demo --out demo
    """
    from cyclic.datasets.synthetic import write_tissue_set

    if not (out / "data" / "split.json").is_file():
        write_tissue_set(out / "data")
    _run([DEMO_CONFIG], [out / "data"], out / "run", None, "demo")


@app.command()
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
    size: Annotated[int, typer.Option(min=1, help="Side of a tile in pixels.")] = TILES.size,
    stride: Annotated[int, typer.Option(min=1, help="Distance from tile to tile in pixels.")] = TILES.stride,
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
    mpp: Annotated[
        float | None,
        typer.Option(min=1e-6, help="Of slides: micrometres per pixel of all; default: what each file says."),
    ] = None,
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


@app.command()
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


@app.command()
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
    size: Annotated[int, typer.Option(min=1, help="Side of a tile in pixels.")] = TILES.size,
    stride: Annotated[int, typer.Option(min=1, help="Distance from tile to tile in pixels.")] = TILES.stride,
    weights: Annotated[
        str | None,
        typer.Option(help="best.weights.h5 of a run, or a model's name: ask first what it is least sure of."),
    ] = None,
    regions: Annotated[
        int | None, typer.Option(min=1, help="Of slides: regions of 1024 x 1024 pixels at most; default: 20.")
    ] = None,
    mpp: Annotated[
        float | None,
        typer.Option(min=1e-6, help="Of slides: micrometres per pixel of all; default: what each file says."),
    ] = None,
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
    if merge:
        from cyclic.label.merge import merge_answers

        rows, undecided = merge_answers(images, out)
        _print_table(rows)
        print(f"{len(undecided)} tiles without a majority are skipped: {out}")
        return
    from cyclic.label.server import make_server
    from cyclic.label.session import images_of, open_session

    model = None
    if weights is not None:
        from cyclic.models.registry import weights_file

        model = weights_file(weights)
        _start_keras()
    folders = images_of(images, out, regions, mpp, seed)
    if folders != images:
        print(f"regions of tissue are in {folders[0]}; train with --data {folders[0]}")
    session = open_session(folders, out, who or _user(), size, stride, seed, model)
    with contextlib.closing(session.answers):
        server = make_server(session, port)
        url, given = f"http://{server.host}:{server.port}/", len(session.answers.answers)
        print(f"{url} asks for {len(session.tiles)} tiles; {out} has {given} answers", flush=True)
        if browser:
            webbrowser.open(url)
        with contextlib.suppress(Stopped, KeyboardInterrupt):  # Ctrl-C is how a person ends it
            server.serve_forever()
    if points := session.learning_curve():
        _print_table(
            [{"answers": p.answers, "tile_accuracy": p.right, "error": p.error, "alike": p.alike} for p in points]
        )
    print(f"{out}: {len(session.answers.answers)} answers; the same command goes on from here")


@app.command()
def enough(data: Data, answers: Answers = None, config: Config = None, set_: Settings = None) -> None:
    """Tell whether more answers are worth the time: the classifier learns from a quarter of them, half, and all.

    It trains three times, each as long as in the first cycle of a run, and writes nothing.

    Example: cyclic enough --data images/ --answers answers.csv
    """
    settings = [*(answer_settings(answers) if answers else ()), *(set_ or ())]
    chosen = load_config(config or (), settings)
    open_splits(data)
    _start_keras()
    from cyclic.cycle.learning_curve import learning_curve

    _print_table(learning_curve(chosen, data))


@app.command()
def train(
    data: Data,
    out: Run,
    config: Config = None,
    set_: Settings = None,
    answers: Answers = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    dry_run: DryRun = False,
) -> None:
    """Run all cycles, and end with the table of results.

    Example: cyclic train --config configs/monusac_cpu.yaml --data monusac/ --out runs/monusac
    """
    if answers:
        set_ = [*answer_settings(answers), *(set_ or ())]
    _run(config, data, out, set_, "train", resume=resume, dry=dry_run)


@app.command()
def adapt(
    images: Annotated[list[Path], typer.Argument(help="Folder of the images, or with images/ in it.", exists=True)],
    weights: Annotated[str, typer.Option(help="best.weights.h5 of the model to adapt, or a model's name.")],
    out: Run,
    tiles: Annotated[
        Path | None,
        typer.Option(help="Folder of some of the images' tiles, sorted into positive/ and negative/.", **FOLDER),
    ] = None,
    answers: Answers = None,
    set_: Settings = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    dry_run: DryRun = False,
) -> None:
    """Adapt a trained model to images of another lab: it learns from what it is sure of there, and from answers.

    The table tells the scores of cycle 0, the model as it was, where images of val have labels.

    Example: cyclic adapt lab/ --weights runs/labs/best.weights.h5 --out runs/lab
    """
    from cyclic.models.registry import weights_file

    path = weights_file(weights)
    from cyclic.networks import adapting

    given = [f"tiles.folder={tiles}"] if tiles else []
    given += answer_settings(answers) if answers else []
    config = adapting(path, [*given, *(set_ or ())])
    _start_run(config, images, out, "adapt", resume=resume, dry=dry_run)


@app.command()
def classifier(data: Data, out: Run, config: Config = None, set_: Settings = None, dry_run: DryRun = False) -> None:
    """Train the classifier of the next cycle: start the run if there is none, else go on with it.

    Example: cyclic classifier --config configs/monusac_cpu.yaml --data monusac/ --out runs/monusac
    """
    _run(config, data, out, set_, "classifier", dry=dry_run)


@app.command()
def pseudo_masks(data: Data, out: Run, config: Config = None, set_: Settings = None, dry_run: DryRun = False) -> None:
    """Make the activation maps and pseudo masks of the next cycle, and what has to come before them.

    Example: cyclic pseudo-masks --config configs/monusac_cpu.yaml --data monusac/ --out runs/monusac
    """
    _run(config, data, out, set_, "pseudo-masks", dry=dry_run)


@app.command()
def mask_rcnn(data: Data, out: Run, config: Config = None, set_: Settings = None, dry_run: DryRun = False) -> None:
    """Train the Mask R-CNN of the next cycle, teacher and students, and what has to come before it.

    Example: cyclic mask-rcnn --config configs/monusac_cpu.yaml --data monusac/ --out runs/monusac
    """
    _run(config, data, out, set_, "mask-rcnn", dry=dry_run)


# What these commands were called in version 0.1.
app.command("classify", hidden=True)(classifier)
app.command("pseudo", hidden=True)(pseudo_masks)
app.command("segment", hidden=True)(mask_rcnn)


@app.command()
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
        str | None,
        typer.Option(
            "--format",
            help="With commas between. Of images: tif, geojson (QuPath), coco, coco-results, csv, overlay; default: "
            "tif,geojson,coco,overlay. Of slides: geojson, geojson.gz, csv, parquet, ome-tiff, ome-zarr, spatialdata; "
            "default: geojson,csv.",
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
    _start_keras()
    from cyclic.inference.folder import DEFAULT_FORMATS, predict_folder
    from cyclic.slides.command import are_slides, predict_command

    options = {"tile": tile, "score": score, "views": views, "verdict": verdict}
    overrides = [*(set_ or ()), *(f"detection.{key}={value}" for key, value in options.items() if value is not None)]
    formats = format_.split(",") if format_ else None
    common: dict[str, Any] = {"overrides": overrides, "classifier": classifier, "overwrite": overwrite}
    if are_slides(images, formats, region, tissue, workers, scheduler):
        try:
            counts = predict_command(images, path, out, formats, mpp, region, tissue, workers, scheduler, **common)
        except (KeyboardInterrupt, Stopped) as stop:
            raise Interrupted(f"{out}: stopped; the same command goes on from here", stop) from stop
    else:
        counts = predict_folder(images, path, out, formats or DEFAULT_FORMATS, mpp=mpp, **common)
    print(f"{sum(counts.values())} nuclei in {len(counts)} images: {out}")


@app.command()
def evaluate(
    pred: Annotated[
        list[str], typer.Option(help="Folder of label maps or COCO .json file, or NAME=one; repeat to compare.")
    ],
    gt: Annotated[Path, typer.Option(help="The same of the true nuclei, the same file names.", exists=True)],
    json: Annotated[Path | None, typer.Option(help="Write the scores to this file, too.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write them as CSV; differences beside it.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write the tables as Markdown.")] = None,
    baseline: Annotated[
        Path | None, typer.Option(help="Folder of the images: score the no-label baseline on them, too.", **FOLDER)
    ] = None,
    iou: Annotated[float, typer.Option(help="Nuclei match over this IoU, at least 0 and below 1.")] = 0.5,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the bootstrap.")] = 0,
    mpp: Annotated[
        float | None, typer.Option(help="Micrometres per pixel of all images, for false nuclei per mm²; default: 0.25.")
    ] = None,
    paper_metrics: Annotated[
        bool, typer.Option("--paper-metrics", help="Also the scores of the paper's program, on masks of all nuclei.")
    ] = False,
    ambiguous: Annotated[
        Path | None, typer.Option(help="Folder of masks (MoNuSAC): predictions in white places do not count.", **FOLDER)
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Score predicted label maps: AJI, AJI+, Dice, Dice2, DQ, SQ, PQ, F1, Hausdorff, and AP where there are scores.

    False nuclei per mm² are counted where no true nucleus is near. Where both sides have classes (.mat files, or types/
    beside labels/), nuclei are also paired by their centroids: F_d, and F_c of each class.

    Means come with a 95 % bootstrap interval; several predictions are compared image by image (Wilcoxon).

    Example: cyclic evaluate --pred predictions --gt data/labels --json scores.json
    """
    from cyclic.evaluation.compare import evaluate_and_write
    from cyclic.evaluation.empty_tissue import FALSE_PER_MM2, USUAL_MPP

    assumed = USUAL_MPP if mpp is None else mpp
    how = (iou, seed, json, csv, markdown, overwrite, assumed, paper_metrics, ambiguous)
    tables = evaluate_and_write(pred, gt, baseline, *how)
    for rows in tables:
        _print_table(rows)
    if mpp is None and any(row.get(FALSE_PER_MM2) is not None for row in tables[0]):
        print(f"False / mm² takes a pixel for {USUAL_MPP} µm (40x); --mpp states another")


@models.command("list")
def list_models() -> None:
    """List the models that there are.

    Example: cyclic models list
    """
    from cyclic.models import registry

    found = registry.models().values()
    rows = [{"model": m.card.name, "weights": m.place, "mpp": m.card.mpp, "licence": m.card.licence} for m in found]
    _print_table(rows) if rows else print("no models yet; cyclic models add registers your own")


@models.command("info")
def show_model(name: ModelName) -> None:
    """Print the card of a model: licence, data, scores, limits.

    Example: cyclic models info he-nuclei
    """
    from cyclic.models import registry

    model = registry.find(name)
    print(f"{model.card.as_json()}{model.place}: {model.file}")


@models.command("get")
def get_model(name: ModelName) -> None:
    """Print where the weights of a model lie; download and check them where they have to be.

    Example: cyclic models get he-nuclei
    """
    from cyclic.models import registry

    print(registry.fetch(registry.find(name)))


@models.command("add")
def add_model(
    source: Annotated[str, typer.Argument(help="best.weights.h5 of a run, or the address of one.")],
    name: Annotated[str, typer.Option(help="What to call it: lower case letters, digits, dots, dashes.")],
    licence: Annotated[str, typer.Option(help="What it may be used for.")] = "not stated",
    sha256: Annotated[str | None, typer.Option(help="Checksum; an address needs it.")] = None,
    mpp: Annotated[
        float | None, typer.Option(min=1e-6, help="Micrometres per pixel; default: what the file says.")
    ] = None,
) -> None:
    """Register a model of your own, so that its name stands for its file.

    Example: cyclic models add runs/lab/best.weights.h5 --name lab
    """
    if "://" not in source:
        _start_keras()
    from cyclic.models import registry

    model = registry.add(registry.card_of(source, name, licence, sha256, mpp))
    print(f"{model.card.name}: {model.file}")


@app.command()
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


@app.command()
def doctor() -> None:
    """Tell versions, devices, memory and number format, and what is missing with the command that installs it.

    Example: cyclic doctor
    """
    from cyclic.doctor import examine

    with contextlib.suppress(InputError):  # what is missing is what it tells
        _start_keras()
    findings = examine()
    _print_table([{"what": each.what, "found": each.found, "cure": each.cure} for each in findings])
    missing = [each for each in findings if each.needed and each.cure]
    if missing:
        raise InputError(f"{len(missing)} needed parts are missing or of another version; {missing[0].cure}")


def _user() -> str:
    """Return the name of the account; "" where it has none, as in many a container."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return ""


def _run(
    files: list[Path] | None,
    data: list[Path],
    out: Path,
    settings: list[str] | None,
    command: str,
    *,
    resume: bool = False,
    dry: bool = False,
) -> None:
    """Run or continue a run, wholly or up to the part that `command` names."""
    resume = resume or (command != "train" and RunDirectory.holds_run(out))
    _start_run(_config(files, settings, out if resume else None), data, out, command, resume=resume, dry=dry)


def _start_run(config: RunConfig, data: list[Path], out: Path, command: str, *, resume: bool, dry: bool) -> None:
    paths = RunPaths(out)
    open_splits(data)  # a wrong folder is found before the seconds that TensorFlow takes to start
    try:
        _start_keras()
        from cyclic.cycle import loop
        from cyclic.cycle.dry_run import dry_run

        if dry:
            _print_table(dry_run(config, data))
            return
        until = command if command in loop.PARTS else None
        scores = loop.train(config, data, out, resume=resume, until=until)
    except (KeyboardInterrupt, Stopped) as stop:
        how = "nothing was written" if dry else _how_to_go_on(command, out, resume)
        raise Interrupted(f"{out}: stopped; {how}", stop) from stop
    results: list[Path] = []
    if paths.best.is_file():
        from cyclic.report.html import write_report

        results = [*sorted(paths.overlays.glob("*.png")), paths.best, write_report(out, data)]
    _print_table(scores)  # once all is written: nobody may be reading any more
    for result in results:
        print(result)


def _how_to_go_on(command: str, out: Path, resumed: bool) -> str:
    if not RunDirectory.holds_run(out):
        return "nothing was begun, so the same command begins anew"
    if command in ("train", "adapt") and not resumed:
        return f"add --resume to the same command (cyclic {command} --resume ...), and it goes on from here"
    return f"the same command (cyclic {command} ...) goes on from here"


def _config(files: list[Path] | None, settings: list[str] | None, run: Path | None) -> RunConfig:
    """Return the settings asked for; those of the run to go on with where no file is given."""
    if files or run is None or not RunPaths(run).config.is_file():
        return load_config(files or (), settings or ())
    return merge_overrides(read_run_config(run), settings or ())


def _print_table(rows: list[dict]) -> None:
    from cyclic.evaluation.table import results_table

    # Outside a terminal rich assumes 80 columns, too few for a row of scores.
    width = None if sys.stdout.isatty() else 240
    rich.console.Console(width=width).print(results_table(rows))


def _start_keras() -> None:
    """Import Keras, without TensorFlow's messages; only the commands that need it pay the seconds this takes.

    Raises:
        InputError: Keras or its backend is not installed, there is no backend of that name, or the limit of this
            process' address space is too low.
    """
    if "keras" in sys.modules:
        return
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY and limit < LEAST_GIB * 2**30:
        raise InputError(
            f"not enough memory: {limit / 2**30:.3g} GiB of address space (ulimit -v), and networks need {LEAST_GIB}; "
            "raise the limit"
        )
    if os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") not in ("0", "1"):
        _mute_native_code()
    try:
        import absl.logging
        import keras
    # Keras raises ValueError for a backend that it does not know, and what it comes across in a broken keras.json.
    except (ImportError, ValueError, AttributeError, TypeError) as error:
        if _is_want_of_memory(error):
            raise
        raise InputError(f"Keras cannot be imported ({error}); cyclic doctor names the cure") from error
    # Not what a keras.json of another program says.
    keras.config.set_image_data_format("channels_last")
    keras.config.set_floatx("float32")
    absl.logging.set_verbosity(absl.logging.ERROR)
    # It warns where one network sees images of several sizes, which is meant.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)


def _mute_native_code() -> None:
    """Leave standard error to Python alone: TensorFlow's C++ code writes there whatever its log level is.

    Where native code ends the process, a traceback still shows the place.
    """
    sys.stderr.flush()
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1, errors="backslashreplace")
    faulthandler.enable(sys.stderr)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and leave the process with its exit code."""
    # Whoever closed an output wants nothing of it. Without these, files of ours would get its number.
    sys.stdout, sys.stderr = sys.stdout or open(os.devnull, "w"), sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    logging.getLogger("tifffile").addHandler(logging.NullHandler())  # a broken file is one line, and that is ours
    # What the encoding of the output lacks, or a file name that is no text, is shown as its code and ends no command.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.exit(_exit_code((sys.argv[1:] if arguments is None else arguments) or ["--help"]))


def _exit_code(arguments: list[str]) -> int:
    # A path without a character is the working folder, which nobody means.
    if any(NO_VALUE.fullmatch(argument) for argument in arguments):
        return _fail("an empty argument; give its value, and look whether a variable of the shell is not set")
    try:
        with warnings.catch_warnings(), _signals_stop():
            warnings.showwarning = _show_warning
            return app(arguments, prog_name="cyclic", standalone_mode=False) or 0
    except UsageError as error:
        command = error.ctx.command_path if error.ctx else "cyclic"
        return _fail(f"{error.format_message().rstrip('.')}; see {command} --help")
    except (InputError, FloatingPointError) as error:
        return _fail(str(error))
    except Interrupted as error:
        return _fail(str(error), error.code)
    except SystemExit:  # Typer's answer to an output whose reader left, such as head
        return READER_LEFT
    except (Stopped, KeyboardInterrupt, typer.Abort) as error:
        anew = "stopped; no file is half written, and the same command begins anew"
        return _fail(anew, Interrupted(anew, error).code)
    except OSError as error:
        if error.errno == errno.ENOMEM:
            return _fail(MEMORY)
        if error.errno in VANISHED_ERRNO and error.filename:
            return _fail(f"{error.filename}: {error.strerror}; restore it, and run the command again")
        if error.errno == errno.ENOENT and not _working_folder_is_there():
            return _fail("the working folder is gone; change to one that is there, and run the command again")
        if error.errno not in USERS_ERRNO:
            raise
        return _fail(f"{error.filename or 'output'}: {error.strerror}; {cure(error)}")
    except Exception as error:
        if not _is_want_of_memory(error):
            raise
        return _fail(MEMORY)


def _working_folder_is_there() -> bool:
    try:
        os.getcwd()
    except OSError:
        return False
    return True


def _is_want_of_memory(error: Exception) -> bool:
    said = str(error).lower() if isinstance(error, ImportError | RuntimeError) else ""
    return type(error).__name__ in OUT_OF_MEMORY or any(text in said for text in OUT_OF_MEMORY_SAID)


@contextlib.contextmanager
def _signals_stop() -> Iterator[None]:
    """Turn Ctrl-C and SIGTERM into `Stopped`, unless whoever started the process wants them ignored."""

    def stop(number: int, _: FrameType | None) -> None:
        raise Stopped(number)

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    chosen = [number for number in numbers if before[number] is not signal.SIG_IGN]
    for number in chosen:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in chosen:
            signal.signal(number, before[number])


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print a warning as one line; those that are for developers are not shown."""
    if issubclass(category, UserWarning):
        print(f"warning: {' '.join(str(message).split())}", file=sys.stderr)


def _fail(message: str, code: int = 2) -> int:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
