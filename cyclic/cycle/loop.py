"""All stages of a run, in order; a stage that finished before is not run again."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from cyclic.allocator import keep_freed_memory, release_freed_memory
from cyclic.config import RunConfig
from cyclic.cycle import pictures
from cyclic.cycle.checks import check_same_data, warn_of_resolution, warn_of_unused_labels
from cyclic.cycle.context import Context
from cyclic.cycle.stages import classifier, detections, finish, maps, mask_rcnn, pseudo_masks, scores, tiles
from cyclic.datasets.layouts import open_splits
from cyclic.runs.board import Board
from cyclic.runs.directory import LAST_STAGE, RunDirectory
from cyclic.runs.progress import Progress

# This many val images and as many training images are shown in TensorBoard.
SHOWN = 2
# The commands that run one part of a cycle, and the last names of the part's stages.
PARTS = {
    "classifier": ("tiles", "baseline", "classifier"),
    "pseudo-masks": ("maps", "pseudo", "pseudo_scores"),
    "mask-rcnn": ("train", "detect", "scores", LAST_STAGE),
}


class Stage(NamedTuple):
    """One stage of a run.

    Attributes:
        key: its name in `state.json`, such as "cycle_1/round_0/train".
        run: does it.
        show: shows what it wrote, once it has ended.
    """

    key: str
    run: Callable[[], None]
    show: Callable[[], None] = lambda: None

    @property
    def kind(self) -> str:
        """The last part of the key."""
        return self.key.rsplit("/", 1)[-1]


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
        resume: go on with the run in `out`. With more cycles than it had, those are added, also to a finished run.
        until: a key of `PARTS`: stop after this part of the first cycle that lacks it; what has to come before it runs
            too.
        progress: display; None makes one on standard error.

    Raises:
        InputError: bad input, see the stages; or the data set is not the one that the run began with. What was finished
            stays, and `resume` goes on from there.
    """
    keep_freed_memory()
    train_set, val_set = open_splits(data)
    with RunDirectory(out, config.model_dump(mode="json"), seed=config.seed, resume=resume) as run:
        check_same_data(run.paths.data, Path(data), train_set, val_set)
        run.log("data", folder=str(Path(data).resolve()))
        shown = [*(val_set.ids if val_set else [])[:SHOWN], *train_set.ids[:SHOWN]]
        with progress or Progress() as display, Board(run.paths.tensorboard, shown) as board:
            context = Context(config, Path(data), train_set, val_set, run, display, board)
            warn_of_unused_labels(context)
            warn_of_resolution(context)
            reached = False
            for stage in plan(context):
                if run.is_finished(stage.key):
                    continue
                wanted = until is None or stage.kind in PARTS[until]
                if reached and not wanted:
                    break
                # What the stage before has freed does not fit this one's blocks: memory would grow from cycle to cycle.
                release_freed_memory()
                with run.stage(stage.key):
                    stage.run()
                    stage.show()
                    board.flush()
                reached = until is not None and wanted
        return run.rows


def plan(context: Context) -> Iterator[Stage]:
    """Yield every stage of the run, in order."""
    config = context.config

    def stage(key: str, run: Callable, show: Callable | None, *numbers: int) -> Stage:
        bound = partial(run, context, *numbers)
        return Stage(key, bound) if show is None else Stage(key, bound, partial(show, context, *numbers))

    if config.supervision == "image":
        yield stage("tiles", tiles.cut_run_tiles, None)
    if context.scored_ids:
        yield stage("baseline", scores.score_baseline, pictures.show_baseline)
    for cycle in range(1, config.cycles + 1):
        here = f"cycle_{cycle}"
        if config.supervision == "image":
            yield stage(f"{here}/classifier", classifier.train, pictures.show_classifier, cycle)
            yield stage(f"{here}/maps", maps.make, pictures.show_maps, cycle)
        if config.supervision == "instance":
            yield stage(f"{here}/pseudo", pseudo_masks.take_instance_labels, None, cycle)
        else:
            yield stage(f"{here}/pseudo", pseudo_masks.make, pictures.show_pseudo_masks, cycle)
            if context.scored_ids:
                yield stage(f"{here}/pseudo_scores", scores.score_pseudo_masks, pictures.show_pseudo_scores, cycle)
        for round_ in range(config.rounds.students + 1):
            there = f"{here}/round_{round_}"
            yield stage(f"{there}/train", mask_rcnn.train, None, cycle, round_)
            yield stage(f"{there}/detect", detections.make, pictures.show_detections, cycle, round_)
            if context.scored_ids:
                yield stage(f"{there}/scores", scores.score_model, pictures.show_scores, cycle, round_)
    yield stage(LAST_STAGE, finish.finish, None)
