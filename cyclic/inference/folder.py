"""Predict an image or a folder of images, and write the nuclei in every format asked for."""

import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cyclic.draw.overlays import PRINT_DPI, contour_overlay
from cyclic.errors import InputError
from cyclic.evaluation.sources import first_few
from cyclic.files import (
    IMAGE_SUFFIXES,
    announce,
    check_outputs,
    claim,
    image_files,
    is_our_label_map,
    lock_folder,
    make_folder,
    read_json,
    write_image,
)
from cyclic.images import read_image
from cyclic.inference.export.coco import CocoFile
from cyclic.inference.export.geojson import export_geojson
from cyclic.inference.export.table import export_csv
from cyclic.inference.predictor import Prediction, Predictor
from cyclic.label_maps import write_label_map
from cyclic.resolution import check_mpp, enlargement, read_resolution
from cyclic.runs.progress import Progress

DEFAULT_FORMATS = ("tif", "geojson", "coco", "overlay")
FORMATS = (*DEFAULT_FORMATS, "csv", "coco-results")
COCO, COCO_RESULTS = "coco.json", "coco_results.json"
# This many unreadable images are named one by one.
NAMED = 5


def predict_folder(
    images: str | Path,
    weights: str | Path,
    out: str | Path,
    formats: Sequence[str] = DEFAULT_FORMATS,
    *,
    overrides: Sequence[str] = (),
    classifier: str | Path | None = None,
    mpp: float | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> dict[str, int]:
    """Write the nuclei of each image and return `{image id: number of nuclei}`.

    With the run's own settings the label maps are the ones that the run wrote. An unreadable image does not keep the
    others from being predicted.

    Args:
        images: an image or a folder of images.
        weights: `best.weights.h5` or a `model.weights.h5` of a run.
        out: folder for `<id>.tif` (label map), `<id>.geojson`, `<id>.csv`, `coco.json`, `coco_results.json` and
            `overlays/<id>.png`.
        formats: which of these to write: "tif", "geojson", "coco", "coco-results", "csv", "overlay".
        overrides: settings of detection instead of the run's, `detection.key=value` strings.
        classifier: `classifier.weights.h5` of the run, which drops detections that it has no evidence for; None: the
            one that `weights` holds, if any; see `detection.verdict`.
        mpp: micrometres per pixel of all images; None: what each file says. An image that does not say is taken for one
            like the training images, with a warning, and its nuclei are measured in px; those of the others in µm.
        overwrite: replace files in `out` that this program did not write; images are never replaced.
        progress: display; None makes one on standard error.

    Raises:
        InputError: unknown format, no image, bad weights, a setting or `mpp` out of range, an output that is an image
            or that something else wrote; or, once all others are written, images that are unreadable or of a
            resolution too far from the model's.
    """
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        raise InputError(f"format {', '.join(unknown) or 'none'}: use one or more of {', '.join(FORMATS)}")
    out, paths = Path(out), find_images(images)
    replaced = check_outputs(_outputs(out, paths, formats), [*paths.values(), Path(weights)], overwrite)
    if not overwrite:
        check_earlier(out, [path.name for path in paths.values()], formats)
    _warn_of_older(_outputs(out, paths, [name for name in FORMATS if name not in formats]))
    predictor = Predictor.load(weights, overrides, classifier)
    if replaced:
        warnings.warn(f"{_name_first(replaced)}: replaced by the new prediction", stacklevel=2)
    model_mpp = predictor.config.mpp
    if mpp is not None and model_mpp is not None:
        enlargement(mpp, model_mpp)
    resolutions = _read_resolutions(paths, model_mpp) if mpp is None else dict.fromkeys(paths, check_mpp(mpp, "mpp"))
    coco, counts, failed = CocoFile(), {}, []
    with lock_folder(out), progress or Progress() as display:
        for name, path in display.track(paths.items(), "predict", len(paths)):
            known = resolutions[name]
            try:
                image = read_image(path)
                if known is not None and model_mpp is not None:
                    enlargement(known, model_mpp)
            except InputError as error:
                failed.append(str(error) if str(path) in str(error) else f"{path}: {error}")
                continue
            prediction = predictor.predict(image, known or model_mpp)
            counts[name] = len(prediction)
            _write(out, name, image, prediction, formats, known)
            coco.add(path.name, prediction.labels, prediction.scores)
        for format_, name, write in (("coco", COCO, coco.write), ("coco-results", COCO_RESULTS, coco.write_results)):
            if format_ in formats and counts:
                _write_ours(out / name, write)
        if failed:  # before the folder is given free, which takes an empty one away
            named = "; ".join(failed[:NAMED]) + (" ..." if len(failed) > NAMED else "")
            raise InputError(f"{len(failed)} of {len(paths)} images not predicted: {named}")
    return counts


def _read_resolutions(paths: dict[str, Path], assumed: float | None) -> dict[str, float | None]:
    """Return `{image id: micrometres per pixel}`, None where the file does not say; one warning tells of those."""
    known: dict[str, float | None] = {}
    silent = []
    for name, path in paths.items():
        try:
            found = read_resolution(path)
        except InputError:  # named with the others when it is to be predicted
            found = None
        known[name] = found.mpp if found else None
        if found and found.mpp is None:
            silent.append(f"{path.name} ({found.ignored})" if found.ignored else path.name)
    if silent and assumed is not None:
        warnings.warn(
            f"{len(silent)} of {len(paths)} images have no resolution to go by: {first_few(silent, NAMED)}; taken for "
            f"{assumed:g} µm per pixel, as in training; --mpp states another",
            stacklevel=3,
        )
    return known


def _outputs(out: Path, names: Iterable[str], formats: Sequence[str]) -> list[Path]:
    """Return every file that will be written."""
    each = [out / f"{name}.{suffix}" for name in names for suffix in ("tif", "geojson", "csv") if suffix in formats]
    if "overlay" in formats:
        each += [_overlay(out, name) for name in names]
    names_of = {"coco": COCO, "coco-results": COCO_RESULTS}
    return [*each, *(out / name for format_, name in names_of.items() if format_ in formats)]


def _name_first(paths: Sequence[Path]) -> str:
    """Return the first path, and how many more there are."""
    return f"{paths[0]} and {len(paths) - 1} more files" if len(paths) > 1 else str(paths[0])


def _warn_of_older(others: Sequence[Path]) -> None:
    """Warn of files in formats that are not written now: they hold another prediction of the same images."""
    older = [path for path in others if path.exists()]
    if older:
        warnings.warn(
            f"{_name_first(older)}: of an earlier prediction, and left as it is; remove it, or ask for its format "
            "again",
            stacklevel=3,
        )


def check_earlier(out: Path, names: Sequence[str], formats: Sequence[str]) -> None:
    """Refuse to lose the nuclei of images that an earlier prediction put into the same COCO file.

    Args:
        out: folder of the results.
        names: file names of the images that are predicted now.
        formats: what will be written.

    Raises:
        InputError: a COCO file there holds other images, or is not as this program wrote it.
    """
    cure = "choose another folder, or add --overwrite to lose them"
    if "coco" in formats and (out / COCO).is_file():
        others = [name for name in _each(out / COCO, "images", "file_name") if name not in names]
        if others:
            raise InputError(f"{out / COCO}: holds {len(others)} images not predicted now, e.g. {others[0]}; {cure}")
    if "coco-results" in formats and (out / COCO_RESULTS).is_file():
        # Results know images by number alone.
        last = max(_each(out / COCO_RESULTS, None, "image_id"), default=0)
        if last > len(names):
            raise InputError(f"{out / COCO_RESULTS}: holds {last} images, more than are predicted now; {cure}")


def _each(path: Path, part: str | None, key: str) -> list:
    """Return the value of a key in each entry of a COCO file's part, or of its whole.

    Raises:
        InputError: it is no file that this program wrote.
    """
    content: Any = read_json(path)
    kind = str if key == "file_name" else int
    try:
        found = [entry[key] for entry in (content if part is None else content[part])]
    except (KeyError, TypeError):
        found = [None]
    if not all(isinstance(value, kind) for value in found):
        raise InputError(f"{path}: not as cyclic wrote it; choose another folder, or add --overwrite to lose it")
    return found


def _overlay(out: Path, name: str) -> Path:
    return out / "overlays" / f"{name}.png"


def _write(
    out: Path, name: str, image: np.ndarray, prediction: Prediction, formats: Sequence[str], mpp: float | None
) -> None:
    labels, scores = prediction.labels, prediction.scores
    writers: dict[str, tuple[Path, Callable[[Path], None]]] = {
        "tif": (out / f"{name}.tif", lambda path: write_label_map(path, labels, mpp)),
        "geojson": (out / f"{name}.geojson", lambda path: export_geojson(path, labels, scores, mpp)),
        "csv": (out / f"{name}.csv", lambda path: export_csv(path, labels, scores, mpp)),
        "overlay": (
            _overlay(out, name),
            lambda path: write_image(path, contour_overlay(image, labels), PRINT_DPI),
        ),
    }
    for format_, (path, write) in writers.items():
        if format_ in formats:
            _write_ours(path, write)


def _write_ours(path: Path, write: Callable[[Path], None]) -> None:
    """Write a file that the next prediction may replace, unless somebody edits it."""
    make_folder(path.parent)
    announce(path)
    write(path)
    claim(path)


def find_images(path: str | Path) -> dict[str, Path]:
    """Return `{image id: file}` of the image `path`, or of the images in the folder `path`.

    Raises:
        InputError: no such file or folder, a file that is no image, or a folder without images.
    """
    path = Path(path)
    if path.is_dir():
        return image_files(path)
    if is_our_label_map(path):
        raise InputError(f"{path}: a label map that cyclic wrote, not an image; give the image itself")
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        raise InputError(f"{path}: not an image ({', '.join(IMAGE_SUFFIXES)}); convert it or choose another file")
    return {path.stem: path}
