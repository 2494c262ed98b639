"""All stages of a run, in order; a stage that finished before is not run again."""

import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from cyclic.config import RunConfig
from cyclic.cycle import scoring, stages
from cyclic.cycle.stages import Context
from cyclic.datasets.layouts import open_splits
from cyclic.draw.overlays import PRINT_DPI, contour_overlay, enlarge, error_overlay, print_upscale, side_by_side
from cyclic.evaluation.error_types import find_errors
from cyclic.evaluation.matching import contingency
from cyclic.files import atomic_path, read_label_map, write_image
from cyclic.runs.board import Board
from cyclic.runs.directory import RunDirectory
from cyclic.runs.progress import Progress

# So many val images and so many training images are shown in TensorBoard.
SHOWN = 2
# The commands that run one part of a cycle, and the last names of the part's stages.
PARTS = {
    "classify": ("tiles", "baseline", "classifier"),
    "pseudo": ("maps", "pseudo", "pseudo_scores"),
    "segment": ("train", "detect", "scores", "finish"),
}


def train(
    config: RunConfig,
    data: str | Path,
    out: str | Path,
    *,
    resume: bool = False,
    until: str | None = None,
    progress: Progress | None = None,
) -> list[dict]:
    """Run all cycles on a data set and return the rows of `metrics.json`.

    Args:
        config: settings.
        data: folder of the data set; the splits "train" and "val" are read, "test" never.
        out: run directory.
        resume: go on with the run in `out`.
        until: "classify", "pseudo" or "segment": stop after this part of the first cycle that lacks it; what has to
            come before it runs too.
        progress: display; None makes one on standard error.

    Raises:
        InputError: bad input; see the stages. What was finished stays, and `resume` goes on from there.
    """
    train_set, val_set = open_splits(data)
    with RunDirectory(out, config.model_dump(mode="json"), seed=config.seed, resume=resume) as run:
        run.log("data", folder=str(Path(data).resolve()))
        shown = [*(val_set.ids if val_set else [])[:SHOWN], *train_set.ids[:SHOWN]]
        with progress or Progress() as display, Board(run.root, shown) as board:
            context = Context(config, Path(data), run, display, train_set, val_set, board)
            reached = False
            for key, function in plan(context):
                if run.is_finished(key):
                    continue
                wanted = until is None or key.rsplit("/", 1)[-1] in PARTS[until]
                if reached and not wanted:
                    break
                with run.stage(key):
                    function()
                    board.flush()
                reached = until is not None and wanted
        return run.rows


def plan(context: Context) -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield `(key, function)` of every stage of the run, in order."""
    config = context.config
    scored = config.evaluate and context.val is not None and all(map(context.val.has_labels, context.val.ids))
    classified = config.supervision == "image"
    if classified:
        yield "tiles", partial(stages.cut_run_tiles, context)
    if scored:
        yield "baseline", partial(scoring.score_baseline, context)
    for cycle in range(1, config.cycles + 1):
        here = f"cycle_{cycle}"
        if classified:
            yield f"{here}/classifier", partial(stages.train_front_end, context, cycle)
            yield f"{here}/maps", partial(stages.make_maps, context, cycle)
        if config.supervision == "instance":
            yield f"{here}/pseudo", partial(stages.take_instance_labels, context, cycle)
        else:
            yield f"{here}/pseudo", partial(stages.make_pseudo_masks, context, cycle)
        if scored and config.supervision != "instance":
            yield f"{here}/pseudo_scores", partial(scoring.score_pseudo_masks, context, cycle)
        for round_ in range(config.rounds.students + 1):
            yield f"{here}/round_{round_}/train", partial(stages.train_back_end, context, cycle, round_)
            yield f"{here}/round_{round_}/detect", partial(stages.detect, context, cycle, round_)
            if scored:
                yield f"{here}/round_{round_}/scores", partial(scoring.score_model, context, cycle, round_)
    yield "finish", partial(finish, context)


def finish(context: Context) -> None:
    """Keep the last model as `best.weights.h5` (selection: last) and draw the overlays of the val images."""
    config, run = context.config, context.run
    last = run.path(f"cycle_{config.cycles}")
    with atomic_path(run.path("best.weights.h5")) as temporary:
        shutil.copyfile(last / "model.weights.h5", temporary)
    predictions = last / f"round_{config.rounds.students}" / "predictions"
    for name in context.val_ids:
        labels = read_label_map(predictions / f"{name}.tif")
        image = context.images[name]
        scale = print_upscale(image)
        pictures = [("image", enlarge(image, scale)), ("prediction", contour_overlay(image, labels, scale))]
        if config.evaluate and context.val.has_labels(name):
            true = context.val.label_map(name)
            pictures.append(("ground truth", contour_overlay(image, true, scale)))
            errors = find_errors(contingency(true, labels))
            pictures.append(("errors", error_overlay(image, true, labels, errors, scale)))
        write_image(run.path("overlays", f"{name}.png"), side_by_side(pictures), PRINT_DPI)
