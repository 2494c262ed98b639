"""Detection in a whole image, top to bottom: tiles, network, seams, stitching, small nuclei again, fragments out."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import cv2
import numpy as np

from cyclic.config import DetectionConfig
from cyclic.inference.seams import seam_sides, seam_windows
from cyclic.inference.stitch import TileDetections, Window, best_seen, median_area, stitch
from cyclic.inference.unmold import unmold_boxes, unmold_masks
from cyclic.inference.views import detect_in_views
from cyclic.labels import areas, keep_largest_parts, relabel
from cyclic.mrcnn.data.molding import compose_image_meta, mold_image
from cyclic.mrcnn.geometry.resizing import resize_nearest
from cyclic.mrcnn.model import MaskRCNN
from cyclic.tiling import cover_with_windows, smallest_tile

# The coarsest pyramid level halves the image this often.
NETWORK_STRIDE = 64
# An image whose nuclei have less than this share of the usual area is detected again, enlarged by the first factor; if
# the model is less sure then, by the second.
SMALL_NUCLEI, ENLARGEMENTS = 0.6, (2.0, 1.5)
# Only so many detections of this score or more show how large the nuclei are: a few specks in bare tissue do not.
SURE, ENOUGH = 0.5, 20
# Noise has all sizes. Nuclei of one image do not: in 133 of 142 labelled images the upper quartile of their areas is at
# most so many times the lower one.
SPREAD = 4.0
# Smaller differences of mean scores are noise; one enlargement too many costs 0.02 and more.
AS_SURE = 0.01

Detections = tuple[np.ndarray, np.ndarray]


def detect(model: MaskRCNN, image: np.ndarray, settings: DetectionConfig, scale: float) -> Detections:
    """Return all detections in an image of any size, unsure ones too; `drop_unsure` leaves the nuclei.

    Args:
        model: in inference mode.
        image: `[H, W, 3]` uint8.
        settings: tiles, suppression and sizes. `tile * scale` must be divisible by 64.
        scale: enlargement before the network, as in training.

    Returns:
        `[H, W]` int32 labels 1..N in descending score, each in one piece, and `[N]` float32 scores of labels 1..N.
    """

    def in_one_view(view: np.ndarray) -> Detections:
        return stitch(
            detect_in_tiles(model, view, settings, scale),
            view.shape[:2],
            mask_iou=settings.mask_iou,
            min_area=settings.min_area,
            shape_power=settings.shape_power,
            max_area_ratio=settings.max_area_ratio,
        )

    def in_views(enlarged: np.ndarray, min_area: int) -> Detections:
        return detect_in_views(in_one_view, enlarged, settings.views, min_area)

    labels, scores = in_views(image, settings.min_area)
    if nuclei_are_small(labels, scores, settings.usual_area):
        labels, scores = _detect_enlarged(in_views, image, settings.min_area, labels, scores)
    # Shrinking a label map may part a nucleus.
    return drop_fragments(keep_largest_parts(labels), scores, settings.min_area_share)


def nuclei_are_small(labels: np.ndarray, scores: np.ndarray, usual_area: float | None) -> bool:
    """Return whether the nuclei of an image are far smaller than usual.

    Sure detections alone say so, if there are enough of them and their sizes agree.

    Args:
        labels: `[H, W]` int32, 1..N in descending score.
        scores: `[N]` float32.
        usual_area: median area of nuclei in pixels; None: no.
    """
    sure = int((scores >= SURE).sum())
    if usual_area is None or sure < ENOUGH:
        return False
    lower, median, upper = np.quantile(areas(labels, len(scores))[:sure], [0.25, 0.5, 0.75])
    return bool(median < SMALL_NUCLEI * usual_area and upper <= SPREAD * lower)


def _detect_enlarged(
    detect_at: Callable[[np.ndarray, int], Detections],
    image: np.ndarray,
    min_area: int,
    labels: np.ndarray,
    scores: np.ndarray,
) -> Detections:
    """Return the detections at the largest enlargement at which the model is as sure as without.

    Args:
        detect_at: image and smallest area -> labels and scores.
        image: `[H, W, 3]` uint8.
        min_area: smallest nucleus in pixels of the image.
        labels, scores: what was found without enlargement.
    """
    for factor in ENLARGEMENTS:
        enlarged = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR)
        finer, finer_scores = detect_at(enlarged, round(min_area * factor**2))
        if len(finer_scores) > 0 and finer_scores.mean() >= scores.mean() - AS_SURE:
            return resize_nearest(finer, image.shape[:2]), finer_scores
    return labels, scores


def drop_unsure(labels: np.ndarray, scores: np.ndarray, score: float) -> Detections:
    """Return labels and scores without detections under `score`; labels are 1..N in descending score."""
    count = int((scores >= score).sum())
    return np.where(labels <= count, labels, 0), scores[:count]


def drop_fragments(labels: np.ndarray, scores: np.ndarray, share: float) -> Detections:
    """Return labels and scores without the detections far smaller than others: parts of nuclei, specks between them.

    Args:
        labels: `[H, W]` int32, 1..N in descending score.
        scores: `[N]` float32.
        share: of `median_area`; 0 keeps all that have a pixel: shrinking a label map may leave none of a thin one.
    """
    if len(scores) == 0:
        return labels, scores
    kept = areas(labels, len(scores)) >= max(1, share * median_area(labels, scores))
    return relabel(labels, np.append(False, kept)), scores[kept]


def detect_in_tiles(
    model: MaskRCNN, image: np.ndarray, settings: DetectionConfig, scale: float
) -> list[TileDetections]:
    """Return the detections of every tile, and of windows around nuclei too large for the tiles' overlap.

    The arguments are those of `detect`.
    """
    height, width = image.shape[:2]
    tile = smallest_tile(max(height, width), settings.tile, settings.overlap)
    windows = cover_with_windows(height, width, tile, settings.overlap)
    batch = min(settings.batch, len(windows))
    found = detect_in_windows(model, image, windows, windows, batch, scale, settings.mask_threshold)
    for side in seam_sides(tile):
        more = seam_windows(found, (height, width), side)
        windows = windows + more
        found += detect_in_windows(model, image, more, windows, batch, scale, settings.mask_threshold)
    return found


class Pixels(Protocol):
    """An image, or what gives the same pixels when asked for some.

    Attributes:
        shape: (H, W, 3).
    """

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __getitem__(self, where: tuple[slice, slice], /) -> np.ndarray: ...


def detect_in_windows(
    model: MaskRCNN,
    image: Pixels,
    windows: list[Window],
    all_windows: list[Window],
    batch: int,
    scale: float,
    mask_threshold: float,
) -> list[TileDetections]:
    """Return the detections of windows of one size, `batch` of them at a time.

    Those that another of all windows so far sees better have no mask: `stitch` will not read it.
    """
    found, everywhere, (height, width) = [], np.array(all_windows), image.shape[:2]
    shape = (height, width)
    for start in range(0, len(windows), batch):
        some = windows[start : start + batch]
        # The last batch is filled up: for one of another size the network would be traced anew.
        filled = some + some[-1:] * (batch - len(some))
        crops = [image[y1:y2, x1:x2] for y1, x1, y2, x2 in filled]
        wanted = [partial(best_seen, window=window, windows=everywhere, shape=shape) for window in filled]
        detected = detect_crops(model, crops, scale, wanted, mask_threshold)
        found += [TileDetections(window, *each) for window, each in zip(some, detected, strict=False)]
    return found


def detect_crops(
    model: MaskRCNN,
    crops: list[np.ndarray],
    scale: float,
    wanted: Sequence[Callable[[np.ndarray], np.ndarray]],
    mask_threshold: float,
) -> list[tuple[np.ndarray, np.ndarray, list[np.ndarray | None]]]:
    """Return what the model finds in crops of one size, each enlarged by `scale` first.

    Args:
        model: in inference mode.
        crops: B images `[h, w, 3]` uint8.
        scale: enlargement.
        wanted: for each crop, boxes `[n, 4]` int32 -> `[n]` bool, those that need a mask.
        mask_threshold: lowest probability of a mask's pixel, in (0, 1).

    Returns:
        For each crop boxes `[n, 4]` int32, scores `[n]` float32, and n bool masks of their boxes' sizes; None instead
        of a mask that nobody wants.
    """
    molded, metas = _mold(model, crops, scale)
    size = (molded.shape[1], molded.shape[2])
    detections, pyramid = model.predict_boxes(molded, metas)
    found = [unmold_boxes(each, size, scale) for each in detections]
    chosen = [choose(boxes) for choose, (_, boxes, _) in zip(wanted, found, strict=True)]
    masks = model.predict_masks([rows[some] for (rows, _, _), some in zip(found, chosen, strict=True)], pyramid)
    return [
        (boxes, rows[:, 5], _spread(unmold_masks(each, boxes[some], edges[some], mask_threshold), some))
        for (rows, boxes, edges), some, each in zip(found, chosen, masks, strict=True)
    ]


def _mold(model: MaskRCNN, crops: list[np.ndarray], scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the network's input `[B, H, W, 3]` float32, crops enlarged and padded, and their metas `[B, meta]`."""
    height, width = (round(side * scale) for side in crops[0].shape[:2])
    padded = [-(-side // NETWORK_STRIDE) * NETWORK_STRIDE for side in (height, width)]
    window = (0, 0, height, width)
    molded = np.zeros((len(crops), *padded, 3), np.float32)
    active = np.zeros(model.config.NUM_CLASSES, np.int32)
    for index, crop in enumerate(crops):
        molded[index, :height, :width] = mold_image(cv2.resize(crop, (width, height)), model.config)
    metas = [compose_image_meta(0, crop.shape, molded.shape[1:], window, scale, active) for crop in crops]
    return molded, np.stack(metas)


def _spread(masks: list[np.ndarray], chosen: np.ndarray) -> list[np.ndarray | None]:
    """Return a list as long as `chosen` (`[n]` bool): the masks in order where it is True, else None."""
    left = iter(masks)
    return [next(left) if each else None for each in chosen]
