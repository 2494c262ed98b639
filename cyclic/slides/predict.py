"""One slide, top to bottom: open, find tissue, detect chunk by chunk, merge, ask the classifier, write."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from cyclic.errors import InputError
from cyclic.files import atomic_path
from cyclic.inference.predictor import Predictor
from cyclic.inference.stitch import Window
from cyclic.inference.verdict import are_nuclei
from cyclic.labels import areas
from cyclic.slides.detection import Pool, Track, detect_slide, do_tasks, here
from cyclic.slides.merge import Merge, Painted
from cyclic.slides.nuclei import Nuclei, in_source_pixels, number_nuclei
from cyclic.slides.resolution import bring_to, known_mpp
from cyclic.slides.scaled import ScaledSlide, check_region
from cyclic.slides.table import DetectionTable
from cyclic.slides.tasks import Job, VerdictTask, keep_predictor, opened, write_painted
from cyclic.slides.tissue import AUTO, Tissue, find_tissue
from cyclic.slides.writers.formats import FORMATS, open_writer, require_format
from cyclic.slides.writers.writer import Canvas
from cyclic.tiling import cover_with_windows, smallest_tile

# Side of a chunk in px at the model's resolution: small enough to lose in a stop, and for memory.
CHUNK = 2048


@dataclass(frozen=True)
class SlideOptions:
    """What a person may ask of a slide.

    Attributes:
        mpp: micrometres per pixel; None: what the file says.
        region: (x, y, width, height), px of the finest level; None: all.
        tissue: "auto", "none", or a GeoJSON file of polygons.
        chunk: side of a chunk in px at the model's resolution.
    """

    mpp: float | None = None
    region: tuple[int, int, int, int] | None = None
    tissue: str = AUTO
    chunk: int = CHUNK


class SlideNuclei:
    """The nuclei of a slide. Iterating yields `Nuclei` chunk by chunk, so memory need not hold them all.

    Attributes:
        shape: (H, W) of the slide, px of its finest level.
        mpp: micrometres per pixel; None where nobody says.
    """

    def __init__(self, merge: Merge, slide: ScaledSlide, shape: tuple[int, int], mpp: float | None):
        self._merge, self._slide, self.shape, self.mpp = merge, slide, shape, mpp
        self._labels = merge.ranking()
        self.chunks: object = None  # holds the folder of the chunks, if nothing else does

    def __len__(self) -> int:
        return int(self._labels.max(initial=0))

    def __iter__(self) -> Iterator[Nuclei]:
        for painted in _in_region(self._merge, self._slide):
            yield number_nuclei(painted, self._labels, self._merge.table.scores, self._slide.region[:2], self.mpp)

    def write(self, paths: dict[str, str | Path], name: str = "slide") -> None:
        """Write files, all in one pass. Each appears whole or not at all; a folder may be left half written.

        Args:
            paths: `{format: file}`, names as in `cyclic.slides.writers.formats.FORMATS`, such as "ome-tiff".
            name: of the slide, which some formats store.

        Raises:
            InputError: an unknown format, its library is not installed, or a file cannot be written.
        """
        for format_ in paths:
            require_format(format_)
        canvas = Canvas(self.shape, len(self), self.mpp, name)
        with ExitStack() as stack:
            places = {
                format_: Path(path) if FORMATS[format_].is_folder else stack.enter_context(atomic_path(path))
                for format_, path in paths.items()
            }
            writers = [stack.enter_context(open_writer(format_, path, canvas)) for format_, path in places.items()]
            for some in self:
                for writer in writers:
                    writer.add(some)

    def label_map(self) -> np.ndarray:
        """Return the labels of all of the slide, `[H, W]` int32; for a slide that memory holds."""
        labels = np.zeros(self.shape, np.int32)
        for some in self:
            (y, x), (height, width) = some.corner, some.labels.shape
            inside = some.labels > 0
            labels[y : y + height, x : x + width][inside] = np.append(0, some.numbers)[some.labels[inside]]
        return labels


def find_nuclei(
    predictor: Predictor,
    path: Path,
    options: SlideOptions,
    folder: Path,
    model: str,
    load: Callable[[], Predictor],
    pool: Pool = here,
    track: Track = lambda items, name, total: iter(items),
) -> SlideNuclei:
    """Return the nuclei of a slide. What lies in `folder` of an earlier call is not computed again.

    Args:
        predictor: the model.
        path: the slide.
        options: what of it, and how.
        folder: for the chunks.
        model: names weights and settings.
        load: returns the predictor, in another process.
        pool: does the tasks.
        track: shows how far they are.

    Raises:
        InputError: the slide cannot be read, has another resolution than the model can use, or no tissue.
    """
    settings = predictor.config.detection
    if settings.views > 1:
        raise InputError(f"{path}: a slide is looked at in one view; leave detection.views at 1")
    source = opened(path)
    mpp = known_mpp(path, options.mpp, source.resolution, predictor.config.mpp)
    factor = bring_to(path, mpp, predictor.config.mpp)
    slide = ScaledSlide(source, check_region(options.region, source, path), factor)
    tissue = find_tissue(options.tissue, source, slide, path)
    tile = smallest_tile(max(slide.size), settings.tile, settings.overlap)
    windows = _windows(slide, tissue, tile, settings.overlap)
    if not windows:
        raise InputError(f"{path}: no tissue found; give --tissue none to look everywhere, or a GeoJSON file of it")
    keep_predictor(model, predictor)
    job = Job(path, slide.region, factor, model, load)
    shape = slide.size
    files, known = detect_slide(job, windows, shape, tile, options.chunk, folder, pool, track)
    merge = Merge(DetectionTable(files, known, shape, settings.shape_power), settings)
    if predictor.classifier is not None:
        _ask_classifier(merge, settings.evidence, job, folder / "verdict", pool, track)
    _drop_invisible(merge, slide, tissue)
    return SlideNuclei(merge, slide, source.levels[0], mpp)


def _windows(slide: ScaledSlide, tissue: Tissue, tile: int, overlap: int) -> list[Window]:
    """Return the tiles that hold tissue."""
    windows = cover_with_windows(*slide.size, tile, overlap)
    scale = [
        (end - start) / side for start, end, side in zip(slide.region, slide.region[2:], slide.shape, strict=False)
    ]
    touched = tissue.touches(np.array(windows) * np.tile(scale, 2))
    return [window for window, is_touched in zip(windows, touched.tolist(), strict=True) if is_touched]


def _ask_classifier(merge: Merge, least: float, job: Job, folder: Path, pool: Pool, track: Track) -> None:
    """Drop what the classifier has no evidence for; how much is enough follows from the whole slide."""
    tasks, numbers = [], []
    for index, painted in enumerate(merge.paint()):
        task = VerdictTask(job, folder / f"{index}.npz", folder / f"{index}.nuclei.npz")
        if not task.path.exists():
            write_painted(task.nuclei, painted)
        tasks.append(task)
        numbers.append(painted.numbers)
    do_tasks(tasks, "verdict", pool, track)
    if tasks:
        some, evidence = np.concatenate(numbers), np.concatenate([task.evidence() for task in tasks])
        merge.kept[some] = are_nuclei(evidence, merge.table.scores[some], least)


def _in_region(merge: Merge, slide: ScaledSlide) -> Iterator[Painted]:
    """Yield the nuclei of each chunk in px of the region."""
    y1, x1, y2, x2 = slide.region
    for painted in merge.paint():
        yield in_source_pixels(painted, slide.size, (y2 - y1, x2 - x1))


def _drop_invisible(merge: Merge, slide: ScaledSlide, tissue: Tissue) -> None:
    """Drop nuclei without a pixel of the slide, and those whose centre lies beside the tissue that a person drew."""
    for painted in _in_region(merge, slide):
        area = areas(painted.labels, len(painted.numbers))
        seen = np.flatnonzero(area)
        centres = np.array(ndimage.center_of_mass(painted.labels > 0, painted.labels, seen + 1)).reshape(-1, 2)
        points = centres[:, ::-1] + np.array(painted.corner[::-1]) + 0.5
        merge.kept[painted.numbers[area == 0]] = False
        merge.kept[painted.numbers[seen[~tissue.holds(points)]]] = False
