"""Size and shape of each nucleus."""

from collections.abc import Iterator

import numpy as np
import scipy.ndimage as ndi
from skimage.measure import regionprops_table

# Measurements after label, score, x and y: skimage's name, ours, and the power of the unit of length in it.
MEASUREMENTS = (
    ("area", "area", 2),
    ("perimeter", "perimeter", 1),
    ("equivalent_diameter_area", "equivalent_diameter", 1),
    ("axis_major_length", "major_axis", 1),
    ("axis_minor_length", "minor_axis", 1),
    ("eccentricity", "eccentricity", 0),
    ("solidity", "solidity", 0),
    ("orientation", "orientation", 0),
)


def measure(
    labels: np.ndarray, scores: np.ndarray, pixel_size: float | None = None, offset: tuple[int, int] = (0, 0)
) -> dict[str, np.ndarray]:
    """Return label, score, centroid, size and shape of each nucleus, `{name: [N]}` by ascending label.

    Names carry their unit: `area_px2`, or `area_um2` with `pixel_size`. x and y are the centroid, pixel (0, 0) covering
    [0, 1] x [0, 1]; orientation is the angle in radians from the y axis to the major axis, counter-clockwise.
    Otherwise the definitions are those of `skimage.measure.regionprops`.

    Args:
        labels: `[H, W]` int.
        scores: `[N]` float, of label i at i - 1.
        pixel_size: side of a pixel in micrometres; None: measure in px.
        offset: (x, y) in px of the map's corner in its image, from which x and y count.

    Raises:
        ValueError: fewer scores than labels, or `pixel_size` not over 0.
    """
    require_scores(labels, scores)
    if pixel_size is not None and not pixel_size > 0:
        raise ValueError(f"pixel_size is {pixel_size}; give the side of a pixel in micrometres, over 0")
    scale, unit = (1.0, "px") if pixel_size is None else (float(pixel_size), "um")
    names = ("label", "centroid", *(theirs for theirs, _, _ in MEASUREMENTS))
    found = regionprops_table(np.asarray(labels), properties=names)
    measured = {
        "label": found["label"],
        "score": np.round(np.asarray(scores, float)[found["label"] - 1], 6),
        f"x_{unit}": (found["centroid-1"] + (offset[0] + 0.5)) * scale,
        f"y_{unit}": (found["centroid-0"] + (offset[1] + 0.5)) * scale,
    }
    for theirs, name, power in MEASUREMENTS:
        suffix = ("", f"_{unit}", f"_{unit}2")[power]
        measured[name + suffix] = found[theirs] * scale**power
    return measured


def nuclei(labels: np.ndarray, scores: np.ndarray) -> Iterator[tuple[int, slice, slice]]:
    """Yield label, rows and columns of each nucleus that has pixels."""
    require_scores(labels, scores)
    for label, where in enumerate(ndi.find_objects(labels), 1):
        if where is not None:
            yield label, *where


def require_scores(labels: np.ndarray, scores: np.ndarray) -> None:
    """Raise ValueError if a label has no score."""
    if len(scores) < labels.max(initial=0):
        raise ValueError(f"{len(scores)} scores for labels up to {labels.max()}; give one for each label")
