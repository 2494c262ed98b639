"""Commands that make a run or go on with it: wholly (`demo`, `train`, `adapt`) or up to a stage of the next cycle."""

from pathlib import Path
from typing import Annotated

import typer

from cyclic.cli.backend import start_keras
from cyclic.cli.options import FOLDER, Answers, Config, Data, Settings
from cyclic.cli.stopping import Interrupted, Stopped
from cyclic.cli.table import print_table
from cyclic.config import RunConfig, load_config, merge_overrides
from cyclic.datasets.answers import answer_settings
from cyclic.datasets.layouts import open_splits
from cyclic.runs.directory import RunDirectory, read_run_config
from cyclic.runs.paths import RunPaths

DEMO_CONFIG = Path(__file__).with_name("demo.yaml")
Run = Annotated[Path, typer.Option(help="Run directory.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Run one step of each stage, tell sizes and times, and stop.")]


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


def train(
    data: Data,
    out: Run,
    config: Config = None,
    set_: Settings = None,
    answers: Answers = None,
    resume: Resume = False,
    dry_run: DryRun = False,
) -> None:
    """Run all cycles, and end with the table of results.

    Example: cyclic train --config configs/monusac_cpu.yaml --data monusac/ --out runs/monusac
    """
    if answers:
        set_ = [*answer_settings(answers), *(set_ or ())]
    _run(config, data, out, set_, "train", resume=resume, dry=dry_run)


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
    resume: Resume = False,
    dry_run: DryRun = False,
) -> None:
    """Adapt a trained model to images of another lab: it learns from what it is sure of there, and from answers.

    The table tells the scores of cycle 0, the model as it was, where images of val have labels.

    Example: cyclic adapt lab/ --weights runs/labs/best.weights.h5 --out runs/lab
    """
    from cyclic.models.registry import weights_file

    path = weights_file(weights)
    start_keras()
    from cyclic.trained import adapting

    given = [f"tiles.folder={tiles}"] if tiles else []
    given += answer_settings(answers) if answers else []
    config = adapting(path, [*given, *(set_ or ())])
    _start_run(config, images, out, "adapt", resume=resume, dry=dry_run)


def classifier(data: Data, out: Run, config: Config = None, set_: Settings = None, dry_run: DryRun = False) -> None:
    """Train the classifier of the next cycle: start the run if there is none, else go on with it.

    Example: cyclic classifier --config configs/monusac_cpu.yaml --data monusac/ --out runs/monusac
    """
    _run(config, data, out, set_, "classifier", dry=dry_run)


def pseudo_masks(data: Data, out: Run, config: Config = None, set_: Settings = None, dry_run: DryRun = False) -> None:
    """Make the activation maps and pseudo masks of the next cycle, and what has to come before them.

    Example: cyclic pseudo-masks --config configs/monusac_cpu.yaml --data monusac/ --out runs/monusac
    """
    _run(config, data, out, set_, "pseudo-masks", dry=dry_run)


def mask_rcnn(data: Data, out: Run, config: Config = None, set_: Settings = None, dry_run: DryRun = False) -> None:
    """Train the Mask R-CNN of the next cycle, teacher and students, and what has to come before it.

    Example: cyclic mask-rcnn --config configs/monusac_cpu.yaml --data monusac/ --out runs/monusac
    """
    _run(config, data, out, set_, "mask-rcnn", dry=dry_run)


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
        start_keras()
        from cyclic.cycle import loop
        from cyclic.cycle.dry_run import dry_run

        if dry:
            print_table(dry_run(config, data))
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
    print_table(scores)  # once all is written: nobody may be reading any more
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
