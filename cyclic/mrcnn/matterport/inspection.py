"""Looking into a model: intermediate outputs, anchors and layers, under Matterport's names."""

import collections
import functools
import re

import keras
import numpy as np
from keras import ops

from cyclic.mrcnn.detect.detector import Detector
from cyclic.mrcnn.geometry.anchors_numpy import pyramid_anchors, pyramid_anchors_normalized
from cyclic.mrcnn.layers.network import MASK_LEVELS, training_model
from cyclic.mrcnn.layers.proposals import ProposalLayer
from cyclic.mrcnn.matterport.inference_graph import inference_model
from cyclic.mrcnn.weights.h5 import leaf_layers

# Names of the outputs of the inference graph, in Matterport's order.
OUTPUTS = ("detections", "mrcnn_class", "mrcnn_bbox", "mrcnn_mask", "rpn_rois", "rpn_class", "rpn_bbox")
# What Matterport's notebooks look up inside the layer ROI.
ROI_STEPS = ("pre_nms_anchors", "refined_anchors", "refined_anchors_clipped", "rpn_non_max_suppression")


def log(text, array=None):
    """Print `text` and, of an array, shape, extreme values and type."""
    if array is not None:
        array = np.asarray(array)
        extremes = f"min: {array.min():10.5f}  max: {array.max():10.5f}" if array.size else "empty"
        text = f"{text:25}shape: {str(array.shape):20}  {extremes}  {array.dtype}"
    print(text)


class Inspection(Detector):
    """A `Detector` with Matterport's `keras_model` and the methods of `MaskRCNN` that look into it.

    Attributes:
        keras_model: the Keras model of the mode, see `network.training_model` and `inference_graph.inference_model`.
    """

    def __init__(self, mode, config, network, jit_compile=False):
        super().__init__(mode, config, network, jit_compile)
        self._anchored_size = None
        if mode == "training":
            self.keras_model = training_model(network, config.SEED)

    @functools.cached_property
    def keras_model(self):
        """The graph of inference mode, built when it is asked for first."""
        model = inference_model(self.network, self._detection_model.predict_on_batch)
        model.jit_compile = self._detection_model.jit_compile
        return model

    @property
    def anchors(self):
        """Anchors in pixels of the molded images that were detected in last, or of the last `get_anchors`: `[A, 4]`.

        Raises:
            AttributeError: neither has been called.
        """
        if self._anchored_size is None:
            raise AttributeError("no anchors before the first detect() or get_anchors(image.shape)")
        return pyramid_anchors(self.config, self._anchored_size)

    def get_anchors(self, image_shape):
        """Return the anchors of a molded image of `image_shape` (H, W, ...), `[A, 4]` float32, normalized.

        `self.anchors` holds them in pixels then.
        """
        self._anchored_size = tuple(image_shape[:2])
        return pyramid_anchors_normalized(self.config, image_shape)

    def predict_boxes(self, molded_images, image_metas):
        self._anchored_size = molded_images.shape[1:3]
        return super().predict_boxes(molded_images, image_metas)

    def get_trainable_layers(self):
        """Return all layers with weights of their own, also those inside other layers."""
        return list(leaf_layers(self.network).values())

    def find_trainable_layer(self, layer):
        """Return the layer that holds the weights: what a wrapper such as TimeDistributed wraps, or `layer`."""
        if isinstance(layer, keras.layers.Wrapper):
            return self.find_trainable_layer(layer.layer)
        return leaf_layers(layer).get(layer.name, layer)

    def ancestor(self, tensor, name, checked=None):
        """Follow the graph back from `tensor` to the layer `name` and return that layer's output, or None.

        Args:
            tensor: symbolic tensor, e.g. `keras_model.get_layer("ROI").output`.
            name: layer name, as a regular expression; `name:1` is the layer's second output. A number that Keras added
                to the name may be left out. Where several layers match, the nearest counts. Keras 3 has no nodes for
                what happens inside a layer; but the steps of "ROI" have Matterport's names, see `ROI_STEPS`.
            checked: kept for Matterport's callers.
        """
        path, _, index = name.partition(":")
        layer, _, step = path.partition("/")
        nodes = list(_history([tensor]))
        if step:
            rois = [
                node for node in nodes if node.operation.name == layer and isinstance(node.operation, ProposalLayer)
            ]
            return _roi_step(rois[0], step) if rois else None
        for node in nodes[1:]:
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
            `{name: array}`, each also printed. The RPN runs once for each pyramid level, so outputs of layers inside it
            are lists of arrays.

        Raises:
            ValueError: there is no such layer or tensor, or the output depends on the ground truth.
        """
        if image_metas is None:
            images, image_metas, _ = self.mold_inputs(images)
        images, image_metas = np.asarray(images, "float32"), np.asarray(image_metas)
        wanted = {name: self._in_graph(name, what) for name, what in outputs}
        inputs = {tensor.name: tensor for tensor in _inputs(keras.tree.flatten(wanted))}
        given = self._given(images, image_metas)
        if not inputs.keys() <= given.keys():
            raise ValueError(f"an output depends on {sorted(inputs.keys() - given.keys())}: use the inference mode")
        computed = keras.Model(inputs, wanted)({name: given[name] for name in inputs}, training=False)
        computed = keras.tree.map_structure(lambda value: _without_padding(ops.convert_to_numpy(value)), computed)
        for name, value in computed.items():
            for array in keras.tree.flatten(value):
                log(name, array)
        return computed

    def _given(self, images, image_metas):
        """Return the inputs of both graphs that images and metas give, by name."""
        if self.mode == "training":
            return {"image": images, "image_meta": image_metas}
        anchors = self.get_anchors(images.shape[1:3])
        return {
            "input_image": images,
            "input_image_meta": image_metas,
            "input_anchors": np.broadcast_to(anchors, (len(images), *anchors.shape)),
        }

    def _named_outputs(self):
        """Return `{name: tensor}` of the outputs of `keras_model`, and in inference mode of the pyramid."""
        if self.mode == "training":
            return self.keras_model.output
        levels = {level: self.keras_model.get_layer(f"fpn_{level}").output for level in MASK_LEVELS}
        return {**dict(zip(OUTPUTS, self.keras_model.outputs, strict=True)), **levels}

    def _in_graph(self, name, what):
        """Return the tensor of `keras_model`'s graph that `what` (see `run_graph`) stands for, or a list of several.

        For a tensor inside a part of the network, the piece of the part that leads to the tensor is applied to the
        inputs of each of the part's calls.
        """
        if what is None:
            raise ValueError(
                f"{name}: None is no output; there is no such operation. Use get_layer(name).output, or ancestor with "
                f"ROI/ and one of {', '.join(ROI_STEPS)}"
            )
        if isinstance(what, str):
            named = self._named_outputs()
            what = named[what] if what in named else self.keras_model.get_layer(what).output
        if not isinstance(what, keras.KerasTensor):
            return keras.tree.map_structure(lambda output: self._in_graph(name, output), what)
        sources = _inputs([what])
        if _ids(sources) <= _ids(self.keras_model.inputs):
            return what
        for part, calls in self._calls().items():
            if _ids(sources) <= _ids(part.inputs):
                piece = keras.Model(part.inputs, what)
                results = [piece(inputs) for inputs in calls]
                return results[0] if len(results) == 1 else results
        raise ValueError(f"{name}: {what} is not a tensor of this model")

    def _calls(self):
        """Return `{part of the network: inputs of each of its calls}` in the graph of the mode."""
        if self.mode == "inference":
            return self.keras_model.calls
        nodes = list(_history(self.keras_model.outputs))
        return {part: [node.input_tensors for node in nodes if node.operation is part] for part in self.network.layers}


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


def _without_padding(array):
    """Return an array as it is, or without its padding if it is the list of indices of `ROISteps`."""
    return array[array >= 0] if array.ndim == 1 and array.dtype == np.int32 else array


def _inputs(tensors):
    """Return the input tensors that `tensors` are computed from."""
    return [node.output_tensors[0] for node in _history(tensors) if node.is_input]


def _ids(tensors):
    return {id(tensor) for tensor in tensors}


def _roi_step(node, name):
    """Return the tensor of a step of `ROI_STEPS` inside the node of the layer ROI; None for any other step or node."""
    if node is None or not isinstance(node.operation, ProposalLayer):
        return None
    return ROISteps(node.operation)(*node.input_tensors).get(name.partition("/")[0])


class ROISteps(keras.layers.Layer):
    """The steps inside a `ProposalLayer`, as a layer of their own.

    Args:
        proposals: the `ProposalLayer`.

    Returns:
        `{name of ROI_STEPS: tensor}`. The last are the indices of the first image, -1 where fewer are left.
    """

    def __init__(self, proposals):
        super().__init__(dtype="float32")
        self.proposals = proposals

    def call(self, probabilities, deltas, anchors):
        steps = self.proposals.steps(probabilities, deltas, anchors)
        indices = ops.where(steps["valid"][0], steps["indices"][0], -1)
        return {**{name: steps[name] for name in ROI_STEPS[:3]}, ROI_STEPS[3]: indices}

    def compute_output_spec(self, probabilities, deltas, anchors):
        boxes = {name: keras.KerasTensor((probabilities.shape[0], None, 4)) for name in ROI_STEPS[:3]}
        return {**boxes, ROI_STEPS[3]: keras.KerasTensor((self.proposals.proposal_count,), "int32")}
