"""Floating-point operations of the network's parts: two for each multiplication and addition of a matrix product."""

import keras
import numpy as np


def operations(model, inputs) -> float:
    """Return the floating-point operations of the convolutions and dense layers of `model`.

    Args:
        model: `keras.Model` of single layers.
        inputs: array or symbolic tensor, or a list of them, of the shapes that count.
    """
    inputs = inputs if isinstance(inputs, (list, tuple)) else [inputs]
    symbols = [keras.Input(batch_shape=value.shape) for value in inputs]
    sized = keras.models.clone_model(model, input_tensors=symbols if len(symbols) > 1 else symbols[0])
    total = 0.0
    for layer in sized.layers:
        if hasattr(layer, "kernel"):
            places = layer.input if isinstance(layer, keras.layers.Conv2DTranspose) else layer.output
            total += 2.0 * np.prod(places.shape[:-1]) * np.prod(layer.kernel.shape)
    return float(total)


def training_operations(network) -> dict[str, float]:
    """Return the operations of the forward pass of one training step of `network`, part by part.

    "RPN" is that of all anchors, which yields the proposals; "RPN, sampled anchors" is that of those that bear loss.
    """
    config = network.config
    batch, rois = config.BATCH_SIZE, config.TRAIN_ROIS_PER_IMAGE
    positives = int(rois * config.ROI_POSITIVE_RATIO)
    image = keras.Input(batch_shape=(batch, *map(int, config.IMAGE_SHAPE)))
    features = network.backbone(image)
    pyramid = network.fpn(features)

    def maps(count, side):
        return keras.Input(batch_shape=(count, side, side, config.TOP_DOWN_PYRAMID_SIZE))

    return {
        "backbone": operations(network.backbone, image),
        "FPN": operations(network.fpn, features),
        "RPN": sum(operations(network.rpn, level) for level in pyramid),
        "RPN, sampled anchors": operations(network.rpn, maps(batch * config.RPN_TRAIN_ANCHORS_PER_IMAGE, 1)),
        "box head": operations(network.box_head, maps(batch * rois, config.POOL_SIZE)),
        "mask head": operations(network.mask_head, maps(batch * positives, config.MASK_POOL_SIZE)),
    }


def backward_operations(forward: dict[str, float]) -> float:
    """Return the operations of the backward pass: one product for the weights and one for the inputs of each layer.

    No gradient flows through the RPN of all anchors.
    """
    return 2.0 * sum(work for part, work in forward.items() if part != "RPN")


def step_operations(forward: dict[str, float]) -> float:
    """Return the operations of a whole training step."""
    return sum(forward.values()) + backward_operations(forward)
