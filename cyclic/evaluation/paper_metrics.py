"""The scores of the paper's published program, under names that say what they are.

Most look at masks of all nuclei together, so touching nuclei count as one. They serve to compare with figures of that
program; for everything else there are the scores of `evaluate`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import scipy.ndimage
import skimage.measure

from cyclic.evaluation.matching import contingency, match

# Smallest object in pixels.
MIN_OBJECT = 100


class MaskCounts(NamedTuple):
    """What is summed over images: pixels of both masks, of their overlap, and pairs of objects, false and missed ones.

    Attributes:
        true, pred, both: pixels.
        tp, fp, fn: objects.
    """

    true: int
    pred: int
    both: int
    tp: int
    fp: int
    fn: int


def count_masks(true: np.ndarray, pred: np.ndarray) -> MaskCounts:
    """Count pixels and objects of two label maps (`[H, W]` integer, 0 = background) of one image.

    An object is a connected piece of the mask of all nuclei, of `MIN_OBJECT` pixels or more. Two are a pair if their
    IoU is over 0.5.
    """
    masks = np.asarray(true) > 0, np.asarray(pred) > 0
    matching = match(contingency(*map(_objects, masks)))
    of_true, of_pred, both = (int(np.count_nonzero(mask)) for mask in (*masks, masks[0] & masks[1]))
    return MaskCounts(of_true, of_pred, both, matching.tp, matching.fp, matching.fn)


def _objects(mask: np.ndarray) -> np.ndarray:
    """Return a label map of the mask's objects: pieces joined by edges are sized, what remains joined by corners too.

    The published program uses one connectivity for the one and another for the other.
    """
    pieces, _ = scipy.ndimage.label(mask)
    large = np.bincount(pieces.ravel()) >= MIN_OBJECT
    large[0] = False
    return skimage.measure.label(large[pieces])


def paper_scores(true: np.ndarray, pred: np.ndarray) -> dict[str, float | None]:
    """Return the paper program's scores of one image.

    >>> true, pred = np.zeros((2, 40, 40), int)
    >>> true[:10, :10], true[:10, 10:20], pred[:10, :20] = 1, 2, 1
    >>> scores = paper_scores(true, pred)
    >>> scores["merged_mask_aji"], scores["merged_object_f1"], scores["pixel_accuracy"], scores["merged_mask_hausdorff"]
    (1.0, 1.0, 1.0, 0.0)

    Args:
        true: `[H, W]` integer label map, 0 = background.
        pred: `[H, W]` integer label map of the same image.

    Returns:
        - `merged_mask_aji`: "AJI" of the two masks as one nucleus each, which is the IoU of the foreground;
        - `merged_object_f1`: F1 of objects, see `count_masks`;
        - `pixel_accuracy`: share of pixels that are nucleus in both masks or background in both;
        - `merged_mask_hausdorff`: Hausdorff distance of the outlines of both masks in pixels, None where one is empty.

        Ratios are 1 where both masks are empty.
    """
    counts = count_masks(true, pred)
    union = counts.true + counts.pred - counts.both
    accuracy = 1 - (union - counts.both) / np.size(true)
    return {
        "merged_mask_aji": counts.both / union if union else 1.0,
        "merged_object_f1": _f1(counts),
        "pixel_accuracy": float(accuracy),
        "merged_mask_hausdorff": _hausdorff(np.asarray(true) > 0, np.asarray(pred) > 0),
    }


def pooled_paper_scores(counts: Sequence[MaskCounts]) -> dict[str, float]:
    """Return `pooled_dice` and `pooled_merged_object_f1` of all images together: large images and full ones weigh more.

    >>> empty, full = MaskCounts(0, 100, 0, 0, 1, 0), MaskCounts(900, 900, 900, 9, 0, 0)
    >>> pooled_paper_scores([empty, full])
    {'pooled_dice': 0.9473684210526315, 'pooled_merged_object_f1': 0.9473684210526315}
    """
    total = MaskCounts(*map(sum, zip(*counts, strict=True)))
    pixels = total.true + total.pred
    return {"pooled_dice": 2 * total.both / pixels if pixels else 1.0, "pooled_merged_object_f1": _f1(total)}


def _f1(counts: MaskCounts) -> float:
    objects = 2 * counts.tp + counts.fp + counts.fn
    return 2 * counts.tp / objects if objects else 1.0


def _hausdorff(true: np.ndarray, pred: np.ndarray) -> float | None:
    if not true.any() or not pred.any():
        return None
    outlines = [_outline(mask) for mask in (true, pred)]
    distances = [cv2.distanceTransform(1 - each, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) for each in outlines]
    one, other = (distance[outline > 0].max() for distance, outline in zip(distances[::-1], outlines, strict=True))
    # Squared distances are whole numbers; OpenCV gives them to five digits only.
    return float(np.sqrt(np.rint(max(one, other) ** 2)))


def _outline(mask: np.ndarray) -> np.ndarray:
    """Return the pixels of a mask beside background or the image's border, `[H, W]` uint8, 0 or 1."""
    inner = cv2.erode(mask.view(np.uint8), cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3)), borderValue=0)
    return mask.view(np.uint8) - inner
