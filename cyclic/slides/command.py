"""What `cyclic predict` asks for, as text, and what it means for slides."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cyclic.errors import InputError
from cyclic.inference.folder import FORMATS as IMAGE_FORMATS
from cyclic.slides.cluster import open_pool
from cyclic.slides.finding import holds_slides
from cyclic.slides.folder import predict_slides
from cyclic.slides.predict import SlideOptions
from cyclic.slides.tissue import AUTO
from cyclic.slides.writers.formats import DEFAULT_FORMATS, FORMATS


def are_slides(path: Path, formats: Sequence[str] | None, *options: object) -> bool:
    """Return whether images are to be predicted as slides are.

    They are if one of them is a slide, or if an option or a format is asked for that slides alone have.

    Args:
        path: an image, a slide, or a folder of either.
        formats: what will be written; None: the default.
        options: those of slides, None where not given.
    """
    if any(option is not None for option in options):
        return True
    if formats is not None and any(name in FORMATS and name not in IMAGE_FORMATS for name in formats):
        return True
    return holds_slides(path)


def predict_command(
    slides: Path,
    weights: Path,
    out: Path,
    formats: Sequence[str] | None,
    mpp: float | None,
    region: str | None,
    tissue: str | None,
    workers: int | None,
    scheduler: str | None,
    **common: Any,
) -> dict[str, int]:
    """Return what `predict_slides` returns.

    Raises:
        InputError: as there, or an option that makes no sense.
    """
    if workers is not None and scheduler is not None:
        raise InputError("--workers and --scheduler exclude each other: the scheduler has workers of its own")
    options = SlideOptions(mpp, parse_region(region), tissue or AUTO)
    with open_pool(workers or 1, scheduler) as pool:
        return predict_slides(slides, weights, out, formats or DEFAULT_FORMATS, options, pool=pool, **common)


def parse_region(text: str | None) -> tuple[int, int, int, int] | None:
    """Return a region that was written as X,Y,WIDTH,HEIGHT.

    >>> parse_region("100,200,3000,4000")
    (100, 200, 3000, 4000)

    Raises:
        InputError: the text is something else.
    """
    if text is None:
        return None
    try:
        x, y, width, height = (int(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"--region {text}: give X,Y,WIDTH,HEIGHT, four whole numbers with commas between") from error
    return x, y, width, height
