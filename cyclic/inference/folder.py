"""Predict the nuclei of one image or a folder of images, and write them in every format asked for."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cyclic.errors import InputError
from cyclic.files import IMAGE_SUFFIXES, image_files, read_image, write_label_map
from cyclic.inference.detect import confident, detection_options, predict_image
from cyclic.inference.empty_tiles import without_detections_in_empty_tiles
from cyclic.inference.export import export_coco, export_csv, export_geojson, export_overlay
from cyclic.networks import load_predictor, load_tile_classifier
from cyclic.runs.progress import Progress

DEFAULT_FORMATS = ("tif", "geojson", "coco", "overlay")
FORMATS = (*DEFAULT_FORMATS, "csv")
# So many unreadable images are named one by one.
NAMED = 5


def predict_folder(
    images: str | Path,
    weights: str | Path,
    out: str | Path,
    formats: Sequence[str] = DEFAULT_FORMATS,
    tile: int | None = None,
    score: float | None = None,
    pixel_size: float | None = None,
    views: int | None = None,
    overrides: Sequence[str] = (),
    classifier: str | Path | None = None,
    progress: Progress | None = None,
) -> dict[str, int]:
    """Write the nuclei of each image and return `{image id: number of nuclei}`.

    With the run's own tile, score and views the label maps are the ones that the run wrote. An unreadable image does
    not keep the others from being predicted.

    Args:
        images: an image or a folder of images.
        weights: `best.weights.h5` or a `model.weights.h5` of a run.
        out: folder for `<id>.tif` (label map), `<id>.geojson`, `<id>.csv`, `coco.json` and `overlays/<id>.png`.
        formats: which of these to write: "tif", "geojson", "coco", "csv", "overlay".
        tile: side of a tile in image pixels; None: the run's.
        score: lowest score of a nucleus, in [0, 1]; None: the run's.
        pixel_size: side of a pixel in micrometres, for the measurements of CSV and GeoJSON; None: measure in px.
        views: flips and turns of an image that vote on its nuclei, 1 to 8, see `detect_in_views`; None: the run's.
        overrides: other settings of detection, `detection.key=value` strings.
        classifier: `classifier.weights.h5` of the run, which drops detections in tiles that it calls empty; None: none.
        progress: display; None makes one on standard error.

    Raises:
        InputError: unknown format, no image, bad weights, a setting out of range; or, once all others are written,
            unreadable images.
    """
    unknown = [each for each in formats if each not in FORMATS]
    if unknown or not formats:
        raise InputError(f"format {', '.join(unknown) or 'none'}: use one or more of {', '.join(FORMATS)}")
    out, paths = Path(out), find_images(images)
    settings = {"tile": tile, "score": score, "views": views}
    given = {key: value for key, value in settings.items() if value is not None}
    model, config = load_predictor(weights, overrides, **given)
    tile_classifier = None if classifier is None else load_tile_classifier(classifier, config)
    options = detection_options(config)
    if tile is not None:
        options["overlap"] = min(options["overlap"], tile // 2)
    found: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    counts: dict[str, int] = {}
    unreadable: list[str] = []
    with progress or Progress() as display:
        for name, path in display.track(paths.items(), "predict", len(paths)):
            try:
                image = read_image(path)
            except InputError as error:
                unreadable.append(str(error))
                continue
            labels, scores = predict_image(model, image, **options)
            if tile_classifier is not None:
                labels, scores = without_detections_in_empty_tiles(
                    tile_classifier, image, labels, scores, config.mean_pixel, config.tiles.size, config.scale
                )
            labels = confident(labels, scores, config.detection.score)
            counts[name] = int(labels.max(initial=0))
            scores = scores[: counts[name]]
            if "tif" in formats:
                write_label_map(out / f"{name}.tif", labels)
            if "geojson" in formats:
                export_geojson(out / f"{name}.geojson", labels, scores, pixel_size)
            if "csv" in formats:
                export_csv(out / f"{name}.csv", labels, scores, pixel_size)
            if "overlay" in formats:
                export_overlay(out / "overlays" / f"{name}.png", image, labels)
            if "coco" in formats:
                found[path.name] = labels, scores
    if "coco" in formats and counts:
        export_coco(out / "coco.json", found)
    if unreadable:
        named = "; ".join(unreadable[:NAMED]) + (" ..." if len(unreadable) > NAMED else "")
        raise InputError(f"{len(unreadable)} of {len(paths)} images not predicted: {named}")
    return counts


def find_images(path: str | Path) -> dict[str, Path]:
    """Return `{image id: file}` of the image `path`, or of the images in the folder `path`.

    Raises:
        InputError: no such file or folder, a file that is no image, or a folder without images.
    """
    path = Path(path)
    if path.is_dir():
        return image_files(path)
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        raise InputError(f"{path}: not an image ({', '.join(IMAGE_SUFFIXES)}); convert it or choose another file")
    return {path.stem: path}
