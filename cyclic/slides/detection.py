"""From a slide to the files of its detections: tiles first, then windows of their own for what tiles cut.

As `inference.detect.detect_in_tiles` does with an image, but chunk by chunk. What a file holds is not computed again.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from cyclic.inference.seams import seam_sides, seam_windows
from cyclic.inference.stitch import TileDetections, Window
from cyclic.inference.window_index import WindowIndex
from cyclic.slides.chunks import extent, read_detections, sort_into_chunks
from cyclic.slides.tasks import DetectTask, Job, Task

# Does tasks in any order, and yields once for each that is done.
Pool = Callable[[Sequence[Task]], Iterable[object]]
# Shows how far a stage is: the iterable, its name, and how much there is to do.
Track = Callable[[Iterable, str, int], Iterator]


def here(tasks: Sequence[Task]) -> Iterator[None]:
    """Do tasks in this process, one after the other; a `Pool`."""
    for task in tasks:
        yield task()


def detect_slide(
    job: Job,
    windows: Sequence[Window],
    shape: tuple[int, int],
    tile: int,
    chunk: int,
    folder: Path,
    pool: Pool,
    track: Track,
) -> tuple[list[Path], WindowIndex]:
    """Return the files of all detections, and all windows that were looked at.

    Args:
        job: the slide and the model.
        windows: the tiles to look at, in the order of an image's tiles.
        shape: (H, W) of the slide at the model's resolution.
        tile: side of a tile in px.
        chunk: side of a chunk in px.
        folder: where the files of chunks lie or will lie.
        pool: does the tasks.
        track: shows how far they are.

    Raises:
        InputError: the slide cannot be read, or a file not written.
    """
    known = WindowIndex(tile)
    files: list[Path] = []
    count = 0
    for side in (None, *seam_sides(tile)):
        name = "tiles" if side is None else f"seams_{side}"
        more = windows if side is None else seam_windows(_boxes(files), shape, side, known)
        known.extend(more)
        tasks = []
        for (row, column), members in sort_into_chunks(more, chunk).items():
            path = folder / name / f"{row}_{column}.npz"
            some = [more[member] for member in members]
            tasks.append(DetectTask(job, path, [count + member for member in members], some, _near(known, some)))
        count += len(more)
        do_tasks(tasks, name.split("_")[0], pool, track)
        files += [task.path for task in tasks]
    return files, known


def do_tasks(tasks: Sequence[Task], name: str, pool: Pool, track: Track) -> None:
    """Do the tasks whose files are not there, and show all of them as stage `name`."""
    missing = [task for task in tasks if not task.path.exists()]
    done = len(tasks) - len(missing)
    if not tasks:
        return

    def ends() -> Iterator[object]:
        yield from range(done)
        yield from pool(missing)

    for _ in track(ends(), name, len(tasks)):
        pass


def _near(known: WindowIndex, windows: list[Window]) -> np.ndarray:
    return known.near(extent(windows))


def _boxes(files: Sequence[Path]) -> Iterator[TileDetections]:
    """Yield what was found in each tile, without masks, in the order of an image's tiles."""
    numbers, tiles = [], []
    for file in files:
        found = read_detections(file, with_masks=False)
        numbers += found.numbers.tolist()
        tiles += found.tiles
    for index in np.argsort(numbers):
        yield tiles[index]
