"""The subcommands of `cyclic`, in the order in which its help lists them."""

from collections.abc import Callable

import typer

from cyclic.cli.answers import enough, label
from cyclic.cli.data import prepare, tiles
from cyclic.cli.doctor import doctor
from cyclic.cli.evaluate import evaluate
from cyclic.cli.models import models
from cyclic.cli.predict import predict
from cyclic.cli.report import report
from cyclic.cli.training import adapt, classifier, demo, mask_rcnn, pseudo_masks, train

COMMANDS: tuple[Callable[..., None], ...] = (
    demo,
    tiles,
    prepare,
    label,
    enough,
    train,
    adapt,
    classifier,
    pseudo_masks,
    mask_rcnn,
    predict,
    evaluate,
    report,
    doctor,
)
# What three of them were called in version 0.1.
FORMER: dict[str, Callable[..., None]] = {"classify": classifier, "pseudo": pseudo_masks, "segment": mask_rcnn}

app = typer.Typer(
    help="Nuclei instance segmentation on H&E images from image-level labels.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for command in COMMANDS:
    app.command()(command)
for name, command in FORMER.items():
    app.command(name, hidden=True)(command)
app.add_typer(models, name="models")
