"""How much each component looks like one whole, well-outlined nucleus."""

from dataclasses import dataclass, fields

import cv2
import numpy as np
from scipy import ndimage
from skimage.filters import threshold_otsu

# The ring around a component starts here (the outline itself is blurred) and ends at RING_END, in pixels.
RING_START = 1
RING_END = 5
# A ring pixel is clear when the map there is below this share of the component's response.
CLEAR_SHARE = 0.6
# Exponents that spread solidity and ellipse fit, which lie close to 1 for good and bad alike, over [0, 1].
SOLIDITY_POWER = 4
ELLIPSE_POWER = 8
# Width of the size prior in units of log area: 1 lets a nucleus 2.7 times as large as the others keep 0.6.
SIZE_WIDTH = 1.0
# A nucleus cut by the image border shows no whole shape.
BORDER_FACTOR = 0.7


@dataclass
class ComponentScores:
    """One entry a component, in the order of `ids`; all arrays `[N]`, float32 where nothing else is said.

    Attributes:
        ids: int32, the component's label.
        area: int64, pixels.
        solidity: area over convex hull area, in (0, 1].
        ellipse_fit: area over the area of the ellipse with the same second moments, in (0, 1]; 1 for an ellipse, low
            for ragged, bent or branched components and for clumps.
        contrast: mean map inside minus mean map in the ring, over the mean inside; clipped to [0, 1].
        isolation: share of the ring that lies in no other component and is clearly darker than the component, [0, 1].
        size_prior: 1 at the expected area, falling with the log ratio to it, in (0, 1].
        response: mean map inside, in [0, 1].
        agreement: overlap (IoU) of the component with the foreground of the second map; 1 without a second map.
        on_border: bool, the component touches the image border.
        confidence: geometric mean of the factors above, in [0, 1].
    """

    ids: np.ndarray
    area: np.ndarray
    solidity: np.ndarray
    ellipse_fit: np.ndarray
    contrast: np.ndarray
    isolation: np.ndarray
    size_prior: np.ndarray
    response: np.ndarray
    agreement: np.ndarray
    on_border: np.ndarray
    confidence: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, index: np.ndarray) -> "ComponentScores":
        """Return the entries at `index` (integer or bool) in that order."""
        return ComponentScores(**{field.name: getattr(self, field.name)[index] for field in fields(self)})


def score_components(
    labels: np.ndarray,
    image_map: np.ndarray,
    second_map: np.ndarray | None = None,
    expected_area: float | None = None,
) -> ComponentScores:
    """Return the scores of the components in `labels`.

    The paper ranks by area and solidity. The confidence here is the geometric mean of solidity, ellipse fit, size
    prior, contrast, isolation and, with a second map, agreement: a component has to be good in every respect.

    Args:
        labels: `[H, W]` integer, 0 = background.
        image_map: `[H, W]` float in [0, 1], the map that the components come from.
        second_map: `[H, W]` float in [0, 1], an independent map of the same image.
        expected_area: area of a typical nucleus in pixels; None: `typical_area` of these components.
    """
    if image_map.shape != labels.shape or (second_map is not None and second_map.shape != labels.shape):
        raise ValueError(f"the maps must have the label map's shape {labels.shape}")
    second_mask = None if second_map is None else _foreground(second_map)
    boxes = ndimage.find_objects(labels)
    ids = np.array([label for label, box in enumerate(boxes, 1) if box is not None], np.int32)
    rows = [_measure(labels, image_map, second_mask, label, boxes[label - 1]) for label in ids]
    measured = np.array(rows, np.float64).reshape(len(ids), 7)
    area, solidity, ellipse_fit, contrast, isolation, response, agreement = measured.T
    expected_area = typical_area(area) if expected_area is None else expected_area
    size_prior = np.exp(-0.5 * (np.log(area / expected_area) / SIZE_WIDTH) ** 2) if len(ids) else area
    on_border = np.array([_touches_border(boxes[label - 1], labels.shape) for label in ids], bool)
    factors = [solidity**SOLIDITY_POWER, ellipse_fit**ELLIPSE_POWER, size_prior, contrast, isolation]
    if second_map is not None:
        factors.append(agreement)
    confidence = np.prod(factors, axis=0) ** (1.0 / len(factors)) * np.where(on_border, BORDER_FACTOR, 1.0)
    return ComponentScores(
        ids=ids,
        area=area.astype(np.int64),
        solidity=solidity.astype(np.float32),
        ellipse_fit=ellipse_fit.astype(np.float32),
        contrast=contrast.astype(np.float32),
        isolation=isolation.astype(np.float32),
        size_prior=size_prior.astype(np.float32),
        response=response.astype(np.float32),
        agreement=agreement.astype(np.float32),
        on_border=on_border,
        confidence=confidence.astype(np.float32),
    )


def typical_area(areas: np.ndarray) -> float:
    """Return the area-weighted median of `areas` (`[N]`): half of all nuclear pixels lie in smaller components.

    Fragments are many but small, so the plain median would follow them. 1 where there is no component.
    """
    if len(areas) == 0:
        return 1.0
    ordered = np.sort(areas)
    cumulated = np.cumsum(ordered)
    return float(ordered[np.searchsorted(cumulated, cumulated[-1] / 2)])


def mean_within(image_map: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the mean of a map in each of the labels 1..N, `[N]` float64; 0 for a label without pixels.

    Args:
        image_map: `[H, W]` float.
        labels: `[H, W]` integer, 0 = background.
    """
    area = np.bincount(labels.ravel())[1:]
    return np.bincount(labels.ravel(), image_map.ravel())[1:] / np.maximum(area, 1)


def _foreground(image_map: np.ndarray) -> np.ndarray:
    if image_map.min() == image_map.max():
        return np.zeros(image_map.shape, bool)
    return image_map > threshold_otsu(image_map)


def _touches_border(box: tuple[slice, slice], shape: tuple[int, int]) -> bool:
    return any(side.start == 0 or side.stop == size for side, size in zip(box, shape, strict=True))


def _disk(radius: int) -> np.ndarray:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))


def _measure(
    labels: np.ndarray, image_map: np.ndarray, second_mask: np.ndarray | None, label: int, box: tuple[slice, slice]
) -> tuple[float, ...]:
    """Return area, solidity, ellipse fit, contrast, isolation, response and agreement of one component."""
    crop = tuple(slice(max(side.start - RING_END, 0), side.stop + RING_END) for side in box)
    around, values = labels[crop], image_map[crop]
    component = around == label
    pixels = component.astype(np.uint8)
    near = cv2.dilate(pixels, _disk(RING_START)) > 0
    ring = (cv2.dilate(pixels, _disk(RING_END)) > 0) & ~near
    free = ring & (around == 0)
    response = float(values[component].mean())
    # A component that others surround on all sides has no background to stand out from.
    outside = float(values[free].mean()) if free.any() else response
    contrast = float(np.clip((response - outside) / max(response, 1e-6), 0.0, 1.0))
    isolation = float((values[free] < CLEAR_SHARE * response).sum() / max(ring.sum(), 1))
    agreement = 1.0
    if second_mask is not None:
        # Pixels of other components say nothing about this one.
        other = second_mask[crop] & (cv2.dilate(pixels, _disk(RING_END)) > 0) & ((around == 0) | component)
        agreement = (other & component).sum() / (other | component).sum()
    area = int(pixels.sum())
    return area, area / hull_mask(component).sum(), ellipse_fit(component), contrast, isolation, response, agreement


def hull_mask(component: np.ndarray) -> np.ndarray:
    """Return the convex hull of the True pixels of `component` (`[h, w]` bool, at least one True) as `[h, w]` bool."""
    points = np.argwhere(component)[:, ::-1].astype(np.int32)
    hull = np.zeros(component.shape, np.uint8)
    cv2.fillConvexPoly(hull, cv2.convexHull(points), 1)
    return (hull > 0) | component


def ellipse_fit(component: np.ndarray) -> float:
    """Return the area of the True pixels of `component` (`[h, w]` bool, at least one True) over the area of the ellipse
    with the same second moments, in (0, 1]."""
    y, x = np.nonzero(component)
    # A pixel is a unit square: its own second moment is 1/12.
    var_y, var_x = y.var() + 1 / 12, x.var() + 1 / 12
    cov = np.mean((y - y.mean()) * (x - x.mean()))
    ellipse_area = 4.0 * np.pi * np.sqrt(max(var_y * var_x - cov**2, 1e-9))
    return float(min(len(y) / ellipse_area, 1.0))
