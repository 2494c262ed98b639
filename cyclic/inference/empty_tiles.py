"""The verdict of a classifier with average pooling: no nucleus in a tile that it calls empty."""

from collections.abc import Sequence

import cv2
import keras
import numpy as np
from scipy import ndimage
from scipy.special import expit

from cyclic.classifier.model import preprocess

# A tile is empty if its probability of nuclei is below this.
EMPTY = 0.2
# Images with few detections are the ones that need the verdict, and a batch is filled up whatever it holds.
BATCH = 16


def tiles_with_nuclei(
    classifier: keras.Model,
    image: np.ndarray,
    labels: np.ndarray,
    count: int,
    mean_pixel: Sequence[float],
    size: int,
    scale: float,
) -> np.ndarray:
    """Return which of the detections 1..count lie in a tile that the classifier does not call empty, `[count]` bool.

    The tile of a detection has the detection's box in its middle. One that is larger than a tile stays. The cost grows
    with the detections and not with the image: a tile for each.

    Args:
        classifier: what `cyclic.classifier.build_classifier` returned.
        image: `[H, W, 3]` uint8.
        labels: `[H, W]` int32, 1..count.
        count: number of detections.
        mean_pixel: 3 numbers (R, G, B), 0 to 255, the ones the classifier was trained with.
        size: side of the tiles it was trained on, image pixels.
        scale: enlargement of a tile before the network.
    """
    found = np.ones(count, bool)
    fitting, corners = find_tiles(labels, count, size)
    found[fitting] = predict_tiles(classifier, image, corners, mean_pixel, size, scale) >= EMPTY
    return found


def find_tiles(labels: np.ndarray, count: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return which of the labels 1..count fit into a tile, and their tiles.

    Returns:
        `[n]` int64 indices of the labels, from 0; and `[n, 2]` int64 (y, x) of the tiles' corners, px. A tile at the
        border sticks out.
    """
    fitting, corners = [], []
    for index, box in enumerate(ndimage.find_objects(labels, max_label=count)):
        if box is not None and all(side.stop - side.start <= size for side in box):
            fitting.append(index)
            corners.append([(side.start + side.stop - size) // 2 for side in box])
    return np.array(fitting, np.int64), np.array(corners, np.int64).reshape(-1, 2)


def predict_tiles(
    classifier: keras.Model,
    image: np.ndarray,
    corners: np.ndarray,
    mean_pixel: Sequence[float],
    size: int,
    scale: float,
) -> np.ndarray:
    """Return the probability of nuclei in each tile, `[n]` float in [0, 1].

    What sticks out of the image is the image mirrored at its border. The arguments are those of
    `tiles_with_nuclei` and what `find_tiles` returns.
    """
    padded = np.pad(image, ((size, size), (size, size), (0, 0)), mode="symmetric")
    probabilities = [np.zeros(0)]
    for start in range(0, len(corners), BATCH):
        batch = corners[start : start + BATCH]
        # The last batch is filled up with tiles again: the network is compiled for one size.
        crops = [padded[y : y + size, x : x + size] for y, x in np.resize(batch, (BATCH, 2)) + size]
        enlarged = [cv2.resize(crop, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC) for crop in crops]
        logits = classifier.predict_on_batch(preprocess(np.stack(enlarged), mean_pixel))[: len(batch)]
        probabilities.append(expit(logits[:, 1] - logits[:, 0]))
    return np.concatenate(probabilities)
