"""Which detections are nuclei: the sure ones, without those that the classifier has no evidence for.

Images of another laboratory hold tissue that Mask R-CNN was never trained on. The classifier has learned from tiles of
every kind of background.
"""

import keras
import numpy as np

from cyclic.activation.maps import activation_map
from cyclic.config import RunConfig
from cyclic.images import as_stored_map
from cyclic.inference.detect import drop_unsure
from cyclic.inference.empty_tiles import tiles_with_nuclei
from cyclic.labels import mean_within, relabel

# Maps differ in how strongly they show a nucleus: from stain to stain, and from cycle to cycle. So a detection needs
# this share of what the surest ones of its image have.
SHARE = 0.75
# A detection of this score is one of the surest; fewer than so many of them say nothing.
SUREST, ENOUGH = 0.85, 20


def choose_nuclei(
    labels: np.ndarray,
    scores: np.ndarray,
    image: np.ndarray,
    config: RunConfig,
    classifier: keras.Model | None,
    activation: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the label map and scores of what `cyclic predict` takes for nuclei.

    Args:
        labels: `[H, W]` int32, 1..N in descending score.
        scores: `[N]` float32.
        image: `[H, W, 3]` uint8.
        config: settings of the model.
        classifier: what `cyclic.classifier.build_classifier` returned; None: no verdict.
        activation: `[H, W]` float32 in [0, 1], the map of local evidence where it is made already: nobody is asked.
    """
    labels, scores = drop_unsure(labels, scores, config.detection.score)
    if (classifier is None and activation is None) or len(scores) == 0:
        return labels, scores
    evidence = evidence_for(labels, len(scores), image, config, classifier, activation)
    kept = are_nuclei(evidence, scores, config.detection.evidence)
    return relabel(labels, np.append(False, kept)), scores[kept]


def evidence_for(
    labels: np.ndarray,
    count: int,
    image: np.ndarray,
    config: RunConfig,
    classifier: keras.Model | None,
    activation: np.ndarray | None = None,
) -> np.ndarray:
    """Return how much evidence the classifier has for each of the detections 1..count, `[count]` float in [0, 1].

    That is the mean of a map of local evidence within the detection. A classifier without such a map says yes (1) or
    no (0) to the detection's tile. The other arguments are those of `choose_nuclei`.
    """
    if activation is None and not config.has_local_evidence:
        answers = tiles_with_nuclei(
            classifier, image, labels, count, config.mean_pixel, config.tiles.size, config.scale
        )
        return answers.astype(np.float64)
    if activation is None:
        found = activation_map(
            classifier, image, config.mean_pixel, level=config.maps.level, scale=config.scale, where=labels > 0
        )
        activation = as_stored_map(found)
    return mean_within(activation, labels, count)


def are_nuclei(evidence: np.ndarray, scores: np.ndarray, least: float) -> np.ndarray:
    """Return which detections of an image or slide have evidence enough, `[N]` bool.

    Args:
        evidence: `[N]` float in [0, 1], see `evidence_for`.
        scores: `[N]` float32.
        least: what each needs, in [0, 1]; where the surest have more, `SHARE` of their median.
    """
    surest = evidence[scores >= SUREST]
    usual = np.median(surest) if len(surest) >= ENOUGH else 0.0
    return evidence >= max(least, SHARE * usual)
