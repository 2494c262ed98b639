"""The head of one pyramid level in closed form: score and gradient without a second pass through the network."""

import keras
import numpy as np

from cyclic.classifier.model import head_layers


class LevelHead:
    """Score of `target_class` under the head of one level, and its gradient.

    The score is the target's logit minus the mean of the other logits: a softmax only knows the difference. Without
    `contrast`, it is the target's logit. The head is global average pooling followed by dense layers. So its gradient
    with respect to a feature map is the same at every position, and known from the weights.

    Args:
        classifier: what `cyclic.classifier.build_classifier` returned.
        level: pyramid level with a head.
        target_class: class whose evidence is wanted.
        contrast: whether the other logits count against it.

    Attributes:
        hidden: (kernel `[C, U]`, bias `[U]`) of the hidden layer, or None.
        kernel: `[U]` (`[C]` without hidden layer) weights of the score.
        bias: bias of the score.

    Raises:
        InputError: `level` carries no head.
    """

    def __init__(self, classifier: keras.Model, level: str, target_class: int = 1, contrast: bool = True):
        hidden, logits = head_layers(classifier, level)
        self.hidden: tuple[np.ndarray, np.ndarray] | None = None
        if hidden is not None:
            kernel, bias = (np.asarray(weight, np.float32) for weight in hidden.get_weights())
            self.hidden = kernel, bias
        kernel, bias = logits.get_weights()
        direction = np.full(bias.size, -1 / (bias.size - 1) if contrast else 0, np.float32)
        direction[target_class] = 1
        self.kernel = kernel @ direction
        self.bias = float(bias @ direction)

    def score(self, pooled: np.ndarray) -> np.ndarray:
        """Return the score `[...]` of pooled features `[..., C]`."""
        if self.hidden is not None:
            kernel, bias = self.hidden
            pooled = np.maximum(pooled @ kernel + bias, 0)
        return pooled @ self.kernel + self.bias

    def gradients(self, features: np.ndarray) -> np.ndarray:
        """Return d score / d features, `[B, h, w, C]` (a read-only view), of feature maps `[B, h, w, C]`."""
        height, width, channels = features.shape[1:]
        if self.hidden is None:
            gradients = self.kernel
        else:
            kernel, bias = self.hidden
            active = features.mean((1, 2)) @ kernel + bias > 0
            gradients = ((active * self.kernel) @ kernel.T).reshape(-1, 1, 1, channels)
        return np.broadcast_to(gradients / (height * width), features.shape)
