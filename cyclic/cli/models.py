"""`cyclic models`: a group of commands on trained models and their names."""

from typing import Annotated

import typer

from cyclic.cli.backend import start_keras
from cyclic.cli.table import print_table

models = typer.Typer(help="Trained models by name.", rich_markup_mode=None)
ModelName = Annotated[str, typer.Argument(help="Name of the model.")]


@models.command("list")
def list_models() -> None:
    """List the models that there are.

    Example: cyclic models list
    """
    from cyclic.models import registry

    found = registry.models().values()
    rows = [{"model": m.card.name, "weights": m.place, "mpp": m.card.mpp, "licence": m.card.licence} for m in found]
    print_table(rows) if rows else print("no models yet; cyclic models add registers your own")


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
        start_keras()
    from cyclic.models import registry

    model = registry.add(registry.card_of(source, name, licence, sha256, mpp))
    print(f"{model.card.name}: {model.file}")
