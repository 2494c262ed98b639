"""Normalisation layers of the backbones: trained, frozen or batch-independent."""

import math

import keras
from keras import ops

from cyclic.backbones.per_channel import normalise
from cyclic.errors import InputError

NORMS = ("batch", "frozen", "group")

# Matterport's h5 files were trained with Keras' default; torchvision's 1e-5 would shift every feature.
EPSILON = 1e-3


@keras.saving.register_keras_serializable(package="cyclic")
class FrozenBatchNormalization(keras.layers.BatchNormalization):
    """Batch normalisation that always uses its stored statistics and never trains.

    It stays frozen inside a parent model that trains, also after `parent.trainable = True`. The weights keep the
    names and the order of `keras.layers.BatchNormalization`: gamma, beta, moving_mean, moving_variance.

    Example:
        >>> layer = FrozenBatchNormalization()
        >>> tuple(layer(keras.random.normal((2, 8, 8, 16))).shape), len(layer.trainable_weights)
        ((2, 8, 8, 16), 0)
    """

    def __init__(self, **kwargs):
        super().__init__(**{**kwargs, "trainable": False})

    @property
    def trainable(self) -> bool:
        return False

    @trainable.setter
    def trainable(self, value: bool) -> None:
        # A parent hands its own flag down to every layer; a frozen layer does not take it.
        keras.layers.BatchNormalization.trainable.fset(self, False)

    def build(self, input_shape):
        super().build(input_shape)
        for weight in self.weights:
            weight.trainable = False

    def call(self, inputs, training=None, mask=None):
        if keras.backend.backend() != "torch":
            return super().call(inputs, training=False, mask=mask)
        # PyTorch runs each of Keras' operations alone: three passes over the map instead of one.
        import torch

        weights = (self.gamma, self.beta, self.moving_mean, self.moving_variance)
        gamma, beta, mean, variance = (ops.convert_to_tensor(weight, "float32") for weight in weights)
        scale = gamma * torch.rsqrt(variance + self.epsilon)
        return ops.cast(torch.addcmul(beta - mean * scale, inputs, scale), self.compute_dtype)


@keras.saving.register_keras_serializable(package="cyclic")
class FoldedGroupNormalization(keras.layers.GroupNormalization):
    """Group normalisation (Wu & He 2018) of feature maps `[B, H, W, C]` in one scale and shift for each channel.

    Keras' layer passes over the map several times. Here mean and variance of a group come from those of its channels,
    and gamma and beta are folded in: `x * scale + shift`. Statistics are float32 under every dtype policy.

    Example:
        >>> tuple(FoldedGroupNormalization(groups=4)(keras.random.normal((2, 8, 8, 16))).shape)
        (2, 8, 8, 16)
    """

    def call(self, inputs):
        return normalise(ops.cast(inputs, self.compute_dtype), self._weigh)

    def _weigh(self, mean_of_each, variance_of_each):
        """Return scale and shift of the channels from their means and variances, `[B, C]` float32 each."""
        by_group, shape = (-1, self.groups, mean_of_each.shape[-1] // self.groups), (-1, mean_of_each.shape[-1])
        mean_of_each, variance_of_each = (ops.reshape(each, by_group) for each in (mean_of_each, variance_of_each))
        mean = ops.mean(mean_of_each, axis=-1, keepdims=True)
        variance = ops.mean(variance_of_each + ops.square(mean_of_each - mean), axis=-1, keepdims=True)
        gamma, beta = (ops.reshape(ops.cast(weight, "float32"), by_group) for weight in (self.gamma, self.beta))
        scale = gamma * ops.rsqrt(variance + self.epsilon)
        return ops.reshape(scale, shape), ops.reshape(beta - mean * scale, shape)


def norm_layer(norm: str, channels: int, name: str) -> keras.layers.Layer:
    """Return the normalisation layer for `channels` feature channels.

    Args:
        norm: "batch" (trained), "frozen" (stored statistics, not trained) or "group" (at most 32 groups; independent of
            the batch size, the choice for training from scratch with small batches).
        channels: number of channels of the layer's input.
        name: layer name.

    Raises:
        InputError: `norm` is not one of `NORMS`.
    """
    if norm == "batch":
        return keras.layers.BatchNormalization(epsilon=EPSILON, name=name)
    if norm == "frozen":
        return FrozenBatchNormalization(epsilon=EPSILON, name=name)
    if norm == "group":
        return FoldedGroupNormalization(groups=math.gcd(32, channels), epsilon=EPSILON, name=name)
    raise InputError(f"unknown norm {norm!r}: use one of {', '.join(NORMS)}")
