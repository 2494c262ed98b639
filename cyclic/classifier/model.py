"""The classifier: a backbone with a global-average-pooling head on one or more pyramid levels.

The head on a shallow level costs next to nothing and gives that level a gradient of its own, so that its activation map
is sharp enough to separate nuclei; the head on C5 is the paper's classifier.
"""

import keras
import numpy as np

from cyclic.backbones import LEVELS
from cyclic.errors import InputError


def build_classifier(
    backbone: keras.Model, levels: tuple[str, ...] = ("C3", "C5"), hidden: int | None = None, classes: int = 2
) -> keras.Model:
    """Return a functional classifier on `backbone` itself: whoever holds the backbone shares its weights.

    Input: image `[B, H, W, 3]` float32 after `preprocess`, H and W divisible by 32.
    Output: logits `[B, classes]` float32, the mean over the levels' heads. A head is global average pooling, an
    optional `head_c5_hidden` (dense, ReLU) and `head_c5_logits` (dense); "c5" stands for the level in lower case.
    The paper's classifier is `levels=("C5",), hidden=1024` (Zhou et al. 2023, section III-B).

    Args:
        backbone: what `cyclic.backbones.build_backbone` returned.
        levels: pyramid levels that carry a head, at least one of C2 to C5.
        hidden: units of the hidden layer of each head; None for none.
        classes: number of classes; class 1 is "has nuclei" when there are two.

    Raises:
        InputError: no level, a level named twice, or one that is not in the pyramid.
    """
    if not levels or len(set(levels)) != len(levels) or not set(levels) <= LEVELS.keys():
        raise InputError(f"classifier levels {tuple(levels)}: name one or more of {', '.join(LEVELS)}, each once")
    image = keras.Input(backbone.input_shape[1:], name="image")
    pyramid = backbone(image)
    logits = [_build_head(pyramid[LEVELS[level][0]], f"head_{level.lower()}", hidden, classes) for level in levels]
    output = keras.layers.Average(name="logits", dtype="float32")(logits) if len(logits) > 1 else logits[0]
    return keras.Model(image, output, name="classifier")


def _build_head(features, name, hidden, classes):
    x = keras.layers.GlobalAveragePooling2D(name=f"{name}_pool")(features)
    if hidden is not None:
        x = keras.layers.Dense(hidden, activation="relu", kernel_initializer="he_normal", name=f"{name}_hidden")(x)
    # float32 under any policy: the loss and the activation maps need the logits' full precision.
    return keras.layers.Dense(classes, dtype="float32", name=f"{name}_logits")(x)


def classifier_levels(classifier: keras.Model) -> tuple[str, ...]:
    """Return the pyramid levels of `classifier` that carry a head, shallow to deep."""
    names = {layer.name for layer in classifier.layers}
    return tuple(level for level in LEVELS if f"head_{level.lower()}_logits" in names)


def head_layers(classifier: keras.Model, level: str) -> tuple[keras.layers.Dense | None, keras.layers.Dense]:
    """Return (hidden layer or None, logits layer) of the head on `level`.

    Raises:
        InputError: `level` carries no head.
    """
    levels = classifier_levels(classifier)
    if level not in levels:
        raise InputError(f"level {level!r}: this classifier has heads on {', '.join(levels)}; use one of them")
    layers = {layer.name: layer for layer in classifier.layers}
    return layers.get(f"head_{level.lower()}_hidden"), layers[f"head_{level.lower()}_logits"]


def preprocess(images: np.ndarray, mean_pixel) -> np.ndarray:
    """Return `images` minus the mean pixel, float32, as Matterport's `mold_image`.

    Args:
        images: `[..., 3]` RGB, uint8 or float, 0 to 255.
        mean_pixel: 3 numbers (R, G, B), 0 to 255.
    """
    return np.asarray(images, np.float32) - np.asarray(mean_pixel, np.float32)
