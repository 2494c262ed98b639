"""Drop detections in tiles that the classifier calls empty.

Images of another laboratory hold tissue that Mask R-CNN was never trained on. The classifier has learned from tiles of
every kind of background.
"""

from collections.abc import Sequence

import cv2
import keras
import numpy as np
from scipy import ndimage
from scipy.special import expit

from cyclic.classifier.model import preprocess
from cyclic.labels import relabel
from cyclic.tiling import margin_starts

# A tile is empty if its probability of nuclei is below this.
EMPTY = 0.2
# Tiles start at every third of their side, so most nuclei lie wholly within several.
STEPS_PER_TILE = 3
BATCH = 64


def drop_detections_in_empty_tiles(
    classifier: keras.Model,
    image: np.ndarray,
    labels: np.ndarray,
    scores: np.ndarray,
    mean_pixel: Sequence[float],
    size: int,
    scale: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the label map and scores without the detections that lie wholly within a tile without nuclei.

    Args:
        classifier: what `cyclic.classifier.build_classifier` returned.
        image: `[H, W, 3]` uint8.
        labels: `[H, W]` int32, 1..N in descending score.
        scores: `[N]` float32.
        mean_pixel: 3 numbers (R, G, B), 0 to 255, the ones the classifier was trained with.
        size: side of the tiles it was trained on, image pixels.
        scale: enlargement of a tile before the network.
    """
    stride = max(1, size // STEPS_PER_TILE)
    probabilities = predict_tiles(classifier, image, mean_pixel, size, stride, scale)
    kept = find_lowest_probability(labels, len(scores), probabilities, size, stride) >= EMPTY
    return relabel(labels, np.append(False, kept)), scores[kept]


def predict_tiles(
    classifier: keras.Model, image: np.ndarray, mean_pixel: Sequence[float], size: int, stride: int, scale: int
) -> np.ndarray:
    """Return the probability of nuclei in every tile, `[h, w]` float in [0, 1].

    The tile at [i, j] starts at pixel (i * stride - size // 2, j * stride - size // 2): half of the outermost tiles is
    the image mirrored at its border. The other arguments are those of `drop_detections_in_empty_tiles`.
    """
    margin = size // 2
    rows, columns = (margin_starts(side, size, stride) for side in image.shape[:2])
    padded = np.pad(image, ((margin, margin), (margin, margin), (0, 0)), mode="symmetric")
    corners = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2)
    probabilities = []
    for start in range(0, len(corners), BATCH):
        batch = corners[start : start + BATCH]
        # The last batch is filled up with tiles again: the network is compiled for one size.
        crops = [padded[y : y + size, x : x + size] for y, x in np.resize(batch, (BATCH, 2))]
        enlarged = [cv2.resize(crop, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC) for crop in crops]
        logits = classifier.predict_on_batch(preprocess(np.stack(enlarged), mean_pixel))[: len(batch)]
        probabilities.append(expit(logits[:, 1] - logits[:, 0]))
    return np.concatenate(probabilities).reshape(len(rows), len(columns))


def find_lowest_probability(
    labels: np.ndarray, count: int, probabilities: np.ndarray, size: int, stride: int
) -> np.ndarray:
    """Return for each of the labels 1..count the lowest probability of a tile that holds all of it, `[count]` float.

    1 for a label without pixels, or larger than a tile. The other arguments are those of `predict_tiles` and what
    it returned.
    """
    lowest, margin = np.ones(count), size // 2
    for index, box in enumerate(ndimage.find_objects(labels, max_label=count)):
        if box is None:
            continue
        holding = tuple(
            # From the first tile that ends behind the label to the last one that starts before it.
            slice(max(0, -(-(side.stop + margin - size) // stride)), (side.start + margin) // stride + 1)
            for side in box
        )
        lowest[index] = probabilities[holding].min(initial=1.0)
    return lowest
