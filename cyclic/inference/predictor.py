"""`Predictor`: a trained model that finds the nuclei in an image."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from cyclic.config import RunConfig
from cyclic.images import as_rgb
from cyclic.inference.detect import detect
from cyclic.inference.empty_tiles import choose_nuclei
from cyclic.mrcnn.model import MaskRCNN
from cyclic.networks import load_classifier, load_mask_rcnn, load_own_classifier


@dataclass(frozen=True)
class Prediction:
    """The nuclei of one image.

    Attributes:
        labels: `[H, W]` int32, 0 = background, 1..N in descending score.
        scores: `[N]` float32 in [0, 1], of labels 1..N.
    """

    labels: np.ndarray
    scores: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)


class Predictor:
    """A trained model, ready to predict.

    >>> predictor = Predictor.load(weights)
    >>> prediction = predictor.predict(image)
    >>> prediction.labels.shape == image.shape[:2], len(prediction) == int(prediction.labels.max())
    (True, True)

    Args:
        model: the Mask R-CNN in inference mode.
        config: the settings that it predicts with.
        classifier: the tile classifier, which then drops what lies in tiles that it calls empty; None: none.
    """

    def __init__(self, model: MaskRCNN, config: RunConfig, classifier: keras.Model | None = None):
        self.model, self.config, self.classifier = model, config, classifier

    @classmethod
    def load(cls, path: str | Path, overrides: Sequence[str] = (), classifier: str | Path | None = None) -> "Predictor":
        """Return the predictor of a weights file.

        Args:
            path: `best.weights.h5` or a `model.weights.h5` of a run.
            overrides: `detection.key=value` strings instead of the stored settings.
            classifier: `classifier.weights.h5` of the same run; None for the one that `path` holds, if it holds one and
                `detection.verdict` is true.

        Raises:
            InputError: a file is missing or not what it should be, or an override is out of range.
        """
        model, config = load_mask_rcnn(path, overrides)
        if classifier is not None:
            return cls(model, config, load_classifier(classifier, config))
        return cls(model, config, load_own_classifier(path, config) if config.detection.verdict else None)

    def predict(self, image: np.ndarray) -> Prediction:
        """Return the nuclei in an image of any size, those of the lowest score or more (`detection.score`).

        Args:
            image: grey, RGB or RGBA, of any type and shape that `cyclic.images.as_rgb` takes.

        Raises:
            InputError: an image of another type or shape.
        """
        image = as_rgb(image)
        detections = detect(self.model, image, self.config.detection, self.config.scale)
        return Prediction(*choose_nuclei(*detections, image, self.config, self.classifier))
