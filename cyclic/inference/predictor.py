"""`Predictor`: a trained model that finds the nuclei in an image."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import keras
import numpy as np

from cyclic.allocator import keep_freed_memory
from cyclic.config import RunConfig
from cyclic.errors import InputError
from cyclic.images import as_rgb, warn_if_dark
from cyclic.inference.detect import detect, drop_fragments
from cyclic.inference.verdict import choose_nuclei
from cyclic.labels import keep_largest_parts
from cyclic.models.registry import weights_file
from cyclic.mrcnn.geometry.resizing import resize_nearest
from cyclic.mrcnn.model import MaskRCNN
from cyclic.resolution import check_mpp, enlargement
from cyclic.trained import load_classifier, load_mask_rcnn, load_own_classifier


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
    >>> prediction = predictor.predict(image, mpp=0.25)
    >>> prediction.labels.shape == image.shape[:2], len(prediction) == int(prediction.labels.max())
    (True, True)

    Args:
        model: the Mask R-CNN in inference mode.
        config: the settings that it predicts with.
        classifier: the tile classifier, which then drops what it has no evidence for; None: none.
    """

    def __init__(self, model: MaskRCNN, config: RunConfig, classifier: keras.Model | None = None):
        self.model, self.config, self.classifier = model, config, classifier
        self._has_told_mpp = False

    @classmethod
    def load(cls, name: str | Path, overrides: Sequence[str] = (), classifier: str | Path | None = None) -> "Predictor":
        """Return the predictor of a weights file, or of a model by its name.

        The process then keeps memory that it frees, see `cyclic.allocator`: which spares prediction page faults.

        Args:
            name: `best.weights.h5` or a `model.weights.h5` of a run; or the name of a model, such as `cyclic models
                list` shows.
            overrides: `detection.key=value` strings instead of the stored settings; `mpp=NUMBER` states the resolution
                that an old file does not.
            classifier: `classifier.weights.h5` of the same run; None for the one that `path` holds, if it holds one and
                `detection.verdict` is true.

        Raises:
            InputError: there is no such file or model, a file is not what it should be, an override is out of range, or
                asks for the verdict of a classifier that is not there.
        """
        keep_freed_memory()
        path = weights_file(name)
        model, config = load_mask_rcnn(path, overrides)
        if classifier is not None:
            return cls(model, config, load_classifier(classifier, config))
        own = load_own_classifier(path, config) if config.detection.verdict else None
        if own is None and any(override.lower() == "detection.verdict=true" for override in overrides):
            raise InputError(
                f"{path}: holds no tile classifier to ask for a verdict; give best.weights.h5 of a run, or "
                "--classifier cycle_K/classifier.weights.h5"
            )
        return cls(model, config, own)

    def predict(self, image: np.ndarray, mpp: float | None = None) -> Prediction:
        """Return the nuclei in an image of any size, those of the lowest score or more (`detection.score`).

        The image is brought to the resolution of the training images first, and the answer is brought back.

        Args:
            image: grey, RGB or RGBA, of any type and shape that `cyclic.images.as_rgb` takes.
            mpp: micrometres per pixel of the image; None: those of the training images, `config.mpp`. The first time
                that nobody states it, a warning says so.

        Returns:
            The nuclei in pixels of `image`.

        Raises:
            InputError: an image of another type or shape; `mpp` is not over 0, or more than 8 times that of the
                training images, or less than an eighth.
        """
        given, image = image, as_rgb(image)
        warn_if_dark(np.asarray(given), "image")
        height, width = image.shape[:2]
        factor = self._enlargement(mpp)
        if factor == 1:
            return self._predict(image)
        size = max(1, round(width * factor)), max(1, round(height * factor))
        found = self._predict(cv2.resize(image, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR))
        # Shrinking may leave a thin nucleus in pieces, or no pixel of it.
        labels = keep_largest_parts(resize_nearest(found.labels, (height, width)))
        return Prediction(*drop_fragments(labels, found.scores, 0.0))

    def _predict(self, image: np.ndarray) -> Prediction:
        detections = detect(self.model, image, self.config.detection, self.config.scale)
        return Prediction(*choose_nuclei(*detections, image, self.config, self.classifier))

    def _enlargement(self, mpp: float | None) -> float:
        if mpp is not None:
            check_mpp(mpp, "mpp")
        elif self.config.mpp is not None and not self._has_told_mpp:
            self._has_told_mpp = True
            warnings.warn(
                f"the image's resolution is not stated; taken for {self.config.mpp:g} µm per pixel, as in training; "
                "predict(image, mpp=...) states another",
                stacklevel=3,
            )
        return 1.0 if mpp is None or self.config.mpp is None else enlargement(mpp, self.config.mpp)
