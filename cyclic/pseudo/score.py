"""How much each component looks like one whole, well-outlined nucleus."""

from dataclasses import dataclass, fields

import cv2
import numpy as np
from scipy import ndimage

from cyclic.labels import areas, disk, ellipse_fits, hull_mask, mean_within

# The ring around a component starts here (the outline itself is blurred) and ends at RING_END, in pixels.
RING_START = 1
RING_END = 5
INNER, OUTER = disk(RING_START), disk(RING_END)
# The rim is this wide on either side of the outline, in pixels, and each of its pixels is compared with those outside
# in a square of RIM_WINDOW.
RIM = 2
RIM_WIDTH, RIM_OUTER = disk(RIM), disk(RING_START + RIM)
RIM_WINDOW = (7, 7)
# A ring pixel is clear when the map there is below this share of the component's response.
CLEAR_SHARE = 0.6
# How much each factor counts: exponents of their product. Solidity and ellipse fit lie close to 1 for good and bad
# alike. The labels of training images chose them.
POWERS = {"solidity": 2, "ellipse_fit": 4, "size_prior": 0.5, "contrast": 0.5, "isolation": 0.25, "agreement": 0.2}
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
        ellipse_fit: see `cyclic.labels.ellipse_fits`; low for ragged, bent or branched components and for clumps.
        contrast: how much the map falls at the outline, the mean of its rim, over the mean inside; clipped to [0, 1].
        isolation: share of the ring that lies in no other component and is clearly darker than the component, [0, 1].
        size_prior: 1 at the expected area, falling with the log ratio to it, in (0, 1].
        response: mean map inside, in [0, 1].
        agreement: mean of the activation map inside, in [0, 1]; 1 where no map is asked.
        on_border: bool, the component touches the image border.
        confidence: how much the component looks like a nucleus, see `score_components`, in [0, 1].
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
    source: np.ndarray,
    expected_area: float | None = None,
    activation: np.ndarray | None = None,
) -> ComponentScores:
    """Return the scores of the components in `labels`.

    The paper ranks by area and solidity. The confidence here is a product of solidity, ellipse fit, size prior,
    contrast, isolation and agreement, each with its power: a component has to be good in every respect.

    Args:
        labels: `[H, W]` integer, 0 = background.
        source: `[H, W]` float in [0, 1], the map that the components come from.
        expected_area: area of a typical nucleus in pixels; None: `typical_area` of these components.
        activation: `[H, W]` float in [0, 1], the classifier's map to agree with; None: nobody is asked.
    """
    if source.shape != labels.shape:
        raise ValueError(f"map of shape {source.shape}; it must have the label map's shape {labels.shape}")
    boxes = ndimage.find_objects(labels)
    ids = np.array([label for label, box in enumerate(boxes, 1) if box is not None], np.int32)
    area, response, ellipse_fit = (
        values[ids - 1] for values in (areas(labels), mean_within(source, labels), ellipse_fits(labels))
    )
    rows = [_measure(labels, source, label, boxes[label - 1], mean) for label, mean in zip(ids, response, strict=True)]
    solidity, contrast, isolation = np.array(rows, np.float64).reshape(len(ids), 3).T
    expected_area = typical_area(area) if expected_area is None else expected_area
    size_prior = np.exp(-0.5 * (np.log(area / expected_area) / SIZE_WIDTH) ** 2) if len(ids) else area
    on_border = np.array([_touches_border(boxes[label - 1], labels.shape) for label in ids], bool)
    agreement = np.ones(len(ids)) if activation is None else mean_within(activation, labels)[ids - 1]
    factors = {
        "solidity": solidity,
        "ellipse_fit": ellipse_fit,
        "size_prior": size_prior,
        "contrast": contrast,
        "isolation": isolation,
        "agreement": agreement,
    }
    confidence = np.prod([factors[name] ** power for name, power in POWERS.items()], axis=0)
    confidence *= np.where(on_border, BORDER_FACTOR, 1.0)
    return ComponentScores(
        ids=ids,
        area=area,
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


def _touches_border(box: tuple[slice, slice], shape: tuple[int, int]) -> bool:
    return any(side.start == 0 or side.stop == size for side, size in zip(box, shape, strict=True))


def _measure(
    labels: np.ndarray, source: np.ndarray, label: int, box: tuple[slice, slice], response: float
) -> tuple[float, float, float]:
    """Return solidity, contrast and isolation of one component, whose mean of the map is `response`."""
    crop = tuple(slice(max(side.start - RING_END, 0), side.stop + RING_END) for side in box)
    around, values = labels[crop], source[crop]
    component = around == label
    pixels = component.view(np.uint8)
    wider = cv2.dilate(pixels, INNER)
    ring = cv2.subtract(cv2.dilate(pixels, OUTER), wider).view(bool)
    isolation = (values[ring & (around == 0)] < CLEAR_SHARE * response).sum() / max(ring.sum(), 1)
    outside = cv2.subtract(cv2.dilate(pixels, RIM_OUTER), wider)
    contrast = _fall(values, cv2.subtract(pixels, cv2.erode(pixels, RIM_WIDTH)), outside) / max(response, 1e-6)
    return component.sum() / hull_mask(component).sum(), min(max(contrast, 0.0), 1.0), isolation


def _fall(values: np.ndarray, rim: np.ndarray, outside: np.ndarray) -> float:
    """Return how much higher the rim is than the pixels outside near it, mean of the rim; 0 where none is near.

    Args:
        values: `[H, W]` float32, the map.
        rim, outside: `[H, W]` uint8, 0 or 1.
    """
    near = cv2.blur(outside.astype(np.float32), RIM_WINDOW)
    level = cv2.blur(outside * values, RIM_WINDOW)
    compared = (rim > 0) & (near > 0)
    return float((values[compared] - level[compared] / near[compared]).mean()) if compared.any() else 0.0
