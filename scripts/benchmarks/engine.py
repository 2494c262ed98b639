"""The network from image to proposals' scores and boxes: Keras beside OpenVINO on the same weights.

This part is two thirds of a detection. An engine of its own is worth its weight where it is faster by far, so this
tells whether one is. Both compute in what `precision: auto` chooses. Needs the package `openvino`, and TensorFlow as
backend. `peer_facts` holds the largest difference of an output, as a share of the output's largest value.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.workers import duel
from cyclic.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--weights", default="he-nuclei", help="name of a model, or best.weights.h5 of a run")
    parser.add_argument("--sides", type=int, nargs="+", default=[512, 768], help="px of the network's input")
    parser.add_argument("--repeats", type=int, default=7, help="the median of so many calls counts")


def run(arguments: argparse.Namespace) -> list[dict]:
    try:
        import openvino
    except ImportError:
        raise InputError("openvino is not installed; pip install openvino") from None
    rows = []
    for side in arguments.sides:
        settings = {"weights": arguments.weights, "side": side}
        contenders = ("benchmarks.engine:Keras", settings), ("benchmarks.engine:OpenVino", settings)
        name = f"OpenVINO {openvino.__version__.split('-')[0]}"
        rows.append(duel(f"{side} x {side}", *contenders, name, arguments.repeats))
    return rows


class Keras:
    """The part of the network as one TensorFlow function, called on one input."""

    def __init__(self, settings: dict):
        import keras
        import tensorflow as tf

        import cyclic
        from cyclic.mrcnn.layers.network import detection_model
        from cyclic.networks import precision

        predictor = cyclic.Predictor.load(settings["weights"])
        self.facts = {"precision": precision(predictor.config)}
        whole = detection_model(predictor.model.network)
        outputs = [whole.output[name] for name in ("p2", "p3", "p4", "p5", "rpn_class", "rpn_bbox")]
        part = keras.Model(whole.input["image"], outputs)
        shape = (1, settings["side"], settings["side"], 3)
        self.image = np.random.default_rng(0).normal(0, 40, shape).astype(np.float32)
        self.function = tf.function(lambda image: part(image, training=False))
        self.function = self.function.get_concrete_function(tf.TensorSpec(shape, tf.float32))
        self.tensor = tf.constant(self.image)

    def __call__(self) -> list[np.ndarray]:
        return [np.asarray(output) for output in self.function(self.tensor)]


class OpenVino:
    """The same part, compiled by OpenVINO for one input at a time."""

    def __init__(self, settings: dict):
        import openvino
        import tensorflow as tf
        from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

        reference = Keras(settings)
        frozen = convert_variables_to_constants_v2(reference.function)
        with tempfile.TemporaryDirectory() as folder:
            tf.io.write_graph(frozen.graph.as_graph_def(), folder, "part.pb", as_text=False)
            model = openvino.convert_model(Path(folder) / "part.pb", input=list(reference.image.shape))
            kind = "f32" if reference.facts["precision"] == "float32" else "bf16"
            options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": 2, "INFERENCE_PRECISION_HINT": kind}
            compiled = openvino.Core().compile_model(model, "CPU", options)
        self.request, self.image = compiled.create_infer_request(), reference.image
        self.facts = {"precision": kind, "difference": difference(reference(), self())}

    def __call__(self) -> list[np.ndarray]:
        self.request.infer([self.image])
        return [tensor.data for tensor in self.request.output_tensors]


def difference(expected: list[np.ndarray], found: list[np.ndarray]) -> float:
    """Return the largest difference of arrays from those of the same shape, as a share of the largest value."""
    same = {array.shape: array for array in found}
    return float(max(np.abs(same[each.shape] - each).max() / np.abs(each).max() for each in expected))
