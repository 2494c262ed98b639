"""Whether a ranking works: are the pseudo masks that rank first right more often than those that rank last?"""

from collections.abc import Sequence

import numpy as np

from cyclic.evaluation.matching import contingency, match


def precision_by_rank(truths: Sequence[np.ndarray], ranked: Sequence[np.ndarray]) -> np.ndarray:
    """Return the share of the best k pseudo masks that match a nucleus at IoU > 0.5, for k = 1, 2, ...

    The best k of every image are pooled. An image with fewer than k gives all it has.

    >>> true = np.array([[1, 1, 0, 2, 2, 0, 0]])
    >>> ranked = np.array([[2, 0, 0, 1, 1, 0, 3]])  # the best matches, the next covers half a nucleus, the last none
    >>> precision_by_rank([true], [ranked]).round(2).tolist()
    [1.0, 0.5, 0.33]

    Args:
        truths: label maps, `[H, W]` integer.
        ranked: pseudo masks of the same images, `[H, W]` integer, labels 1..n by rank (1 = best).

    Returns:
        `[K]` float64 in [0, 1]; K is the largest number of pseudo masks in one image.
    """
    longest = max((int(labels.max(initial=0)) for labels in ranked), default=0)
    hits, masks = np.zeros(longest), np.zeros(longest)
    for true, labels in zip(truths, ranked, strict=True):
        overlaps = contingency(true, labels)
        hits[overlaps.pred_ids[overlaps.cols[match(overlaps).pairs]] - 1] += 1
        masks[: labels.max(initial=0)] += 1
    return hits.cumsum() / masks.cumsum()
