"""What the method made of one image, step by step, as layers of an SVG drawing over the tissue.

Outlines are vectors: they are sharp at any size, and many layers of them cost less than one picture. Pictures are WebP
data URIs.
"""

import base64
import io
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import scipy.ndimage as ndi
from markupsafe import Markup
from PIL import Image

from cyclic.draw.colours import OUTLINE_COLORS, map_colors, neighbour_colors
from cyclic.errors import InputError
from cyclic.evaluation.error_types import find_errors
from cyclic.evaluation.matching import contingency
from cyclic.images import read_image
from cyclic.label_maps import read_label_map
from cyclic.pseudo.masks import load_pseudo_masks
from cyclic.runs.paths import RunPaths

# Longest side of the tissue in px, and of soft or coarse pictures over it.
PICTURE_SIDE, MAP_SIDE = 800, 400
QUALITY = 70
# An outline may leave out points that lie this close (px) to the straight line.
SIMPLIFY = 0.7


@dataclass
class Layer:
    """One position of the slider.

    Attributes:
        name: such as "Cycle 1: pseudo masks".
        note: what there is to see.
        drawing: SVG elements in source pixels, laid over the tissue.
        legend: which legend goes with it: "", "map", "ignore" or "errors".
        counts: number of nuclei of each error class, for "errors".
    """

    name: str
    note: str
    drawing: Markup = Markup("")
    legend: str = ""
    counts: dict[str, int] = field(default_factory=dict)


def picture_uri(image: np.ndarray, side: int = PICTURE_SIDE) -> str:
    """Return `image` (`[H, W, 3]` uint8), made smaller if a side exceeds `side`, as a WebP data URI."""
    return _data_uri(Image.fromarray(_shrink(image, side)), "webp", quality=QUALITY)


def image_layers(run: RunPaths, name: str, image: np.ndarray, true: np.ndarray | None) -> list[Layer]:
    """Return the layers of one image in the order in which the run made them.

    First is the bare image. Each cycle adds its activation map, its pseudo masks and the prediction of its last round.
    The errors of the last prediction and the ground truth come last. What the run has not made yet is left out.

    Args:
        run: paths of the run.
        name: image id.
        image: `[H, W, 3]` uint8.
        true: `[H, W]` integer ground truth, or None. Of a training image it is always None.

    Raises:
        InputError: a file of the run is broken or does not fit the image.
    """
    layers = [Layer("Image", "The tissue as the network sees it.")]
    prediction = None
    for number in run.cycles():
        cycle, title = run.cycle(number), f"Cycle {number}"
        if cycle.map(name).is_file():
            layers.append(_map_layer(title, cycle.map(name), image))
        # The scores are written last: without them the pseudo masks are not complete.
        if (cycle.pseudo() / "scores" / f"{name}.json").is_file():
            layers.append(_pseudo_layer(title, cycle.pseudo(), name, image))
        rounds = [r for r in cycle.rounds() if cycle.round(r).prediction(name).is_file()]
        if rounds:
            prediction = read_fitting_labels(cycle.round(rounds[-1]).prediction(name), image)
            note = f"{_count(prediction)} nuclei found ({network_name(rounds[-1])})."
            layers.append(Layer(f"{title}: prediction", note, _outlines(prediction)))
    if true is not None:
        if prediction is not None:
            layers.append(_error_layer(true, prediction))
        layers.append(Layer("Ground truth", f"{_count(true)} nuclei; the run never learnt from them.", _outlines(true)))
    return layers


def read_fitting_labels(path: Path, image: np.ndarray) -> np.ndarray:
    """Return the label map at `path`, which must have the height and width of `image`.

    Raises:
        InputError: it is broken or of another size.
    """
    labels = read_label_map(path)
    _require_same_size(path, labels, image)
    return labels


def network_name(round_: int) -> str:
    """Return "teacher" for round 0, else "student 1", "student 2", ..."""
    return f"student {round_}" if round_ else "teacher"


def _map_layer(title: str, path: Path, image: np.ndarray) -> Layer:
    activation = read_image(path)[..., 0]
    _require_same_size(path, activation, image)
    colors = map_colors(activation / 255)
    note = "Where the classifier sees nuclei. It was told only whether a tile holds any."
    return Layer(
        f"{title}: activation map", note, _image_element(picture_uri(colors, MAP_SIDE), activation.shape), "map"
    )


def _pseudo_layer(title: str, folder: Path, name: str, image: np.ndarray) -> Layer:
    pseudo = load_pseudo_masks(folder, name)
    _require_same_size(folder / "labels" / f"{name}.tif", pseudo.labels, image)
    # A two-colour picture: clear, and white that the style sheet makes half transparent.
    veil = Image.fromarray(_shrink(pseudo.ignore.astype(np.uint8), MAP_SIDE, cv2.INTER_NEAREST))
    veil = veil.convert("P")
    veil.putpalette([0, 0, 0, 255, 255, 255])
    uri = _data_uri(veil, "png", transparency=0, bits=1, optimize=True)
    drawing = _image_element(uri, pseudo.labels.shape, "veil") + _outlines(pseudo.labels)
    note = f"The {len(pseudo.confidence)} components trusted most. Mask R-CNN learns from those of training images."
    return Layer(f"{title}: pseudo masks", note, drawing, "ignore")


def _error_layer(true: np.ndarray, pred: np.ndarray) -> Layer:
    overlaps = contingency(true, pred)
    errors = find_errors(overlaps)
    missed = overlaps.true_ids[errors.of_true == "missed"]
    drawing = _shapes(np.where(np.isin(true, missed), true, 0), dict.fromkeys(missed.tolist(), "missed"))
    drawing += _shapes(pred, dict(zip(overlaps.pred_ids.tolist(), errors.of_pred.tolist(), strict=True)))
    note = "The last prediction against the ground truth, matched at IoU over 0.5."
    return Layer("Errors", note, drawing, "errors", errors.counts)


def _outlines(labels: np.ndarray) -> Markup:
    colors = neighbour_colors(labels, len(OUTLINE_COLORS))
    return _shapes(labels, {label: f"o{color}" for label, color in enumerate(colors.tolist())})


def _shapes(labels: np.ndarray, css: dict[int, str]) -> Markup:
    """Return the outlines of all labels, one `<path>` for each class; `css` maps a label to its class."""
    paths: dict[str, list[str]] = {}
    for label, where in enumerate(ndi.find_objects(labels), 1):
        if where is not None:
            corner = (where[1].start, where[0].start)
            paths.setdefault(css[label], []).extend(_contours(labels[where] == label, corner))
    drawn = (f'<path class="{name}" d="{"".join(parts)}"/>' for name, parts in sorted(paths.items()))
    # Contours run through pixel centres, SVG counts from pixel corners.
    return Markup(f'<g class="shapes" transform="translate(.5 .5)">{"".join(drawn)}</g>')


def _contours(mask: np.ndarray, corner: tuple[int, int]) -> Iterable[str]:
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    for contour in contours:
        points = cv2.approxPolyDP(contour, SIMPLIFY, closed=True)[:, 0] + corner
        moves = " ".join(f"{x} {y}" for x, y in np.diff(points, axis=0).tolist())
        yield f"M{points[0, 0]} {points[0, 1]}l{moves.replace(' -', '-')}z" if moves else "M{} {}z".format(*points[0])


def _image_element(uri: str, shape: tuple[int, ...], css: str = "map") -> Markup:
    height, width = shape[:2]
    return Markup('<image class="{}" href="{}" width="{}" height="{}" preserveAspectRatio="none"/>').format(
        css, uri, width, height
    )


def _shrink(image: np.ndarray, side: int, interpolation: int = cv2.INTER_AREA) -> np.ndarray:
    factor = side / max(image.shape[:2])
    if factor >= 1:
        return image
    return cv2.resize(image, None, fx=factor, fy=factor, interpolation=interpolation)


def _data_uri(image: Image.Image, format_: str, **options) -> str:
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return f"data:image/{format_};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _require_same_size(path: Path, content: np.ndarray, image: np.ndarray) -> None:
    if content.shape != image.shape[:2]:
        size = f"shape {content.shape}, its image has {image.shape[:2]}"
        raise InputError(f"{path}: {size}; give this run's data set as --data")


def _count(labels: np.ndarray) -> int:
    return int((np.bincount(labels.ravel())[1:] > 0).sum())
