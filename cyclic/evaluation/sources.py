"""Where label maps come from: a folder of files, or one COCO file."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pycocotools.mask
import scipy.io

from cyclic.errors import InputError
from cyclic.files import label_files, read_json
from cyclic.label_maps import read_label_map

MAT_CLASS_KEYS = ("type_map", "class_map")


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
    come from `type_map` or `class_map` of .mat files, or from COCO categories if there are at least two.

    Raises:
        InputError: there is no such folder or file, or it holds no label maps. The readers raise it, too.
    """
    path = Path(path)
    if path.is_file() and path.suffix.lower() == ".json":
        return Source(path, _coco_readers(path))
    if path.is_file():
        raise InputError(f"{path}: neither a folder nor a COCO .json file; give one of these")
    files = label_files(path)
    scored = all(file.with_suffix(".geojson").is_file() for file in files.values())
    return Source(path, {name: partial(_read_file, file, scored) for name, file in files.items()})


def _read_file(path: Path, scored: bool) -> Nuclei:
    labels = read_label_map(path)
    confidence = _geojson_scores(path.with_suffix(".geojson"), labels) if scored else None
    classes = _mat_classes(path, labels) if path.suffix.lower() == ".mat" else None
    return Nuclei(labels, str(path), confidence, classes)


def _mat_classes(path: Path, labels: np.ndarray) -> np.ndarray | None:
    content = scipy.io.loadmat(path, variable_names=MAT_CLASS_KEYS)
    key = next((key for key in MAT_CLASS_KEYS if key in content), None)
    if key is None:
        return None
    classes = content[key]
    if classes.shape != labels.shape or (classes < 0).any() or (classes % 1).any():
        raise InputError(
            f"{path}: {key} is no map of classes 0, 1, ... in the shape {labels.shape}; repair or remove it"
        )
    return classes.astype(np.int32)


def _geojson_scores(path: Path, labels: np.ndarray) -> np.ndarray:
    """Return the scores of the nuclei, `[N]` float64 by ascending label, from GeoJSON features named by label."""
    content = read_json(path)
    try:
        features = [feature["properties"] for feature in content["features"]]
        scores = {int(properties["name"]): _score(properties["measurements"]) for properties in features}
    except (KeyError, TypeError, ValueError) as error:
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
        annotations: dict[int, list[dict]] = {image: [] for image in images}
        for annotation in content["annotations"]:
            if not annotation.get("iscrowd", 0):  # a crowd region is no nucleus
                annotations[annotation["image_id"]].append(annotation)
        names = {image: Path(images[image]["file_name"]).stem for image in images}
        every = [annotation for of_image in annotations.values() for annotation in of_image]
        scored = bool(every) and all("score" in annotation for annotation in every)
        with_classes = len(content.get("categories", ())) > 1
    except (KeyError, TypeError, AttributeError) as error:
        cure = "give a COCO data set (images, annotations, categories), not a bare list of results"
        raise InputError(f"{path}: not COCO's layout ({error!r}); {cure}") from error
    if not images or len(set(names.values())) < len(names):
        raise InputError(f"{path}: no images, or two with one id (file_name without suffix); give each image its id")
    return {
        names[image]: partial(_paint, path, images[image], annotations[image], scored, with_classes) for image in images
    }


def _paint(path: Path, image: dict, annotations: list[dict], scored: bool, with_classes: bool) -> Nuclei:
    """Return the nuclei of one image.

    Where masks overlap, the more confident one has the pixel; without scores the later one has it.
    """
    origin = f"{path} ({image['file_name']})"
    try:
        height, width = int(image["height"]), int(image["width"])
        labels, classes = np.zeros((2, height, width), np.int32)
        order: Sequence[int] = range(1, len(annotations) + 1)
        if scored:
            order = sorted(order, key=lambda label: float(annotations[label - 1]["score"]))
        for label in order:
            annotation = annotations[label - 1]
            rle = _rle(annotation["segmentation"], height, width)
            left, top, across, down = pycocotools.mask.toBbox(rle).astype(int)
            window = np.s_[top : top + down, left : left + across]
            mask = pycocotools.mask.decode(rle)[window] > 0
            labels[window][mask], classes[window][mask] = label, annotation["category_id"]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InputError(f"{origin}: an unreadable annotation ({error!r}); export the file again") from error
    visible = np.unique(labels[labels > 0])
    confidence = np.array([float(annotations[label - 1]["score"]) for label in visible]) if scored else None
    return Nuclei(labels, origin, confidence, classes if with_classes else None)


def _rle(segmentation: dict | list, height: int, width: int) -> dict:
    """Return compressed RLE of polygons, of uncompressed RLE (counts are a list) or of compressed RLE."""
    if isinstance(segmentation, list):
        return pycocotools.mask.merge(pycocotools.mask.frPyObjects(segmentation, height, width))
    if list(segmentation["size"]) != [height, width]:
        raise ValueError(f"size {segmentation['size']} in an image of {height} x {width}")
    if isinstance(segmentation["counts"], list):
        return pycocotools.mask.frPyObjects(segmentation, height, width)
    return segmentation


def first_few(names: list[str], shown: int = 5) -> str:
    """Return the first names with commas between, and how many more there are."""
    return ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")
