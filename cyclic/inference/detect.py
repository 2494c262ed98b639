"""Mask R-CNN on a whole image: overlapping tiles, detected one batch after the other, stitched."""

import cv2
import numpy as np

from cyclic.config import RunConfig
from cyclic.inference.stitch import TileDetections, median_area, stitch
from cyclic.inference.unmold import unmold_tile
from cyclic.inference.views import detect_in_views
from cyclic.mrcnn.geometry.resizing import resize_nearest
from cyclic.mrcnn.model import MaskRCNN
from cyclic.mrcnn.utils import compose_image_meta, mold_image
from cyclic.pseudo.split import relabel
from cyclic.tiling import tiles

# The coarsest pyramid level halves the image this often.
NETWORK_STRIDE = 64
# An image whose nuclei have less than this share of the usual area is detected again, enlarged by each of the factors.
SMALL_NUCLEI, ENLARGEMENTS = 0.6, (1.5, 2.0)
# Mean scores that differ less tell nothing; one enlargement too many costs them 0.02 and more.
AS_SURE = 0.01


def predict_image(
    model: MaskRCNN,
    image: np.ndarray,
    *,
    scale: int = 2,
    tile: int = 256,
    overlap: int = 64,
    batch: int = 1,
    nms_threshold: float = 0.3,
    shape_power: float = 0.0,
    min_area: int = 30,
    min_area_share: float = 0.0,
    max_area_ratio: float | None = None,
    usual_area: float | None = None,
    views: int = 1,
) -> tuple[np.ndarray, np.ndarray]:
    """Return label map and scores of the nuclei in an image of any size.

    Args:
        model: in inference mode.
        image: `[H, W, 3]` uint8.
        scale: enlargement before the network, as in training.
        tile: side of a tile in image pixels; `tile * scale` must be divisible by 64.
        overlap: pixels that neighbouring tiles share, best more than the size of a nucleus.
        batch: tiles detected at a time.
        nms_threshold: mask IoU over which the weaker detection goes.
        shape_power: weight of the shape in telling which detection is the weaker one, see `stitch`.
        min_area: smaller nuclei are dropped, pixels.
        min_area_share: so are those with less than this share of the area that is usual in the image, see
            `without_fragments`.
        max_area_ratio: a detection of more than so many times that area is taken for a clump and gives way to what was
            found within it. None: never.
        usual_area: median area of the nuclei that the model was trained on, pixels. An image of clearly smaller ones is
            detected again, enlarged more and more, until the model is less sure of what it finds. None: never.
        views: flips and turns of the image that have to agree, 1 to 8; each takes the time of one detection.

    Returns:
        `[H, W]` int32, labels 1..N in descending score, and `[N]` float32 scores of labels 1..N.
    """

    def detect(view: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = detect_in_tiles(model, view, scale, tile, overlap, batch)
        return stitch(
            found,
            view.shape[:2],
            mask_iou=nms_threshold,
            min_area=min_area,
            shape_power=shape_power,
            max_area_ratio=max_area_ratio,
        )

    labels, scores = detect_in_views(detect, image, views, min_area)
    if usual_area is not None and len(scores) and median_area(labels, scores) < SMALL_NUCLEI * usual_area:
        for factor in ENLARGEMENTS:
            enlarged = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR)
            finer, finer_scores = detect_in_views(detect, enlarged, views, round(min_area * factor**2))
            if len(finer_scores) == 0 or finer_scores.mean() < scores.mean() - AS_SURE:
                break
            labels, scores = resize_nearest(finer, image.shape[:2]), finer_scores
    return without_fragments(labels, scores, min_area_share)


def without_fragments(labels: np.ndarray, scores: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Return labels and scores without the detections far smaller than others: parts of nuclei, specks between them.

    Args:
        labels: `[H, W]` int32, 1..N in descending score.
        scores: `[N]` float32.
        share: of `median_area`; 0 keeps all that have a pixel: shrinking a label map may leave none of a thin one.
    """
    if len(scores) == 0:
        return labels, scores
    area = np.bincount(labels.ravel(), minlength=len(scores) + 1)[1:]
    kept = area >= max(1, share * median_area(labels, scores))
    return relabel(labels, np.append(False, kept)), scores[kept]


def detect_in_tiles(
    model: MaskRCNN, image: np.ndarray, scale: int, tile: int, overlap: int, batch: int
) -> list[TileDetections]:
    """Return the detections of every tile; the arguments are those of `predict_image`."""
    windows = tiles(*image.shape[:2], tile, overlap)
    found = []
    for start in range(0, len(windows), batch):
        some = windows[start : start + batch]
        crops = [image[y1:y2, x1:x2] for y1, x1, y2, x2 in some]
        found += [
            TileDetections(window, *detected)
            for window, detected in zip(some, detect_tiles(model, crops, scale), strict=True)
        ]
    return found


def detect_tiles(
    model: MaskRCNN, crops: list[np.ndarray], scale: int
) -> list[tuple[np.ndarray, np.ndarray, list[np.ndarray]]]:
    """Return boxes, scores and masks (see `unmold_tile`) of tiles of one size, each enlarged by `scale` first."""
    height, width = (int(side) * scale for side in crops[0].shape[:2])
    padded = [-(-side // NETWORK_STRIDE) * NETWORK_STRIDE for side in (height, width)]
    window = (0, 0, height, width)
    molded = np.zeros((len(crops), *padded, 3), np.float32)
    active = np.zeros(model.config.NUM_CLASSES, np.int32)
    for index, crop in enumerate(crops):
        molded[index, :height, :width] = mold_image(cv2.resize(crop, (width, height)), model.config)
    metas = [compose_image_meta(0, crop.shape, molded.shape[1:], window, scale, active) for crop in crops]
    detections, masks = model.predict_molded(molded, np.stack(metas))
    return [unmold_tile(detections[index], masks[index], molded.shape[1:3], scale) for index in range(len(crops))]


def detection_options(config: RunConfig) -> dict:
    """Return the arguments of `predict_image` that the configuration sets."""
    detection = config.detection
    return {
        "scale": config.scale,
        "tile": detection.tile,
        "overlap": detection.overlap,
        "batch": detection.batch,
        "nms_threshold": detection.nms_threshold,
        "shape_power": detection.shape_power,
        "min_area": detection.min_area,
        "min_area_share": detection.min_area_share,
        "max_area_ratio": detection.max_area_ratio,
        "usual_area": detection.usual_area,
        "views": detection.views,
    }


def confident(labels: np.ndarray, scores: np.ndarray, score: float) -> np.ndarray:
    """Return the label map without detections under `score`; labels are 1..N in descending score."""
    return np.where(labels <= int((scores >= score).sum()), labels, 0)
