"""Activation map of a whole image of any size: tiles, blended before they are normalised, so that no seam shows."""

import math
from collections.abc import Callable, Sequence
from fractions import Fraction

import cv2
import keras
import numpy as np
import scipy.ndimage

from cyclic.activation.gradcam import gradcam
from cyclic.activation.gradcampp import gradcampp
from cyclic.activation.head import LevelHead
from cyclic.activation.layercam import layercam
from cyclic.activation.lrp import lrp
from cyclic.activation.networks import level_network
from cyclic.classifier.model import evidence_network, preprocess
from cyclic.errors import InputError
from cyclic.tiling import even_starts

GRADIENT_METHODS = {"gradcam": gradcam, "gradcampp": gradcampp, "layercam": layercam}
# Of the composite rule, the paper's, relevance is read at the image and is that of the predicted class.
LRP_TARGETS: dict[str, dict] = {
    "lrp_epsilon": {"to": "C2"},
    "lrp_alphabeta": {"to": "C2"},
    "lrp_composite": {"to": "image", "target_class": None},
}
METHODS = ("evidence", *GRADIENT_METHODS, *LRP_TARGETS)
# Side of the tiles in image pixels, and what neighbouring tiles share.
TILE, OVERLAP = 256, 64
# The same, at most, for the evidence of C2: a position of ResNet-18 sees 21 image pixels at scale 2, so that larger
# tiles may share less, and fewer of them cover an image.
LOCAL_TILE, LOCAL_OVERLAP = 384, 32
# Evidence runs from about -16 to 8. Divided by this, it keeps its steps in a picture of 8 bits.
SOFTNESS = 4.0
# Share of pixels below the value that becomes 1: a single hot pixel does not decide the range.
PERCENTILE = 99.5


def activation_map(
    classifier: keras.Model,
    image: np.ndarray,
    mean_pixel: Sequence[float],
    method: str = "evidence",
    level: str = "C2",
    scale: float = 2,
    tile: int | None = None,
    overlap: int | None = None,
    context: int = 64,
    batch_size: int = 1,
    where: np.ndarray | None = None,
) -> np.ndarray:
    """Return the activation map `[H, W]` float32 in [0, 1] of one image.

    With the method "evidence" it is the logistic function of each position's own evidence for "has nuclei", divided by
    `SOFTNESS`: over 0.5, there is rather a nucleus. It is a map of nuclei where the classifier was built with a `share`
    below 1.

    The other methods ask for the tile's answer. Their raw map is divided by its own 99.5th percentile over the whole
    image and weighted by the highest probability that the level's head gives class 1 in any window of `context` pixels
    within half a tile. So an image, or a part of one, without evidence for nuclei stays near 0 rather than being
    stretched.

    Args:
        classifier: what `cyclic.classifier.build_classifier` returned.
        image: `[H, W, 3]` uint8 RGB of any size; reflected at its borders.
        mean_pixel: 3 numbers (R, G, B), 0 to 255, the ones the classifier was trained with.
        method: one of `METHODS`; the LRP methods read the relevance at C2, since at the image it is speckled.
        level: pyramid level with a head, which alone gives the score: C3 has stride 8, so 4 image pixels at `scale=2`.
        scale: enlargement of a tile before the network.
        tile: side of a tile in image pixels; `tile * scale` must be divisible by 32. None: as `tiling` says.
        overlap: pixels that neighbouring tiles share at least; blended linearly. None: as `tiling` says.
        context: side of the window in image pixels, best the tile size the classifier was trained on.
        batch_size: tiles a batch; memory depends on it and on `tile * scale`, not on the image.
        where: `[H, W]` bool, the pixels whose value is asked for, with the method "evidence" alone: tiles without any
            are skipped, and the map is 0 elsewhere. None: all.

    Raises:
        InputError: unknown method, a level without head, or without evidence of positions where the method shows it, or
            sizes that do not fit together; `where` of another shape, or with another method.
    """
    if method not in METHODS:
        raise InputError(f"unknown activation method {method!r}: use one of {', '.join(METHODS)}")
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise InputError(f"activation map of {image.dtype} {image.shape}: give a uint8 RGB image [H, W, 3]")
    usual_tile, usual_overlap = tiling(method, level, image.shape[0], image.shape[1], scale)
    tile = usual_tile if tile is None else tile
    overlap = usual_overlap if overlap is None else overlap
    if (tile * scale) % 32 or not 0 <= overlap < tile or context < 1 or batch_size < 1:
        raise InputError(
            f"activation tile={tile}, scale={scale}, overlap={overlap}: tile * scale must be divisible by 32 and the "
            "overlap smaller than the tile; context and batch_size at least 1"
        )
    if where is not None and (method != "evidence" or where.shape != image.shape[:2]):
        raise InputError(
            f"activation map {method!r} where {where.shape}: some pixels of an image of {image.shape[:2]} can be asked "
            "for with the method evidence alone; the others need them all"
        )
    side = round(tile * scale)

    def inputs_of(tiles: np.ndarray) -> np.ndarray:
        enlarged = np.stack([cv2.resize(x, (side, side), interpolation=cv2.INTER_CUBIC) for x in tiles])
        return preprocess(enlarged, mean_pixel)

    if method == "evidence":
        positions = evidence_network(classifier, level)

        def logits(tiles: np.ndarray) -> np.ndarray:
            return _resize(positions.predict_on_batch(inputs_of(tiles)), tile)[..., None]

        found = _sigmoid(_stitch(image, logits, 1, tile, overlap, batch_size, where)[..., 0] / SOFTNESS)
        return found if where is None else np.where(where, found, np.float32(0))

    head = LevelHead(classifier, level)
    network = level_network(classifier, level)

    def raw_and_probability(tiles: np.ndarray) -> np.ndarray:
        inputs = inputs_of(tiles)
        features = network.predict_on_batch(inputs).astype(np.float32)
        if method in GRADIENT_METHODS:
            raw = GRADIENT_METHODS[method](features, head.gradients(features))
        else:
            # One tile at a time: LRP holds every layer's output.
            rule = method.removeprefix("lrp_")
            relevance = [lrp(classifier, x[None], level, rule=rule, **LRP_TARGETS[method]) for x in inputs]
            raw = np.maximum(np.concatenate(relevance), 0)
        window = round(context * features.shape[1] / tile) | 1
        probability = _sigmoid(head.score(scipy.ndimage.uniform_filter(features, (1, window, window, 1))))
        return np.stack([_resize(raw, tile), _resize(probability, tile)], -1)

    stitched = _stitch(image, raw_and_probability, 2, tile, overlap, batch_size)
    raw, probability = stitched[..., 0], stitched[..., 1]
    # The highest probability rather than the local one: it silences regions without nuclei, not nuclei the head doubts.
    nearby = scipy.ndimage.maximum_filter(probability, tile)
    return _normalise(raw) * scipy.ndimage.uniform_filter(nearby, tile // 2)


def tiling(method: str, level: str, height: int, width: int, scale: float = 2) -> tuple[int, int]:
    """Return the usual side and overlap of the tiles of an image, px.

    For the evidence of C2, tiles are as small as they can be in the smallest number that covers the longer side. An
    enlarged tile's side is divisible by 32.

    >>> tiling("gradcam", "C3", 1000, 1000), tiling("evidence", "C2", 1000, 1000), tiling("evidence", "C2", 90, 70)
    ((256, 64), (384, 32), (128, 32))
    """
    if method != "evidence" or level != "C2":
        return TILE, OVERLAP
    longest = max(height, width)
    count = math.ceil(longest / (LOCAL_TILE - LOCAL_OVERLAP))
    step = 32 * Fraction(scale).denominator
    return step * math.ceil((longest / count + LOCAL_OVERLAP) / step), LOCAL_OVERLAP


def pixels_seen(method: str, level: str, height: int, width: int, scale: float = 2) -> int:
    """Return the pixels of all tiles of an image, which the time of its map goes with."""
    tile, overlap = tiling(method, level, height, width, scale)
    return tile**2 * len(window_corners(height, width, tile, overlap))


def window_corners(height: int, width: int, tile: int, overlap: int) -> list[tuple[int, int]]:
    """Return the top-left corners (y, x) of the windows that `activation_map` looks at, in the reflected image.

    They count from the start of the margin, see `_margins`.
    """
    rows, columns = (even_starts(sum(_margins(side, tile, overlap)) + side, tile, overlap) for side in (height, width))
    return [(y, x) for y in rows for x in columns]


def _margins(side: int, tile: int, overlap: int) -> tuple[int, int]:
    """Return how many reflected pixels lie before and after an axis of `side` pixels.

    Half an overlap keeps the network's zero padding away from the image's border; a small image is filled up to a tile.
    """
    before = overlap // 2
    return before, max(before, tile - side - before)


def _stitch(
    image: np.ndarray,
    function: Callable,
    channels: int,
    tile: int,
    overlap: int,
    batch_size: int,
    where: np.ndarray | None = None,
) -> np.ndarray:
    """Return the values `[H, W, channels]` of `function`, blended.

    `function` takes tiles `[B, tile, tile, 3]` and returns `[B, tile, tile, channels]`. Values count at the pixels
    `where` (`[H, W]` bool) alone, and tiles that hold none are left out.
    """
    height, width = image.shape[:2]
    rows, columns = _margins(height, tile, overlap), _margins(width, tile, overlap)
    padded = np.pad(image, (rows, columns, (0, 0)), mode="reflect")
    ramp = np.minimum(1, (np.arange(tile, dtype=np.float32) + 0.5) / max(overlap, 1))
    ramp = np.minimum(ramp, ramp[::-1])
    weight = np.outer(ramp, ramp)
    total, weights = np.zeros((*padded.shape[:2], channels), np.float32), np.zeros(padded.shape[:2], np.float32)
    corners = window_corners(height, width, tile, overlap)
    if where is not None:
        wanted = np.pad(where, (rows, columns))
        corners = [(y, x) for y, x in corners if wanted[y : y + tile, x : x + tile].any()]
    for start in range(0, len(corners), batch_size):
        batch = corners[start : start + batch_size]
        values = function(np.stack([padded[y : y + tile, x : x + tile] for y, x in batch]))
        for (y, x), value in zip(batch, values, strict=True):
            total[y : y + tile, x : x + tile] += value * weight[..., None]
            weights[y : y + tile, x : x + tile] += weight
    inner = np.s_[rows[0] : rows[0] + height, columns[0] : columns[0] + width]
    # No tile has a weight of 0: only pixels that all tiles left out have.
    return total[inner] / np.where(weights[inner] > 0, weights[inner], 1)[..., None]


def _resize(maps: np.ndarray, side: int) -> np.ndarray:
    """Return maps `[B, h, w]` as `[B, side, side]` float32."""
    return np.stack([cv2.resize(x.astype(np.float32), (side, side), interpolation=cv2.INTER_LINEAR) for x in maps])


def _normalise(values: np.ndarray) -> np.ndarray:
    """Return values >= 0 divided by their `PERCENTILE`, clipped to [0, 1]."""
    top = np.percentile(values, PERCENTILE)
    if top == 0:
        return np.zeros(values.shape, np.float32)
    return np.clip(values / np.float32(top), 0, 1)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    # Not SciPy's `expit`, which differs in the last bit: stored maps could not be made again.
    return 0.5 + 0.5 * np.tanh(0.5 * x)
