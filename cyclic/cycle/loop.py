"""All stages of a run, in order; a stage that finished before is not run again."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from cyclic.allocator import keep_freed_memory, release_freed_memory
from cyclic.config import RunConfig
from cyclic.cycle import pictures
from cyclic.cycle.checks import (
    check_inputs,
    check_run_tiles,
    check_same_data,
    given_answers,
    given_tiles,
    warn_of_lost_data,
    warn_of_resolution,
    warn_of_unused_labels,
)
from cyclic.cycle.context import Context, Inputs
from cyclic.cycle.stages import (
    agreement,
    classifier,
    detections,
    finish,
    maps,
    mask_rcnn,
    pseudo_masks,
    scores,
    start,
    tiles,
)
from cyclic.datasets.layouts import folders, open_splits
from cyclic.files import same_place
from cyclic.runs.board import Board
from cyclic.runs.directory import LAST_STAGE, RunDirectory
from cyclic.runs.paths import RunPaths
from cyclic.runs.progress import Progress
from cyclic.runs.state import SCORING

# This many val images and as many training images are shown in TensorBoard.
SHOWN = 2
# The commands that run one part of a cycle, and the last names of the part's stages.
PARTS = {
    "classifier": ("tiles", "baseline", "classifier"),
    "pseudo-masks": ("maps", "map_scores", "pseudo", "pseudo_scores"),
    "mask-rcnn": ("train", "detect", "scores", "agreement", LAST_STAGE),
}


class Stage(NamedTuple):
    """One stage of a run.

    Attributes:
        key: its name in `state.json`, such as "cycle_1/round_0/train".
        run: does it.
        show: shows what it wrote, once it has ended.
        outputs: files and folders that it writes, as paths within the run.
    """

    key: str
    run: Callable[[], None]
    show: Callable[[], None] = lambda: None
    outputs: tuple[Path, ...] = ()

    @property
    def kind(self) -> str:
        """The last part of the key."""
        return self.key.rsplit("/", 1)[-1]

    @property
    def is_read(self) -> bool:
        """Whether later stages read what it writes; scores and pictures are for people."""
        return self.kind not in (*SCORING, LAST_STAGE)


def train(
    config: RunConfig,
    data: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    resume: bool = False,
    until: str | None = None,
    progress: Progress | None = None,
) -> list[dict]:
    """Run all cycles on a data set and return the rows of `metrics.json`.

    Args:
        config: settings.
        data: folder of the data set, or those of several; the splits "train" and "val" are read, "test" never.
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
    named = ", ".join(map(str, folders(data)))
    inputs, known = Inputs(config, named, train_set, val_set), RunPaths(Path(out)).data
    if not resume:
        check_inputs(inputs)
    given = given_tiles(inputs), given_answers(inputs)
    check_data = partial(check_same_data, known, named, train_set, val_set, *given)
    # What a run was given is compared before a line of it is written.
    if resume and known.is_file():
        check_data()
    with RunDirectory(out, config.model_dump(mode="json"), seed=config.seed, resume=resume) as run:
        if not known.is_file():
            warn_of_lost_data(run)
            check_data()
        run.log("data", folders=[str(same_place(folder)) for folder in folders(data)])
        shown = [*(val_set.ids if val_set else [])[:SHOWN], *train_set.ids[:SHOWN]]
        with progress or Progress() as display, Board(run.paths.tensorboard, shown) as board:
            context = Context(config, named, train_set, val_set, run, display, board)
            check_run_tiles(context)
            warn_of_unused_labels(context)
            warn_of_resolution(context)
            reached, stages = False, list(plan(context))
            for number, stage in enumerate(stages, start=1):
                if run.is_finished(stage.key):
                    continue
                wanted = until is None or stage.kind in PARTS[until]
                if reached and not wanted:
                    break
                # What the stage before has freed does not fit this one's blocks: memory would grow from cycle to cycle.
                release_freed_memory()
                followers = [later.key for later in stages[number:]] if stage.is_read else []
                with run.stage(stage.key, stage.outputs, followers):
                    stage.run()
                    stage.show()
                    board.flush()
                reached = until is not None and wanted
        return run.rows


def plan(context: Context) -> Iterator[Stage]:
    """Yield every stage of the run, in order."""
    config = context.config

    def stage(key: str, run: Callable, show: Callable | None, *numbers: int, writes: Sequence[Path] = ()) -> Stage:
        made = Stage(key, partial(run, context, *numbers), outputs=tuple(writes))
        return made if show is None else made._replace(show=partial(show, context, *numbers))

    paths, students = RunPaths(Path()), config.rounds.students
    if config.has_answers:
        yield stage("tiles", tiles.cut_run_tiles, None, writes=() if config.tiles.folder else [paths.tiles])
    if context.scored_ids:
        yield stage("baseline", scores.score_baseline, pictures.show_baseline)
    if config.start is not None:
        yield from _start(context, stage)
    for cycle in range(1, config.cycles + 1):
        here, files = f"cycle_{cycle}", paths.cycle(cycle)
        if config.supervision == "image":
            doubted = [paths.doubted] if cycle == 1 and config.doubts_answers else []
            learn, show = (
                (classifier.train, pictures.show_classifier) if config.has_answers else (classifier.keep, None)
            )
            yield stage(f"{here}/classifier", learn, show, cycle, writes=[files.classifier, *doubted])
            yield stage(f"{here}/maps", maps.make, pictures.show_maps, cycle, writes=[files.maps])
            if context.scored_ids:
                yield stage(f"{here}/map_scores", scores.score_maps, pictures.show_map_scores, cycle)
        if config.supervision == "instance":
            yield stage(f"{here}/pseudo", pseudo_masks.take_instance_labels, None, cycle, writes=[files.pseudo()])
        else:
            show = pictures.show_pseudo_masks
            yield stage(f"{here}/pseudo", pseudo_masks.make, show, cycle, writes=[files.pseudo()])
            if context.scored_ids:
                yield stage(f"{here}/pseudo_scores", scores.score_pseudo_masks, pictures.show_pseudo_scores, cycle)
        for round_ in range(students + 1):
            there, now, last = f"{here}/round_{round_}", files.round(round_), round_ == students
            weights = [now.weights, files.weights] if last else [now.weights]
            yield stage(f"{there}/train", mask_rcnn.train, None, cycle, round_, writes=weights)
            found = [now.detections, now.predictions, *([] if last else [files.pseudo(round_ + 1)])]
            yield stage(f"{there}/detect", detections.make, pictures.show_detections, cycle, round_, writes=found)
            if context.scored_ids:
                yield stage(f"{there}/scores", scores.score_model, pictures.show_scores, cycle, round_)
        yield stage(f"{here}/agreement", agreement.score_cycle, None, cycle)
    yield stage(LAST_STAGE, finish.finish, None, writes=[paths.best, paths.overlays])


def _start(context: Context, stage: Callable[..., Stage]) -> Iterator[Stage]:
    """Yield the stages of cycle 0: the model that the run goes on from, its maps and detections, and its scores."""
    students, zero = context.config.rounds.students, RunPaths(Path()).cycle(0)
    last = zero.round(students)
    yield stage("cycle_0/start", start.take, None, writes=[zero.weights, zero.classifier, last.weights])
    yield stage("cycle_0/maps", maps.make, pictures.show_maps, 0, writes=[zero.maps])
    yield stage(f"cycle_0/round_{students}/detect", start.detect, None, writes=[last.detections, last.predictions])
    if context.scored_ids:
        yield stage("cycle_0/map_scores", scores.score_maps, pictures.show_map_scores, 0)
        yield stage(f"cycle_0/round_{students}/scores", scores.score_model, pictures.show_scores, 0, students)
