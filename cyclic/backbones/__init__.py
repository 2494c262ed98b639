"""Backbones: image -> feature pyramid C2 to C5, shared by the classifier and Mask R-CNN."""

import keras

from cyclic.backbones.norm import NORMS, FrozenBatchNormalization
from cyclic.backbones.resnet import DEPTHS, build_resnet
from cyclic.backbones.vgg import build_vgg16
from cyclic.errors import InputError

__all__ = ["BACKBONES", "LEVELS", "NORMS", "FrozenBatchNormalization", "build_backbone"]

BACKBONES = (*DEPTHS, "vgg16")
# Pyramid level -> (position in the backbone's outputs, stride in pixels).
LEVELS = {"C2": (0, 4), "C3": (1, 8), "C4": (2, 16), "C5": (3, 32)}


def build_backbone(name: str, norm: str = "batch", input_shape: tuple = (None, None, 3)) -> keras.Model:
    """Return the backbone `name` as a functional Keras model called "backbone".

    Input: image `[B, H, W, 3]` float32, RGB with the mean pixel already subtracted, H and W divisible by 32.
    Outputs: list [C2, C3, C4, C5] of feature maps `[B, H / s, W / s, channels]` with s = 4, 8, 16, 32; no value is
    negative.
    The layers follow Keras' global dtype policy at the time of the call.

    Args:
        name: one of `BACKBONES`.
        norm: "batch" (trained statistics), "frozen" (stored statistics, never trained; plain convolutions in VGG16) or
            "group" (group normalisation, independent of the batch size).
        input_shape: (height, width, channels); None for sides that vary.

    Raises:
        InputError: unknown name or norm, or a fixed side that is not divisible by 32.
    """
    if name not in BACKBONES:
        raise InputError(f"unknown backbone {name!r}: use one of {', '.join(BACKBONES)}")
    if any(side is not None and side % 32 for side in input_shape[:2]):
        raise InputError(f"backbone input {tuple(input_shape)}: height and width must be divisible by 32")
    if name == "vgg16":
        return build_vgg16(norm, input_shape)
    return build_resnet(name, norm, input_shape)
