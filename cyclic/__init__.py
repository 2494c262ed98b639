"""Nuclei instance segmentation from image-level labels (Cyclic Learning) on Keras 3.

    predictor = cyclic.Predictor.load("best.weights.h5")
    prediction = predictor.predict(image)
    scores = cyclic.evaluate(prediction.labels, truth)

Importing this package imports nothing else and changes nothing in the process: the names below are fetched on first
use.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cyclic.config import RunConfig
    from cyclic.evaluation.metrics import evaluate
    from cyclic.inference.predictor import Prediction, Predictor

__version__ = "0.2.0"
__all__ = ["Prediction", "Predictor", "RunConfig", "evaluate"]

_ROOMS = {
    "Prediction": "cyclic.inference.predictor",
    "Predictor": "cyclic.slides.predictor",
    "RunConfig": "cyclic.config",
    "evaluate": "cyclic.evaluation.metrics",
}


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module 'cyclic' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(importlib.import_module(_ROOMS[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
