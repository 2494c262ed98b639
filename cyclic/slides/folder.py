"""Predict a slide or a folder of slides, and write the nuclei of each; see `cyclic predict`."""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from cyclic.errors import InputError
from cyclic.files import digest, require_file
from cyclic.inference.predictor import Predictor
from cyclic.runs.progress import Progress
from cyclic.slides.detection import Pool, here
from cyclic.slides.finding import find_slides
from cyclic.slides.opening import dicom_files
from cyclic.slides.predict import SlideOptions, find_nuclei
from cyclic.slides.tissue import AUTO, NONE
from cyclic.slides.work import WorkFolder
from cyclic.slides.writers.formats import DEFAULT_FORMATS, FORMATS, require_format

# Changes when chunks are computed or stored in another way: those of an earlier version are not gone on with.
FORMAT = 1
# This many slides that failed are named one by one.
NAMED = 5


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
                with work.at_work():
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
    if not path.exists():
        return {"slide": str(path)}
    folder = path if path.is_dir() else path.parent
    files = dicom_files(folder) if path.is_dir() or path.suffix.lower() == ".dcm" else [path]
    status = [file.stat() for file in files]
    modified = max(each.st_mtime for each in status)
    return {"slide": str(path), "bytes": sum(each.st_size for each in status), "modified": modified}
