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
from cyclic.inference.empty_tiles import drop_detections_in_empty_tiles
from cyclic.labels import mean_within, relabel


def choose_nuclei(
    labels: np.ndarray,
    scores: np.ndarray,
    image: np.ndarray,
    config: RunConfig,
    classifier: keras.Model | None,
    activation: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the label map and scores of what `cyclic predict` takes for nuclei.

    A classifier with local evidence is asked for its map where the detections are, another one for the answer for each
    detection's tile.

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
    if activation is None and not config.has_local_evidence:
        return drop_detections_in_empty_tiles(
            classifier, image, labels, scores, config.mean_pixel, config.tiles.size, config.scale
        )
    if activation is None:
        found = activation_map(
            classifier, image, config.mean_pixel, level=config.maps.level, scale=config.scale, where=labels > 0
        )
        activation = as_stored_map(found)
    return drop_detections_without_evidence(activation, labels, scores, config.detection.evidence)


def drop_detections_without_evidence(
    activation: np.ndarray, labels: np.ndarray, scores: np.ndarray, least: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the label map and scores without the detections in which the map is low.

    Args:
        activation: `[H, W]` float in [0, 1], the map of evidence.
        labels: `[H, W]` int32, 1..N in descending score.
        scores: `[N]` float32.
        least: mean within a detection, at least, in [0, 1].
    """
    kept = mean_within(activation, labels, len(scores)) >= least
    return relabel(labels, np.append(False, kept)), scores[kept]
