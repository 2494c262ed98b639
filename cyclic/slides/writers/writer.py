"""What every writer is given, and what it does."""

from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

from cyclic.slides.nuclei import Nuclei


class Canvas(NamedTuple):
    """What writers have to know of the whole.

    Attributes:
        shape: (H, W) of the slide, px of its finest level.
        nuclei: how many there are.
        mpp: micrometres per pixel; None: measure in px.
        name: of the slide.
    """

    shape: tuple[int, int]
    nuclei: int
    mpp: float | None
    name: str


class Writer(AbstractContextManager, Protocol):
    """Writes one file."""

    def add(self, nuclei: Nuclei) -> None:
        """Write some nuclei."""
