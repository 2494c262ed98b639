"""Predict a slide or a folder of slides, and write the nuclei of each; see `cyclic predict`."""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import tifffile

from cyclic.errors import InputError
from cyclic.files import IMAGE_SUFFIXES, TIFF_SUFFIXES, digest, is_litter, is_our_label_map, require_file
from cyclic.images import read_shape
from cyclic.inference.predictor import Predictor
from cyclic.runs.progress import Progress
from cyclic.slides.detection import Pool, here
from cyclic.slides.opening import OPENSLIDE_SUFFIXES, SUFFIXES
from cyclic.slides.predict import SlideOptions, find_nuclei
from cyclic.slides.tissue import AUTO, NONE
from cyclic.slides.work import WorkFolder
from cyclic.slides.writers.formats import DEFAULT_FORMATS, FORMATS, require_format

# An image of more pixels than this is a slide: memory should not hold it with its label map.
LARGE = 8192 * 8192
# Changes when chunks are computed or stored in another way: those of an earlier version are not gone on with.
FORMAT = 1
# This many slides that failed are named one by one.
NAMED = 5


def is_slide(path: Path) -> bool:
    """Return whether a file or folder is a slide: of a scanner, a pyramid, DICOM, or very large."""
    if path.is_dir():
        return any(file.suffix.lower() == ".dcm" for file in path.iterdir())
    suffix = path.suffix.lower()
    if suffix in OPENSLIDE_SUFFIXES:
        return True
    if suffix not in IMAGE_SUFFIXES or is_our_label_map(path):
        return False
    try:
        if suffix in TIFF_SUFFIXES:
            with tifffile.TiffFile(path) as tiff:
                return len(tiff.series[0].levels) > 1 or tiff.series[0].size > 3 * LARGE
        height, width = read_shape(path)
    except Exception:  # broken: whoever reads its pixels says what is wrong
        return False
    return height * width > LARGE


def find_slides(path: str | Path) -> dict[str, Path]:
    """Return `{name: path}` of a slide, or of the slides and images in a folder, sorted.

    Raises:
        InputError: there is none, or two have one name.
    """
    path = Path(path)
    if not path.is_dir() or is_slide(path):
        return {name_of(path): path}
    found: dict[str, Path] = {}
    for each in sorted(path.iterdir()):
        if is_litter(each) or is_our_label_map(each):
            continue
        if is_slide(each) or (each.is_file() and each.suffix.lower() in SUFFIXES):
            if name_of(each) in found:
                raise InputError(f"{each}: same name as {found[name_of(each)]}; keep one slide of each name")
            found[name_of(each)] = each
    if not found:
        raise InputError(f"{path}: no slides ({', '.join(SUFFIXES)}) in this folder")
    return found


def name_of(path: Path) -> str:
    """Return what the results of a slide are called: its file name without suffix.

    >>> name_of(Path("slides/a.ome.tif")), name_of(Path("slides/b.1.svs"))
    ('a', 'b.1')
    """
    return path.name if path.is_dir() else path.stem.removesuffix(".ome")


def predict_slides(
    slides: str | Path,
    weights: str | Path,
    out: str | Path,
    formats: Sequence[str] = DEFAULT_FORMATS,
    options: SlideOptions = SlideOptions(),  # noqa: B008
    *,
    overrides: Sequence[str] = (),
    classifier: str | Path | None = None,
    overwrite: bool = False,
    pool: Pool = here,
    progress: Progress | None = None,
) -> dict[str, int]:
    """Write the nuclei of each slide and return `{name: number of nuclei}`.

    Chunks of a slide lie in `out/.NAME.cyclic` until its results are whole, so that the same call goes on after a stop.
    A slide that cannot be predicted does not keep the others from being predicted.

    Args:
        slides: a slide, or a folder of slides.
        weights: `best.weights.h5` or a `model.weights.h5` of a run.
        out: folder for `<name>.geojson`, `<name>.csv` and so on, see `cyclic.slides.writers.formats.FORMATS`.
        formats: which of these to write.
        options: resolution, region and tissue.
        overrides: settings of detection instead of the run's, `detection.key=value` strings.
        classifier: `classifier.weights.h5` of the run; None: the one that `weights` holds, if any.
        overwrite: replace results that this program did not write; slides are never replaced.
        pool: does the chunks.
        progress: display; None makes one on standard error.

    Raises:
        InputError: unknown format or one whose library is missing, no slide, bad weights, a setting out of range, a
            result that something else wrote; or, once all others are written, slides that could not be predicted.
    """
    for name in formats or [""]:
        require_format(name)
    out, paths = Path(out), find_slides(slides)
    settings = _settings(Path(weights), classifier, overrides, options)
    works = {name: WorkFolder(out, name, settings | _identity(path)) for name, path in paths.items()}
    results = {name: {each: out / f"{name}{FORMATS[each].suffix}" for each in formats} for name in paths}
    counts = {name: works[name].finished(results[name].values()) for name in paths}
    todo = [name for name in paths if counts[name] is None]
    inputs = [*paths.values(), Path(weights)]
    replaced = [path for name in todo for path in works[name].check(results[name].values(), inputs, overwrite)]
    if not todo:
        return {name: count for name, count in counts.items() if count is not None}
    load = partial(Predictor.load, weights, overrides, classifier)
    predictor = load()
    if replaced:
        warnings.warn(f"{replaced[0]} and others: replaced by the new prediction", stacklevel=2)
    failed = []
    with progress or Progress() as display:
        for name in todo:
            work = works[name]
            track = partial(_track, display, f"{name} " if len(paths) > 1 else "")
            try:
                work.begin()
                model = f"{settings['weights']} {settings['classifier']} {overrides}"
                nuclei = find_nuclei(predictor, paths[name], options, work.path, model, load, pool, track)
                partly = {each: work.result(path.name) for each, path in results[name].items()}
                nuclei.write(dict(partly), name)
                work.finish([path.name for path in partly.values()], len(nuclei))
                counts[name] = len(nuclei)
            except InputError as error:
                failed.append(str(error) if paths[name].name in str(error) else f"{paths[name]}: {error}")
    if failed:
        named = "; ".join(failed[:NAMED]) + (" ..." if len(failed) > NAMED else "")
        raise InputError(named if len(paths) == 1 else f"{len(failed)} of {len(paths)} slides not predicted: {named}")
    return {name: count for name, count in counts.items() if count is not None}


def _track(display: Progress, prefix: str, items: Iterable, name: str, total: int):
    return display.track(items, prefix + name, total)


def _settings(weights: Path, classifier: str | Path | None, overrides: Sequence[str], options: SlideOptions) -> dict:
    """Return all that the chunks of any slide depend on, as plain data."""
    return {
        "format": FORMAT,
        "weights": digest(weights),
        "classifier": digest(Path(classifier)) if classifier else None,
        "overrides": list(overrides),
        "tissue_file": digest(require_file(options.tissue)) if options.tissue not in (AUTO, NONE) else None,
        **asdict(options),
        "region": list(options.region) if options.region else None,
    }


def _identity(path: Path) -> dict:
    """Return what tells a slide from another one under the same name."""
    file = path if not path.is_dir() else next(iter(sorted(path.iterdir())))
    if not file.exists():
        return {"slide": str(path)}
    status = file.stat()
    return {"slide": str(path), "bytes": status.st_size, "modified": status.st_mtime}
