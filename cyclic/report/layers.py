"""What the method made of one image, step by step, as layers of an SVG drawing over the tissue.

Outlines are vectors: sharp at any size, and many layers cost less than one more picture. Pictures are WebP data URIs.
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

from cyclic.draw.overlays import ERROR_COLORS, OUTLINE_COLORS, error_classes, map_colors, neighbour_colors
from cyclic.errors import InputError
from cyclic.evaluation.matching import contingency
from cyclic.files import read_image, read_label_map
from cyclic.pseudo.select import load_pseudo_masks

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
        note: one sentence on what to see.
        drawing: SVG elements in source pixels, laid over the tissue.
        legend: which legend goes with it: "", "map", "ignore" or "errors".
        counts: number of nuclei of each error class, for "errors".
    """

    name: str
    note: str
    drawing: Markup = Markup("")
    legend: str = ""
    counts: dict[str, int] = field(default_factory=dict)


def picture(image: np.ndarray, side: int = PICTURE_SIDE) -> str:
    """Return `image` (`[H, W, 3]` uint8), made smaller if a side exceeds `side`, as a WebP data URI."""
    return _data_uri(Image.fromarray(_shrunk(image, side)), "webp", quality=QUALITY)


def image_layers(run: Path, name: str, image: np.ndarray, true: np.ndarray | None) -> list[Layer]:
    """Return the layers of one image in the order in which the run made them.

    The bare image; of each cycle the activation map, the pseudo masks and the prediction of its last round; the errors
    of the last prediction and the ground truth. What the run has not made yet is left out.

    Args:
        run: the run directory.
        name: image id.
        image: `[H, W, 3]` uint8.
        true: `[H, W]` integer ground truth, or None. Of a training image it is always None.

    Raises:
        InputError: a file of the run is broken or does not fit the image.
    """
    layers = [Layer("Image", "The tissue as the network sees it.")]
    prediction = None
    for cycle in numbered(run, "cycle"):
        folder, title = run / f"cycle_{cycle}", f"Cycle {cycle}"
        map_file = folder / "maps" / f"{name}.png"
        if map_file.is_file():
            layers.append(_map_layer(title, fitting(map_file, read_image(map_file)[..., 0], image)))
        if (folder / "pseudo" / "scores" / f"{name}.json").is_file():
            layers.append(_pseudo_layer(title, folder / "pseudo", name, image))
        rounds = [r for r in numbered(folder, "round") if prediction_file(run, cycle, r, name).is_file()]
        if rounds:
            path = prediction_file(run, cycle, rounds[-1], name)
            prediction = fitting(path, read_label_map(path), image)
            note = f"{_count(prediction)} nuclei found ({network_name(rounds[-1])})."
            layers.append(Layer(f"{title}: prediction", note, _outlines(prediction)))
    if true is not None:
        if prediction is not None:
            layers.append(_error_layer(true, prediction))
        layers.append(Layer("Ground truth", f"{_count(true)} nuclei; the run never learnt from them.", _outlines(true)))
    return layers


def numbered(folder: Path, word: str) -> list[int]:
    """Return the numbers of the folders `word_1`, `word_2` ... in `folder`, ascending."""
    return sorted(int(path.name.split("_")[1]) for path in folder.glob(f"{word}_*") if path.is_dir())


def prediction_file(run: Path, cycle: int, round_: int, name: str) -> Path:
    """Return where the run writes the predicted label map of an image."""
    return run / f"cycle_{cycle}" / f"round_{round_}" / "predictions" / f"{name}.tif"


def network_name(round_: int) -> str:
    """Return "teacher" for round 0, else "student 1", "student 2", ..."""
    return f"student {round_}" if round_ else "teacher"


def _map_layer(title: str, activation: np.ndarray) -> Layer:
    colors = map_colors(activation / 255)
    note = "Where the classifier sees nuclei; it was told only whether a tile holds any."
    return Layer(f"{title}: activation map", note, _laid_over(picture(colors, MAP_SIDE), activation.shape), "map")


def _pseudo_layer(title: str, folder: Path, name: str, image: np.ndarray) -> Layer:
    pseudo = load_pseudo_masks(folder, name)
    fitting(folder / "labels" / f"{name}.tif", pseudo.labels, image)
    # A two-colour picture: clear, and white that the style sheet makes half transparent.
    veil = Image.fromarray(_shrunk(pseudo.ignore.astype(np.uint8), MAP_SIDE, cv2.INTER_NEAREST))
    veil = veil.convert("P")
    veil.putpalette([0, 0, 0, 255, 255, 255])
    uri = _data_uri(veil, "png", transparency=0, bits=1, optimize=True)
    drawing = _laid_over(uri, pseudo.labels.shape, "veil") + _outlines(pseudo.labels)
    note = f"The {len(pseudo.confidence)} components trusted most; from those of training images Mask R-CNN learns."
    return Layer(f"{title}: pseudo masks", note, drawing, "ignore")


def _error_layer(true: np.ndarray, pred: np.ndarray) -> Layer:
    overlaps = contingency(true, pred)
    true_class, pred_class = error_classes(overlaps)
    missed = overlaps.true_ids[np.array(true_class, dtype="<U6") == "missed"]
    drawing = _shapes(np.where(np.isin(true, missed), true, 0), dict.fromkeys(missed.tolist(), "missed"))
    drawing += _shapes(pred, dict(zip(overlaps.pred_ids.tolist(), pred_class, strict=True)))
    counts = {kind: pred_class.count(kind) for kind in ERROR_COLORS}
    counts |= {"missed": true_class.count("missed"), "split": true_class.count("split")}
    note = "The last prediction against the ground truth, matched at IoU over 0.5."
    return Layer("Errors", note, drawing, "errors", counts)


def _outlines(labels: np.ndarray) -> Markup:
    colors = neighbour_colors(labels, len(OUTLINE_COLORS))
    return _shapes(labels, {label: f"o{color}" for label, color in enumerate(colors.tolist())})


def _shapes(labels: np.ndarray, css: dict[int, str]) -> Markup:
    """Return one `<path>` for each class in `css` (label -> class) with the outlines of its labels."""
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


def _laid_over(uri: str, shape: tuple[int, ...], css: str = "map") -> Markup:
    height, width = shape[:2]
    return Markup('<image class="{}" href="{}" width="{}" height="{}" preserveAspectRatio="none"/>').format(
        css, uri, width, height
    )


def _shrunk(image: np.ndarray, side: int, interpolation: int = cv2.INTER_AREA) -> np.ndarray:
    factor = side / max(image.shape[:2])
    if factor >= 1:
        return image
    return cv2.resize(image, None, fx=factor, fy=factor, interpolation=interpolation)


def _data_uri(image: Image.Image, format_: str, **options) -> str:
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return f"data:image/{format_};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def fitting(path: Path, found: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Return `found`, `[H, W]`, the content of `path`, if `image` has the same H and W; else raise InputError."""
    if found.shape != image.shape[:2]:
        size = f"shape {found.shape}, its image has {image.shape[:2]}"
        raise InputError(f"{path}: {size}; give this run's data set as --data")
    return found


def _count(labels: np.ndarray) -> int:
    return int((np.bincount(labels.ravel())[1:] > 0).sum())
