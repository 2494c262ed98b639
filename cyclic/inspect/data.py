"""`inspect_data.ipynb`: images, labels, statistics of the nuclei, and tiles."""

from collections.abc import Iterable, Sequence

import matplotlib.pyplot as plt
import numpy as np
import scipy.spatial
from skimage.measure import regionprops_table

from cyclic.config import TilesConfig
from cyclic.datasets.augment import flip_turn, stain_jitter
from cyclic.datasets.dataset import NucleiDataset
from cyclic.datasets.tile_cutting import MAX_COVERAGE_NEGATIVE, MIN_COVERAGE, negative_stride, tile_coverage
from cyclic.draw.colours import OUTLINE_COLORS, neighbour_colors
from cyclic.draw.overlays import contour_overlay
from cyclic.errors import InputError
from cyclic.evaluation.classes import nucleus_classes
from cyclic.images import read_shape
from cyclic.inspect.drawing import crop_middle, show_histograms, show_pictures
from cyclic.stain import hematoxylin_map

# What `regionprops` measures of a nucleus, and the title of its histogram.
SHAPES = {
    "area": "area, px",
    "equivalent_diameter_area": "equivalent diameter, px",
    "eccentricity": "eccentricity (0: round)",
    "solidity": "solidity (1: convex)",
}


def image_rows(datasets: dict[str, NucleiDataset | None]) -> list[dict]:
    """Return a row for each image: its split, its size, its nuclei.

    Args:
        datasets: `{split: data set}`; None where there is no such split.
    """
    present = {split: dataset for split, dataset in datasets.items() if dataset is not None}
    return [_image_row(split, dataset, name) for split, dataset in present.items() for name in dataset.ids]


def _image_row(split: str, dataset: NucleiDataset, name: str) -> dict:
    height, width = dataset.image(name).shape[:2]
    row = {"image": name, "split": split, "height": height, "width": width, "nuclei": None, "covered": None}
    if dataset.has_labels(name):
        labels = dataset.label_map(name)
        row |= {"nuclei": len(np.unique(labels[labels > 0])), "covered": float((labels > 0).mean())}
    return row


def show_images(dataset: NucleiDataset, names: Sequence[str]) -> plt.Figure:
    """Show images side by side."""
    return show_pictures([(name, dataset.image(name)) for name in names])


def show_labels(dataset: NucleiDataset, name: str) -> plt.Figure:
    """Show the middle of an image, its outlined nuclei, and its label map. Neighbours have different colours."""
    image, labels = crop_middle(dataset.image(name)), crop_middle(dataset.label_map(name))
    filled = OUTLINE_COLORS[neighbour_colors(labels, len(OUTLINE_COLORS))][labels] * (labels > 0)[..., None]
    pictures = [(name, image), ("outlines", contour_overlay(image, labels)), ("label map", filled)]
    return show_pictures(pictures, columns=3)


def measure_nuclei(dataset: NucleiDataset, names: Iterable[str]) -> dict[str, np.ndarray]:
    """Return measures of all nuclei: the shapes in `SHAPES`, and `nearest`, the distance to the next centre in px."""
    collected: dict[str, list[np.ndarray]] = {key: [np.zeros(0)] for key in (*SHAPES, "nearest")}
    for name in names:
        labels = dataset.label_map(name)
        measured = regionprops_table(labels, properties=("centroid", *SHAPES))
        centres = np.stack([measured.pop("centroid-0"), measured.pop("centroid-1")], axis=1)
        if len(centres) > 1:
            measured["nearest"] = scipy.spatial.cKDTree(centres).query(centres, k=2)[0][:, 1]
        for key, values in measured.items():
            collected[key].append(values)
    return {key: np.concatenate(values) for key, values in collected.items()}


def show_measurements(measured: dict[str, np.ndarray]) -> plt.Figure:
    """Draw a histogram of each measure that `measure_nuclei` returns."""
    titles = SHAPES | {"nearest": "distance to the next nucleus, px"}
    return show_histograms({titles[key]: values for key, values in measured.items()}, columns=5)


def size_rows(measured: dict[str, np.ndarray]) -> list[dict]:
    """Return quantiles of the nuclei's sizes. `min_area`, `max_area` and the anchors have to fit them.

    Without nuclei they are None.
    """
    rows = []
    for share in (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99):
        sizes = {SHAPES[key]: measured[key] for key in list(SHAPES)[:2]}
        quantiles = {name: float(np.quantile(values, share)) if len(values) else None for name, values in sizes.items()}
        rows.append({"share of nuclei below": f"{share:.0%}", **quantiles})
    return rows


def class_rows(dataset: NucleiDataset, names: Iterable[str]) -> list[dict]:
    """Return the number of nuclei of each class; no row if the labels have no classes."""
    counts: dict[int, int] = {}
    for name in names:
        types = dataset.type_map(name)
        for class_ in () if types is None else nucleus_classes(dataset.label_map(name), types).tolist():
            counts[class_] = counts.get(class_, 0) + 1
    return [{"class": class_, "nuclei": count} for class_, count in sorted(counts.items())]


def show_stain(dataset: NucleiDataset, names: Iterable[str]) -> plt.Figure:
    """Draw how much hematoxylin lies inside and outside of nuclei.

    The less the two overlap, the better stain alone parts nuclei from the rest.
    """
    inside, outside = [np.zeros(0)], [np.zeros(0)]
    for name in names:
        stain, nuclei = hematoxylin_map(dataset.image(name)), dataset.label_map(name) > 0
        inside.append(stain[nuclei])
        outside.append(stain[~nuclei])
    figure, ax = plt.subplots(figsize=(7, 3), layout="constrained")
    for values, label, color in ((inside, "nuclei", "#0072b2"), (outside, "the rest", "#e69f00")):
        pixels = np.concatenate(values)
        if len(pixels):  # a density of nothing is not defined
            ax.hist(pixels, bins=60, range=(0, 1), density=True, alpha=0.6, label=label, color=color)
    ax.set_xlabel("hematoxylin")
    ax.set_ylabel("density")
    if ax.patches:
        ax.legend()
    return figure


def show_tiles(dataset: NucleiDataset, name: str, settings: TilesConfig, shown: int = 8) -> plt.Figure:
    """Show tiles of an image as the annotator sorts them: with nuclei, and without.

    Raises:
        InputError: the image is smaller than a tile.
    """
    _check_side(dataset, name, settings)
    image, nuclei, size = dataset.image(name), dataset.label_map(name) > 0, settings.size
    corners, coverage = tile_coverage(nuclei, size, negative_stride(settings.stride))
    rng, pictures = np.random.default_rng(0), []
    for kind, wanted in (
        ("positive", coverage >= MIN_COVERAGE),
        ("negative", coverage <= MAX_COVERAGE_NEGATIVE),
    ):
        chosen = np.flatnonzero(wanted)
        for index in rng.permutation(chosen)[:shown]:
            y, x = corners[index]
            pictures.append((f"{kind}, {coverage[index]:.0%} nuclei", image[y : y + size, x : x + size]))
    return show_pictures(pictures, columns=shown)


def tile_rows(dataset: NucleiDataset, names: Iterable[str], settings: TilesConfig) -> list[dict]:
    """Return how many tiles of each image are positive, negative, and neither, before they are balanced.

    Raises:
        InputError: an image is smaller than a tile.
    """
    rows = []
    for name in names:
        _check_side(dataset, name, settings)
        coverage = tile_coverage(dataset.label_map(name) > 0, settings.size, settings.stride)[1]
        positive = int((coverage >= MIN_COVERAGE).sum())
        negative = int((coverage <= MAX_COVERAGE_NEGATIVE).sum())
        counts = {"positive": positive, "negative": negative, "neither": len(coverage) - positive - negative}
        rows.append({"image": name, **counts})
    return rows


def _check_side(dataset: NucleiDataset, name: str, settings: TilesConfig) -> None:
    shape = read_shape(dataset.image_path(name))
    if min(shape) < settings.size:
        raise InputError(
            f"{dataset.image_path(name)}: {shape[0]} x {shape[1]} pixels, smaller than a tile of {settings.size}; "
            "choose a smaller size"
        )


def show_augmentations(dataset: NucleiDataset, name: str, size: int = 128, sigma: float = 0.05) -> plt.Figure:
    """Show a corner of an image as training sees it: flipped, turned, with varied stains."""
    rng = np.random.default_rng(0)
    crop = dataset.image(name)[:size, :size]
    varied = [(f"variant {k}", stain_jitter(flip_turn(rng, crop)[0], rng, sigma)) for k in range(1, 6)]
    return show_pictures([("original", crop), *varied], columns=6)
