"""What is done chunk by chunk, in this process or in another one: detection in tiles, and the classifier's verdict.

A task reads the slide and writes one file. It knows all it needs, so that any worker can do it, in any order.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from cyclic.files import atomic_path
from cyclic.inference.detect import detect_in_windows
from cyclic.inference.predictor import Predictor
from cyclic.inference.stitch import Window
from cyclic.inference.verdict import evidence_for
from cyclic.slides.chunks import ChunkDetections, extent, read_arrays, write_detections
from cyclic.slides.merge import Painted
from cyclic.slides.opening import open_source
from cyclic.slides.scaled import Block, ScaledSlide
from cyclic.slides.source import Source

# Pixels around the nuclei that the classifier sees as well.
AROUND = 64
# A block of more pixels than this many times its windows is not read as one: the windows lie far apart.
SPARSE = 2


@dataclass(frozen=True)
class Job:
    """A slide and the model that predicts it.

    Attributes:
        slide: the file.
        region: (y1, x1, y2, x2), px of its finest level.
        factor: pixels of the model's resolution for one of them.
        model: names the model: weights and settings.
        load: returns the predictor; it goes to other processes.
    """

    slide: Path
    region: Window
    factor: float
    model: str
    load: Callable[[], Predictor]


@dataclass(frozen=True)
class DetectTask:
    """Detect in some windows of one size.

    Attributes:
        job: the slide and the model.
        path: file to write, see `write_detections`.
        numbers: which tile of the slide each window is.
        windows: the windows.
        near: `[n, 4]` windows known so far that meet these, these among them.
    """

    job: Job
    path: Path
    numbers: list[int]
    windows: list[Window]
    near: np.ndarray

    def __call__(self) -> None:
        """Do it.

        Raises:
            InputError: the slide cannot be read, or the file not written.
        """
        predictor = predictor_of(self.job)
        detection = predictor.config.detection
        slide: ScaledSlide | Block = scaled_slide(self.job)
        around = extent(self.windows)
        if _pixels(around) <= SPARSE * sum(map(_pixels, self.windows)):
            slide = Block(scaled_slide(self.job), around)
        tiles = detect_in_windows(
            predictor.model,
            slide,
            self.windows,
            self.near.tolist(),
            detection.batch,
            predictor.config.scale,
            detection.mask_threshold,
        )
        write_detections(self.path, ChunkDetections(np.array(self.numbers, np.int64), tiles))


@dataclass(frozen=True)
class VerdictTask:
    """Ask the classifier how much evidence it has for some nuclei.

    Attributes:
        job: the slide and the model.
        path: file to write: `[n]` float in [0, 1], in the order of the labels.
        nuclei: file of the nuclei, see `write_painted`.
    """

    job: Job
    path: Path
    nuclei: Path

    def __call__(self) -> None:
        """Do it.

        Raises:
            InputError: the slide cannot be read, or the file not written.
        """
        predictor, slide = predictor_of(self.job), scaled_slide(self.job)
        labels, corner, count = read_painted(self.nuclei)
        (y, x), (height, width) = corner, labels.shape
        y1, x1 = max(y - AROUND, 0), max(x - AROUND, 0)
        y2, x2 = min(y + height + AROUND, slide.shape[0]), min(x + width + AROUND, slide.shape[1])
        wide = np.zeros((y2 - y1, x2 - x1), np.int32)
        wide[y - y1 : y - y1 + height, x - x1 : x - x1 + width] = labels
        evidence = evidence_for(wide, count, slide[y1:y2, x1:x2], predictor.config, predictor.classifier)
        with atomic_path(self.path) as temporary, open(temporary, "wb") as file:
            np.savez(file, evidence=evidence)

    def evidence(self) -> np.ndarray:
        """Return the evidence for each nucleus, `[n]` float in [0, 1]. Raises InputError where damaged."""
        return read_arrays(self.path, ["evidence"])[0]


Task = DetectTask | VerdictTask


def write_painted(path: Path, painted: Painted) -> None:
    """Write nuclei to a file for a `VerdictTask`."""
    corner, count = np.array(painted.corner), np.array(len(painted.numbers))
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, labels=painted.labels, corner=corner, count=count)


def read_painted(path: Path) -> tuple[np.ndarray, tuple[int, int], int]:
    """Return labels `[h, w]` int32, their corner (y, x) and their number of what `write_painted` wrote.

    Raises:
        InputError: the file is damaged.
    """
    labels, corner, count = read_arrays(path, ("labels", "corner", "count"))
    y, x = corner.tolist()
    return labels, (y, x), int(count)


_predictors: dict[str, Predictor] = {}


def predictor_of(job: Job) -> Predictor:
    """Return the predictor of a job, which each process loads once."""
    if job.model not in _predictors:
        _predictors.clear()
        _predictors[job.model] = job.load()
    return _predictors[job.model]


def keep_predictor(model: str, predictor: Predictor) -> None:
    """Let jobs with this model use a predictor that this process has loaded already."""
    _predictors.clear()
    _predictors[model] = predictor


def scaled_slide(job: Job) -> ScaledSlide:
    """Return the slide of a job at the model's resolution; the file stays open for the next task."""
    return ScaledSlide(opened(job.slide), job.region, job.factor)


def opened(path: Path) -> Source:
    """Return an open slide, the same one until another is asked for or the file is replaced."""
    return _opened(path, path.stat().st_mtime_ns if path.exists() else 0)


@lru_cache(1)
def _opened(path: Path, modified: int) -> Source:
    return open_source(path)


def _pixels(window: Window) -> int:
    return (window[2] - window[0]) * (window[3] - window[1])
