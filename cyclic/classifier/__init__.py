"""The tile classifier: does this tile hold a nucleus?"""

from cyclic.classifier.model import build_classifier, classifier_levels, head_layers, preprocess, with_evidence
from cyclic.classifier.training import ClassifierReport, train_classifier

__all__ = [
    "ClassifierReport",
    "build_classifier",
    "classifier_levels",
    "head_layers",
    "preprocess",
    "train_classifier",
    "with_evidence",
]
