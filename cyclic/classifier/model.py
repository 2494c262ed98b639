"""The classifier: a backbone with a head on one or more pyramid levels.

A head is linear, so each position of its level has logits of its own: its evidence. The tile's logits are a mean of
them. Over all positions, this is global average pooling, as in the paper's head on C5. Over the strongest share, it
asks for *some* nucleus in a positive tile, and the evidence of a shallow level shows where the nuclei are.
"""

import weakref

import keras
import numpy as np
from keras import ops

from cyclic.backbones import LEVELS
from cyclic.errors import InputError

# For each classifier, the models that show its evidence.
_WITH_EVIDENCE: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


@keras.saving.register_keras_serializable(package="cyclic")
class StrongestMean(keras.layers.Layer):
    """Logits of a tile: the mean of those at the positions that speak most for class 1.

    Input: logits of the positions, `[B, h, w, 2]`. Output: `[B, 2]`.

    Args:
        share: share of the positions that count, in (0, 1]; at least one position does.

    Example:
        >>> positions = keras.ops.array([[[[0.0, 4.0], [0.0, 2.0]], [[0.0, -9.0], [0.0, -9.0]]]])
        >>> keras.ops.convert_to_numpy(StrongestMean(0.5)(positions)).tolist()
        [[0.0, 3.0]]
    """

    def __init__(self, share, **kwargs):
        super().__init__(**kwargs)
        self.share = share

    def call(self, logits):
        height, width = ops.shape(logits)[1:3]
        positions = ops.reshape(logits, (-1, height * width, 2))
        order = ops.argsort(positions[..., 0] - positions[..., 1], axis=1)
        strongest = ops.take_along_axis(positions, order[..., None], axis=1)[:, : self._count(height * width)]
        return ops.mean(strongest, axis=1)

    def _count(self, positions):
        """Return how many positions count: an int where their number is one, since JAX slices by nothing else."""
        if isinstance(positions, int):
            return max(int(np.float32(self.share) * np.float32(positions)), 1)
        return ops.maximum(ops.cast(self.share * ops.cast(positions, "float32"), "int32"), 1)

    def compute_output_shape(self, input_shape):
        return input_shape[0], 2

    def get_config(self):
        return {**super().get_config(), "share": self.share}


def build_classifier(
    backbone: keras.Model,
    levels: tuple[str, ...] = ("C2",),
    hidden: int | None = None,
    classes: int = 2,
    share: float = 1.0,
) -> keras.Model:
    """Return a functional classifier on the layers of `backbone`, up to the deepest head: it shares their weights.

    Input: image `[B, H, W, 3]` float32 after `preprocess`, H and W divisible by 32.
    Output: logits `[B, classes]` float32, the mean over the levels' heads. A head is global average pooling, an
    optional `head_c5_hidden` (dense, ReLU) and `head_c5_logits` (dense); "c5" stands for the level in lower case. With
    a `share` below 1, `head_c5_logits` gives logits at each position, and `StrongestMean` pools them.
    The paper's classifier is `levels=("C5",), hidden=1024` (Zhou et al. 2023, section III-B).

    Args:
        backbone: what `cyclic.backbones.build_backbone` returned.
        levels: pyramid levels that carry a head, at least one of C2 to C5.
        hidden: units of the hidden layer of each head; None for none.
        classes: number of classes; class 1 is "has nuclei" when there are two.
        share: share of a level's positions that its head's answer is the mean of, the strongest first, in (0, 1]; 1 is
            average pooling. Below 1, there are two classes and no hidden layer.

    Raises:
        InputError: no level, a level named twice, or one that is not in the pyramid; or a `share` that is out of range
            or does not go with the head.
    """
    if not 0 < share <= 1 or (share < 1 and (hidden is not None or classes != 2)):
        raise InputError(f"classifier share {share}: in (0, 1]; below 1 for two classes and without a hidden layer")
    if not levels or len(set(levels)) != len(levels) or not set(levels) <= LEVELS.keys():
        raise InputError(f"classifier levels {tuple(levels)}: name one or more of {', '.join(LEVELS)}, each once")
    image = keras.Input(backbone.input_shape[1:], name="image")
    # Layers above the heads would have no gradient, and be computed and stored for nothing.
    deepest = max(LEVELS[level][0] for level in levels)
    pyramid = keras.Model(backbone.input, backbone.outputs[: deepest + 1], name="backbone")(image)
    pyramid = pyramid if isinstance(pyramid, list) else [pyramid]
    logits = [
        _build_head(pyramid[LEVELS[level][0]], f"head_{level.lower()}", hidden, classes, share) for level in levels
    ]
    output = keras.layers.Average(name="logits", dtype="float32")(logits) if len(logits) > 1 else logits[0]
    return keras.Model(image, output, name="classifier")


def _build_head(features, name, hidden, classes, share):
    if share < 1:
        positions = keras.layers.Dense(classes, dtype="float32", name=f"{name}_logits")(features)
        return StrongestMean(share, dtype="float32", name=f"{name}_pool")(positions)
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


def with_evidence(classifier: keras.Model, level: str) -> keras.Model:
    """Return the model image -> {"answer": the classifier's logits `[B, 2]`, "evidence": that of a level `[B, h, w]`}.

    The evidence of a position is its logit of class 1 minus that of class 0: over 0, there is rather a nucleus. The
    model shares the classifier's weights, and is built once for each classifier and level.

    Args:
        classifier: what `build_classifier` returned for two classes.
        level: pyramid level with a head that has no hidden layer; h and w are the image's sides over its stride.

    Raises:
        InputError: `level` carries no such head.
    """
    models = _WITH_EVIDENCE.setdefault(classifier, {})
    if level not in models:
        hidden, logits = head_layers(classifier, level)
        if hidden is not None:
            raise InputError(f"level {level!r}: its head has a hidden layer, and so no evidence of each position")
        pool = classifier.get_layer(f"head_{level.lower()}_pool")
        # Average pooling comes before the logits, the mean of the strongest after them.
        positions = pool.input if isinstance(pool, StrongestMean) else logits(pool.input)
        evidence = positions[..., 1] - positions[..., 0]
        outputs = {"answer": classifier.output, "evidence": evidence}
        models[level] = keras.Model(classifier.input, outputs, name="with_evidence")
    return models[level]


def evidence_network(classifier: keras.Model, level: str) -> keras.Model:
    """Return the model image -> evidence `[B, h, w]` float32 alone, see `with_evidence`: no position is ranked."""
    models, key = _WITH_EVIDENCE.setdefault(classifier, {}), (level, "alone")
    if key not in models:
        both = with_evidence(classifier, level)
        models[key] = keras.Model(both.input, both.output["evidence"], name="evidence")
    return models[key]


def preprocess(images: np.ndarray, mean_pixel) -> np.ndarray:
    """Return `images` minus the mean pixel, float32, as Matterport's `mold_image`.

    Args:
        images: `[..., 3]` RGB, uint8 or float, 0 to 255.
        mean_pixel: 3 numbers (R, G, B), 0 to 255.
    """
    return np.asarray(images, np.float32) - np.asarray(mean_pixel, np.float32)
