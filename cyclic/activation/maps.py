"""Activation map of a whole image of any size: tiles, blended before they are normalised, so that no seam shows."""

from collections.abc import Callable, Iterator, Sequence

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
from cyclic.classifier.model import preprocess
from cyclic.errors import InputError

GRADIENT_METHODS = {"gradcam": gradcam, "gradcampp": gradcampp, "layercam": layercam}
METHODS = (*GRADIENT_METHODS, "lrp_epsilon", "lrp_alphabeta")
# Side of the tiles in image pixels, and what neighbouring tiles share.
TILE, OVERLAP = 256, 64
# Share of pixels below the value that becomes 1: a single hot pixel does not decide the range.
PERCENTILE = 99.5
# Product maps weaker than this everywhere are not stretched to 1.
PRODUCT_FLOOR = 0.25


def activation_map(
    classifier: keras.Model,
    image: np.ndarray,
    mean_pixel: Sequence[float],
    method: str = "gradcam",
    level: str = "C3",
    target_class: int = 1,
    scale: float = 2,
    tile: int = TILE,
    overlap: int = OVERLAP,
    context: int = 64,
    batch_size: int = 4,
    equivariance: bool = False,
) -> np.ndarray:
    """Return the activation map `[H, W]` float32 in [0, 1] of one image.

    The raw map is divided by its own 99.5th percentile over the whole image and weighted by the highest probability
    that the level's head gives the target class in any window of `context` pixels within half a tile. An image, or a
    part of one, without evidence for the class therefore stays near 0 rather than being stretched.

    Args:
        classifier: what `cyclic.classifier.build_classifier` returned.
        image: `[H, W, 3]` uint8 RGB of any size; reflected at its borders.
        mean_pixel: 3 numbers (R, G, B), 0 to 255, the ones the classifier was trained with.
        method: one of `METHODS`; the LRP methods read the relevance at C2, since at the image it is speckled.
        level: pyramid level with a head, which alone gives the score: C3 has stride 8, so 4 image pixels at `scale=2`.
        target_class: class whose evidence is mapped; 1 is "has nuclei".
        scale: enlargement of a tile before the network.
        tile: side of a tile in image pixels; `tile * scale` must be divisible by 32.
        overlap: pixels that neighbouring tiles share at least; blended linearly.
        context: side of the window in image pixels, best the tile size the classifier was trained on.
        batch_size: tiles a batch; memory depends on it and on `tile * scale`, not on the image.
        equivariance: average the maps of the 8 flips and rotations (8 times the work).

    Raises:
        InputError: unknown method, a level without head, or sizes that do not fit together.
    """
    if method not in METHODS:
        raise InputError(f"unknown activation method {method!r}: use one of {', '.join(METHODS)}")
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise InputError(f"activation map of {image.dtype} {image.shape}: give a uint8 RGB image [H, W, 3]")
    if (tile * scale) % 32 or not 0 <= overlap < tile or context < 1 or batch_size < 1:
        raise InputError(
            f"activation tile={tile}, scale={scale}, overlap={overlap}: tile * scale must be divisible by 32 and the "
            "overlap smaller than the tile; context and batch_size at least 1"
        )
    head = LevelHead(classifier, level, target_class)
    network = level_network(classifier, level)

    def evidence(tiles: np.ndarray) -> np.ndarray:
        side = round(tile * scale)
        inputs = preprocess([cv2.resize(x, (side, side), interpolation=cv2.INTER_LINEAR) for x in tiles], mean_pixel)
        features = network.predict_on_batch(inputs).astype(np.float32)
        if method in GRADIENT_METHODS:
            raw = GRADIENT_METHODS[method](features, head.gradients(features))
        else:
            # One tile at a time: LRP holds every layer's output.
            rule = method.removeprefix("lrp_")
            relevance = [lrp(classifier, x[None], level, target_class, rule, to="C2") for x in inputs]
            raw = np.maximum(np.concatenate(relevance), 0)
        window = round(context * features.shape[1] / tile) | 1
        probability = _sigmoid(head.score(scipy.ndimage.uniform_filter(features, (1, window, window, 1))))
        return np.stack([_resize(raw, tile), _resize(probability, tile)], -1)

    if equivariance:
        stitched = _stitch(image, lambda tiles: _mean_of_symmetries(evidence, tiles), tile, overlap, batch_size)
    else:
        stitched = _stitch(image, evidence, tile, overlap, batch_size)
    raw, probability = stitched[..., 0], stitched[..., 1]
    # The highest probability rather than the local one: it silences regions without nuclei, not nuclei the head doubts.
    nearby = scipy.ndimage.maximum_filter(probability, tile)
    return _normalise(raw) * scipy.ndimage.uniform_filter(nearby, tile // 2)


def product_map(*maps: np.ndarray) -> np.ndarray:
    """Return the geometric mean `[H, W]` float32 in [0, 1] of maps `[H, W]` in [0, 1], stretched to its own range.

    Only where all maps agree is the product high. A product that stays below `PRODUCT_FLOOR` is not stretched to 1.

    Raises:
        InputError: no map, or maps of different shapes.
    """
    if not maps or len({each.shape for each in maps}) != 1:
        raise InputError(f"product of maps of shapes {[each.shape for each in maps]}: give maps of one shape")
    product = np.prod([np.asarray(each, np.float32) for each in maps], axis=0) ** (1 / len(maps))
    return _normalise(product, PRODUCT_FLOOR)


def _stitch(image, function: Callable, tile: int, overlap: int, batch_size: int) -> np.ndarray:
    """Return the values `[H, W, K]` of `function` (tiles `[B, tile, tile, 3]` -> `[B, tile, tile, K]`), blended."""
    height, width = image.shape[:2]
    # Half an overlap of reflected tissue on each side keeps the network's zero padding away from the image's border.
    before = overlap // 2
    after = [max(before, tile - size - before) for size in (height, width)]
    padded = np.pad(image, ((before, after[0]), (before, after[1]), (0, 0)), mode="reflect")
    ramp = np.minimum(1, (np.arange(tile, dtype=np.float32) + 0.5) / max(overlap, 1))
    ramp = np.minimum(ramp, ramp[::-1])
    weight = np.outer(ramp, ramp)
    total, weights = None, np.zeros(padded.shape[:2], np.float32)
    for batch in _batches(padded.shape[:2], tile, overlap, batch_size):
        values = function(np.stack([padded[y : y + tile, x : x + tile] for y, x in batch]))
        if total is None:
            total = np.zeros((*padded.shape[:2], values.shape[-1]), np.float32)
        for (y, x), value in zip(batch, values, strict=True):
            total[y : y + tile, x : x + tile] += value * weight[..., None]
            weights[y : y + tile, x : x + tile] += weight
    inner = np.s_[before : before + height, before : before + width]
    return total[inner] / weights[inner][..., None]


def _batches(shape, tile, overlap, batch_size) -> Iterator[list[tuple[int, int]]]:
    """Yield lists of at most `batch_size` tile corners (y, x) that cover `shape`, evenly spaced."""
    axes = []
    for size in shape:
        count = 1 + max(0, int(np.ceil((size - tile) / (tile - overlap))))
        axes.append(np.linspace(0, size - tile, count).round().astype(int))
    corners = [(y, x) for y in axes[0] for x in axes[1]]
    for start in range(0, len(corners), batch_size):
        yield corners[start : start + batch_size]


def _mean_of_symmetries(function: Callable, tiles: np.ndarray) -> np.ndarray:
    """Return the mean of `function` over the 8 symmetries of the square, each turned back."""
    total = 0
    for turns in range(4):
        for flip in (1, -1):
            turned = np.ascontiguousarray(np.rot90(tiles, turns, (1, 2))[:, :, ::flip])
            total = total + np.rot90(function(turned)[:, :, ::flip], -turns, (1, 2))
    return total / 8


def _resize(maps: np.ndarray, side: int) -> np.ndarray:
    """Return maps `[B, h, w]` as `[B, side, side]` float32."""
    return np.stack([cv2.resize(x.astype(np.float32), (side, side), interpolation=cv2.INTER_LINEAR) for x in maps])


def _normalise(values: np.ndarray, floor: float = 0.0) -> np.ndarray:
    """Return values >= 0 divided by their `PERCENTILE` (at least `floor`), clipped to [0, 1]."""
    top = max(np.percentile(values, PERCENTILE), floor)
    if top == 0:
        return np.zeros(values.shape, np.float32)
    return np.clip(values / np.float32(top), 0, 1)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 0.5 + 0.5 * np.tanh(0.5 * x)
