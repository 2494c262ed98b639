"""Looking into a model: intermediate outputs, anchors and layers, under Matterport's names."""

import collections
import functools
import re

import keras
import numpy as np
from keras import ops

from cyclic.mrcnn.data.molding import read_meta
from cyclic.mrcnn.detect.detector import Detector
from cyclic.mrcnn.geometry.anchors_numpy import pyramid_anchors, pyramid_anchors_normalized
from cyclic.mrcnn.geometry.boxes_numpy import norm_boxes
from cyclic.mrcnn.layers.network import MASK_LEVELS
from cyclic.mrcnn.weights.h5 import leaf_layers


def log(text, array=None):
    """Print `text` and, of an array, shape, extreme values and type."""
    if array is not None:
        array = np.asarray(array)
        extremes = f"min: {array.min():10.5f}  max: {array.max():10.5f}" if array.size else "empty"
        text = f"{text:25}shape: {str(array.shape):20}  {extremes}  {array.dtype}"
    print(text)


class Inspection(Detector):
    """A `Detector` with the methods of `MaskRCNN` that look into its `network` and `keras_model`."""

    def get_anchors(self, image_shape):
        """Return the anchors of a molded image of `image_shape` (H, W, ...), `[A, 4]` float32, normalized.

        `self.anchors` holds them in pixels then.
        """
        self.anchors = pyramid_anchors(self.config, image_shape)
        return pyramid_anchors_normalized(self.config, image_shape)

    def get_trainable_layers(self):
        """Return all layers with weights of their own, also those inside other layers."""
        return list(leaf_layers(self.network).values())

    def find_trainable_layer(self, layer):
        """Return the layer that holds the weights: what a wrapper such as TimeDistributed wraps, or `layer`."""
        return self.find_trainable_layer(layer.layer) if isinstance(layer, keras.layers.Wrapper) else layer

    def ancestor(self, tensor, name, checked=None):
        """Follow the graph back from `tensor` to the layer `name` and return that layer's output, or None.

        Args:
            tensor: symbolic tensor, e.g. `keras_model.get_layer("ROI").output`.
            name: layer name, as a regular expression; `name:1` is the layer's second output. A number that Keras added
                to the name may be left out. Where several layers match, the nearest counts. Keras 3 has no nodes for
                what happens inside a layer.
            checked: kept for Matterport's callers.
        """
        layer, _, index = name.partition(":")
        first, *before = _history([tensor])
        for node in before:
            if re.fullmatch(rf"{layer}(_\d+)*", node.operation.name):
                return node.output_tensors[int(index or 0)]
        return None

    def run_graph(self, images, outputs, image_metas=None):
        """Compute intermediate outputs of the network.

        Args:
            images: list of `[H, W, 3]` uint8 images, or with `image_metas` molded images `[B, H, W, 3]`.
            outputs: list of (name, what). `what` is one of
                - a symbolic tensor of `keras_model` or of a part of the network,
                - the name of a layer,
                - the name of an output: in inference mode detections, mrcnn_class, mrcnn_bbox, mrcnn_mask, rpn_rois,
                  rpn_class, rpn_bbox, p2 .. p5; in training mode a loss.
            image_metas: `[B, meta]`, see `utils.compose_image_meta`.

        Returns:
            `{name: array}`, each also printed. The RPN runs once for each pyramid level, so its outputs are lists of
            arrays.

        Raises:
            ValueError: there is no such layer, or the output depends on the ground truth.
        """
        if image_metas is None:
            images, image_metas, _ = self.mold_inputs(images)
        windows = norm_boxes(read_meta(np.asarray(image_metas), "window"), images.shape[1:3])
        given = {"image": np.asarray(images, "float32"), "window": windows, "image_meta": image_metas}
        wanted = {name: self._in_graph(what) for name, what in outputs}
        used = {id(node.output_tensors[0]) for node in _history(keras.tree.flatten(wanted)) if node.is_input}
        inputs = {name: tensor for name, tensor in self.keras_model.input.items() if id(tensor) in used}
        if not inputs.keys() <= given.keys():
            raise ValueError(f"an output depends on {sorted(inputs.keys() - given.keys())}: use the inference mode")
        computed = keras.Model(inputs, wanted)({name: given[name] for name in inputs}, training=False)
        computed = keras.tree.map_structure(ops.convert_to_numpy, computed)
        for name, value in computed.items():
            for array in value if isinstance(value, list) else [value]:
                log(name, array)
        return computed

    @functools.cached_property
    def _named_outputs(self):
        """`{name: tensor}` of the outputs of `keras_model`; in inference mode also of the masks, which it lacks."""
        outputs = dict(self.keras_model.output)
        if self.mode == "inference":
            boxes = outputs["detections"][..., :4]
            masks = self.network.mask(boxes, [outputs[level] for level in MASK_LEVELS])
            outputs["mrcnn_mask"] = ops.reshape(masks, (-1, boxes.shape[1], *masks.shape[1:]))
        return outputs

    def _in_graph(self, what):
        """Return the tensor of `keras_model`'s graph that `what` (see `run_graph`) stands for, or a list of several.

        A part of the network, such as the backbone, is a single layer of that graph. For a tensor inside a part, the
        piece of the part that leads to the tensor is applied to the part's own inputs.
        """
        if isinstance(what, str) and what in self._named_outputs:
            return self._named_outputs[what]
        nodes = list(_history(self._named_outputs.values()))
        outer = {node.operation.name: node for node in nodes}
        if isinstance(what, str):
            what = outer[what].output_tensors[0] if what in outer else self._layer_output(what)
        operation = what._keras_history.operation
        if any(node.operation is operation for node in nodes):
            return what
        for part in self.network.layers:
            if operation in part.operations:
                piece = keras.Model(part.inputs, what)
                calls = [piece(node.input_tensors) for node in nodes if node.operation is part]
                return calls[0] if len(calls) == 1 else calls
        raise ValueError(f"{what}: not a tensor of this model")

    def _layer_output(self, name):
        """Return the output of the layer `name` inside a part of the network."""
        for part in self.network.layers:
            for layer in part.layers:
                if layer.name == name:
                    return layer.output
        raise ValueError(f"no layer and no output is named {name!r}")


def _history(tensors):
    """Yield the nodes of the Keras graph that the tensors are computed from, nearest first."""
    queue, seen = collections.deque(tensors), set()
    while queue:
        operation, index, _ = queue.popleft()._keras_history
        node = operation._inbound_nodes[index]
        if id(node) not in seen:
            seen.add(id(node))
            yield node
            queue.extend(node.input_tensors)
