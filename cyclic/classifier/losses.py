"""Losses of a classifier with local evidence: some nucleus in a positive tile, and what is known of single pixels."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="cyclic")
class SomeNucleusLoss(keras.losses.Loss):
    """Cross-entropy of the answers for positive tiles; the mean is over all tiles.

    Labels `[B]`: 1 positive, else without loss. Logits `[B, 2]`. Negative tiles learn from `EvidenceLoss`, at every
    position alike: a loss of their strongest positions would leave of each nucleus only what no background looks like.

    Example:
        >>> loss = SomeNucleusLoss()
        >>> round(float(loss(keras.ops.array([1, 0]), keras.ops.array([[1.0, 1.0], [0.0, 9.0]]))), 3)
        0.347
    """

    def call(self, y_true, y_pred):
        positive = ops.cast(ops.reshape(y_true, (-1,)) == 1, y_pred.dtype)
        return positive * ops.softplus(y_pred[:, 0] - y_pred[:, 1])


@keras.saving.register_keras_serializable(package="cyclic")
class EvidenceLoss(keras.losses.Loss):
    """Binary cross-entropy of the evidence at the positions that something is known of, the mean of each tile.

    Targets `[B, h, w]`: 1 nucleus, 0 background, negative: unknown. Evidence `[B, h, w]`: logits. A tile of which
    nothing is known has no loss.

    Example:
        >>> loss = EvidenceLoss()
        >>> round(float(loss(keras.ops.array([[[1.0, -1.0]]]), keras.ops.array([[[0.0, 9.0]]]))), 3)
        0.693
    """

    def call(self, y_true, y_pred):
        known = ops.cast(y_true >= 0, y_pred.dtype)
        target = ops.maximum(ops.cast(y_true, y_pred.dtype), 0)
        losses = known * (ops.softplus(y_pred) - target * y_pred)
        return ops.sum(losses, (1, 2)) / ops.maximum(ops.sum(known, (1, 2)), 1)
