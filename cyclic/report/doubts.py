"""The answers that a run set aside, as pictures for a person to look at again."""

from dataclasses import dataclass
from pathlib import Path

from cyclic.config import RunConfig
from cyclic.datasets.answers import YES
from cyclic.datasets.doubted_answers import read_doubted
from cyclic.datasets.tile_folder import CLASSES
from cyclic.files import image_files
from cyclic.images import read_image
from cyclic.report.layers import picture_uri
from cyclic.runs.paths import RunPaths

# More would make the page heavy; a person who finds so many goes through all answers.
MOST = 60


@dataclass(frozen=True)
class Doubt:
    """A tile, the answer "yes" or "no" that was given for it, and its picture as a data URI."""

    tile: str
    answer: str
    picture: str


def find_doubts(run: RunPaths, config: RunConfig) -> tuple[list[Doubt], int]:
    """Return the first doubted answers of a run with their pictures, and how many there are in all.

    Of tiles that are no longer there, no picture is left to show.
    """
    doubted, found = read_doubted(run.doubted), []
    for answer, names in doubted.items():
        folder = Path(config.tiles.folder or run.tiles) / CLASSES[answer == YES]
        files = image_files(folder) if names and folder.is_dir() else {}
        found += [(name, answer, files[name]) for name in sorted(names & files.keys())]
    shown = [Doubt(name, answer, picture_uri(read_image(path))) for name, answer, path in found[:MOST]]
    return shown, sum(map(len, doubted.values()))
