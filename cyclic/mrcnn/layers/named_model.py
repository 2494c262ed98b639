"""A Keras model with the doors of Matterport's `keras_model`: layers by name, weights by name, inputs by name."""

import difflib
import logging
from pathlib import Path

import keras

from cyclic.errors import InputError
from cyclic.mrcnn.weights import h5

logger = logging.getLogger(__name__)

# Inputs of the training graph under Matterport's names.
INPUT_NAMES = {
    "image": "input_image",
    "image_meta": "input_image_meta",
    "rpn_match": "input_rpn_match",
    "rpn_target_bbox": "input_rpn_bbox",
    "gt_class_ids": "input_gt_class_ids",
    "gt_boxes": "input_gt_boxes",
    "gt_masks": "input_gt_masks",
}


class NamedModel(keras.Model):
    """Functional model whose layers are found by Matterport's names, also those inside a part of the network.

    Args: those of a functional `keras.Model`.

    Attributes:
        network: the `Network` whose weights `load_weights` and `save_weights` read and write.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.network = None
        # Until here, Keras asks for the layers that it has to keep: the parts as wholes.
        self._laid_open = True

    @property
    def layers(self):
        """All layers, those of backbone, FPN and heads one by one; `rpn_model` is one layer, as it is Matterport's."""
        parts = super().layers
        if not getattr(self, "_laid_open", False):
            return parts
        opened = [[part] if part.name == "rpn_model" else _open(part) for part in parts]
        return [layer for layers in opened for layer in layers]

    @property
    def input_names(self):
        """Matterport's names of the inputs, in Matterport's order."""
        names = [INPUT_NAMES.get(tensor.name, tensor.name) for tensor in self.inputs]
        order = list(INPUT_NAMES.values())
        return sorted(names, key=lambda name: order.index(name) if name in order else len(order))

    def get_layer(self, name=None, index=None):
        """Return a layer by name, also one inside a part of the network, or by its place in `layers`.

        Raises:
            ValueError: no layer has this name; the message tells similar ones, or that it is an output.
        """
        if name is None:
            return self.layers[index]
        # The outermost layer of a name counts.
        known = {layer.name: layer for layer in reversed([*super().layers, *self.layers, *self._rpn_layers()])}
        known.update({theirs: known[ours] for ours, theirs in INPUT_NAMES.items() if ours in known})
        if name not in known and isinstance(self.output, dict) and name in self.output:
            raise ValueError(f"{name!r} is an output and no layer: use keras_model.output[{name!r}]")
        if name not in known:
            similar = ", ".join(difflib.get_close_matches(name, known, n=4, cutoff=0.4)) or "none"
            raise ValueError(f"no layer is named {name!r}; similar names: {similar}")
        return known[name]

    def _rpn_layers(self):
        rpn = next((layer for layer in super().layers if layer.name == "rpn_model"), None)
        return [] if rpn is None else _open(rpn.layer if isinstance(rpn, keras.layers.Wrapper) else rpn)

    def load_weights(self, filepath, by_name=False, skip_mismatch=False):
        """Load a weights file in Matterport's layout; layers go by name in any case.

        Args:
            filepath: h5 file, see `h5.load_weights`.
            by_name: False: the file has to hold every layer. True: layers that it lacks stay as they are, and a warning
                tells how many they are.
            skip_mismatch: True: layers of another shape stay as they are, and a warning names them.

        Returns:
            `h5.LoadReport`.

        Raises:
            InputError: see `h5.load_weights`; or a layer is missing, without `by_name`.
        """
        report = h5.load_weights(filepath, self.network, skip_mismatch=skip_mismatch, whole=not by_name)
        left = report.missing + report.mismatched
        if left:
            logger.warning("%s: %s; as they were: %s", filepath, report, ", ".join(left))
        return report

    def save_weights(self, filepath, overwrite=True):
        """Write the weights in Matterport's layout, under any file name, as Matterport's programs do.

        Raises:
            InputError: the file is there already, and `overwrite` is False.
        """
        if not overwrite and Path(filepath).exists():
            raise InputError(f"{filepath}: is there already; give another name or overwrite=True")
        h5.save_weights(filepath, self.network)


def _open(part):
    """Return the layers inside a model, without its inputs; of any other layer a list of it alone."""
    if not isinstance(part, keras.Model):
        return [part]
    return [leaf for layer in part.layers if not isinstance(layer, keras.layers.InputLayer) for leaf in _open(layer)]
