"""Where label maps come from: a folder of files, or one COCO file."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cyclic.datasets.class_maps import read_class_map
from cyclic.errors import InputError
from cyclic.evaluation.coco_masks import BadAnnotation, check_number, compress, decode, first_reasons
from cyclic.files import HEAD, carries_mark, label_files, read_json
from cyclic.label_maps import read_label_map

# Pixels of an image that a COCO file may claim: a side of 60,000.
MAX_PIXELS = 60_000**2


class Nuclei(NamedTuple):
    """The nuclei of one image.

    Attributes:
        labels: `[H, W]` int32, 0 = background.
        origin: the file it comes from, for messages.
        confidence: `[N]` float64 by ascending label, or None.
        classes: `[H, W]` int32 class map, 0 = no class, or None.
    """

    labels: np.ndarray
    origin: str
    confidence: np.ndarray | None = None
    classes: np.ndarray | None = None


class Source(NamedTuple):
    """Images by id, each read when its function is called; `path` names the whole in messages."""

    path: Path
    readers: Mapping[str, Callable[[], Nuclei]]


def open_source(path: str | Path) -> Source:
    """Return the label maps of a folder (.tif, .png, .npy, .mat) or of a COCO .json file with polygons or RLE.

    The image id is the file name without its suffix; in a COCO file it is that of `file_name`. Scores come from a COCO
    file, or from the GeoJSON files that `cyclic predict` writes beside the label maps, if each map has one. Classes
    come from `type_map` or `class_map` of .mat files, from a folder `types/` beside a folder `labels/`, or from COCO
    categories if there are at least two.

    Raises:
        InputError: there is no such folder or file, or it holds no label maps. The readers raise it, too.
    """
    path = Path(path)
    if path.is_file() and path.suffix.lower() == ".json":
        return Source(path, _coco_readers(path))
    if path.is_file():
        raise InputError(f"{path}: neither a folder nor a COCO .json file; give one of these")
    files = label_files(path)
    scored = all(_holds_scores(file.with_suffix(".geojson")) for file in files.values())
    return Source(path, {name: partial(_read_file, file, scored) for name, file in files.items()})


def _holds_scores(path: Path) -> bool:
    """Whether a file lies beside a label map that this program wrote; another tool's GeoJSON has no scores for it."""
    return path.is_file() and (carries_mark(path) or b'"score"' in path.read_bytes()[:HEAD])


def _read_file(path: Path, scored: bool) -> Nuclei:
    labels = read_label_map(path)
    confidence = _geojson_scores(path.with_suffix(".geojson"), labels) if scored else None
    return Nuclei(labels, str(path), confidence, read_class_map(path, labels.shape))


def _geojson_scores(path: Path, labels: np.ndarray) -> np.ndarray:
    """Return the scores of the nuclei, `[N]` float64 by ascending label, from GeoJSON features named by label."""
    content = read_json(path)
    try:
        features = [feature["properties"] for feature in content["features"]]
        scores = {int(properties["name"]): _score(properties["measurements"]) for properties in features}
        for score in scores.values():
            check_number(score, "score")
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise InputError(f"{path}: a feature lacks its label or score ({error!r}); export the file again") from error
    present = np.unique(labels[labels > 0]).tolist()
    unscored = [str(label) for label in present if label not in scores]
    if unscored:
        raise InputError(f"{path}: no score for label {first_few(unscored)}; export it together with the label map")
    return np.array([scores[label] for label in present])


def _score(measurements: list | dict) -> float:
    """Return the measurement "score"; QuPath writes them as a mapping and, up to 0.3, as a list of names and values."""
    if isinstance(measurements, list):
        measurements = {entry["name"]: entry["value"] for entry in measurements}
    return float(measurements["score"])


def _coco_readers(path: Path) -> dict[str, Callable[[], Nuclei]]:
    content = read_json(path)
    try:
        images = {image["id"]: image for image in content["images"]}
        annotations: list[dict] = [each for each in content["annotations"] if not each.get("iscrowd", 0)]
        names = {image: Path(images[image]["file_name"]).stem for image in images}
        sizes = {image: (int(images[image]["height"]), int(images[image]["width"])) for image in images}
        with_classes = len(content.get("categories", ())) > 1
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        cure = "give a COCO data set (images, annotations, categories), not a bare list of results"
        raise InputError(f"{path}: not COCO's layout ({error!r}); {cure}") from error
    if not images or len(set(names.values())) < len(names):
        raise InputError(f"{path}: no images, or two with one id (file_name without suffix); give each image its id")
    for image, size in sizes.items():
        if min(size) < 1 or size[0] * size[1] > MAX_PIXELS:
            raise InputError(f"{path}: image {names[image]} of {size[0]} x {size[1]} pixels; correct height and width")
    scored = bool(annotations) and all("score" in annotation for annotation in annotations)
    good, bad = _check_annotations(annotations, sizes, scored)
    if bad:
        warnings.warn(f"{path}: {len(bad)} annotations left out ({first_reasons(bad)})", stacklevel=2)
    return {
        names[image]: partial(
            _paint, f"{path} ({images[image]['file_name']})", sizes[image], good[image], scored, with_classes
        )
        for image in images
    }


def _check_annotations(
    annotations: list[dict], sizes: dict[object, tuple[int, int]], scored: bool
) -> tuple[dict[object, list[dict]], list[tuple[object, str]]]:
    """Return the readable annotations of each image, and the ids of the others with what is wrong with them.

    The segmentation of the readable ones is compressed, so that each is rasterised once.
    """
    good: dict[object, list[dict]] = {image: [] for image in sizes}
    bad: list[tuple[object, str]] = []
    for number, annotation in enumerate(annotations, start=1):
        image = annotation.get("image_id")
        try:
            if image not in sizes:
                raise BadAnnotation(f"image_id {image!r} is none of the images")
            rle = compress(annotation.get("segmentation"), *sizes[image])
            check_number(annotation.get("category_id"), "category_id", whole=True)
            if scored:
                check_number(annotation["score"], "score")
        except (BadAnnotation, TypeError) as error:
            bad.append((annotation.get("id", f"annotation {number}"), str(error)))
        else:
            good[image].append(annotation | {"segmentation": rle})
    return good, bad


def _paint(origin: str, size: tuple[int, int], annotations: list[dict], scored: bool, with_classes: bool) -> Nuclei:
    """Return the nuclei of one image.

    Where masks overlap, the more confident one has the pixel; without scores the later one has it.
    """
    labels, classes = np.zeros((2, *size), np.int32)
    order: Sequence[int] = range(1, len(annotations) + 1)
    if scored:
        order = sorted(order, key=lambda label: float(annotations[label - 1]["score"]))
    for label in order:
        annotation = annotations[label - 1]
        mask, box = decode(annotation["segmentation"])
        labels[box][mask], classes[box][mask] = label, annotation["category_id"]
    visible = np.unique(labels[labels > 0])
    confidence = np.array([float(annotations[label - 1]["score"]) for label in visible]) if scored else None
    return Nuclei(labels, origin, confidence, classes if with_classes else None)


def first_few(names: list[str], shown: int = 5) -> str:
    """Return the first names with commas between, and how many more there are."""
    return ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")
