"""Weights by layer name, in the h5 layout that Matterport's files have.

Only leaf layers and their names count. So one layout serves training, inference and the classifier, and a backbone's
weights load from any file that holds layers of its names.
"""

import dataclasses
import logging
import re
from pathlib import Path

import h5py
import keras
import numpy as np

from cyclic.errors import InputError
from cyclic.files import atomic_path
from cyclic.mrcnn.weights import imagenet

logger = logging.getLogger(__name__)

# The model that Matterport nests these layers in; its loader finds them nowhere else.
GROUPS = dict.fromkeys(("rpn_conv_shared", "rpn_class_raw", "rpn_bbox_pred"), "rpn_model")


# HDF5 takes no longer attribute. Keras writes a longer list of names in pieces, as attributes NAME0, NAME1 and so on.
MAX_ATTRIBUTE_BYTES = 64_512


@dataclasses.dataclass(frozen=True, repr=False)
class LoadReport:
    """What `load_weights` did; printed, it is one line.

    Attributes:
        loaded: names of the layers that got weights from the file.
        missing: names of the model's layers that the file does not have.
        excluded: names of the layers that were left as they are.
        unused: names of the file's layers that the model does not have.
        mismatched: names of the layers that were left as they are, since the file has them in another shape.
    """

    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    excluded: tuple[str, ...]
    unused: tuple[str, ...]
    mismatched: tuple[str, ...] = ()

    def __str__(self):
        mismatched = f", {len(self.mismatched)} of another shape" if self.mismatched else ""
        return (
            f"{len(self.loaded)} layers loaded, {len(self.missing)} not in the file, "
            f"{len(self.excluded)} excluded, {len(self.unused)} in the file alone{mismatched}"
        )

    def __repr__(self):
        # Short, since many a notebook's cell ends with `load_weights`.
        return f"LoadReport({self})"


def leaf_layers(model):
    """Return `{name: layer}` of all layers with weights of their own, also those inside other layers.

    Raises:
        ValueError: two different layers with weights share a name.
    """
    leaves: dict[str, keras.layers.Layer] = {}

    def visit(layer):
        inner = getattr(layer, "layers", None)
        if inner is not None:
            for child in inner:
                visit(child)
        elif _weights_to_save(layer) and leaves.setdefault(layer.name, layer) is not layer:
            raise ValueError(f"two layers are named {layer.name}; weights go by name, rename one")

    visit(model)
    return leaves


def _weights_to_save(layer):
    """Return the weights of a layer, without the state of random generators."""
    return [weight for weight in layer.weights if "seed_generator" not in weight.path]


def save_weights(path, model, attributes=None, groups=None):
    """Write the weights of `model` to the h5 file `path`, by layer name.

    Args:
        path: file to write; it appears whole or not at all.
        model: any `keras.Model`.
        attributes: `{name: str or number}` stored with the file.
        groups: `{group: {name: array}}` stored beside the layers; `load_weights` passes over them.
    """
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        stored: dict[str, dict] = {}
        for name, layer in leaf_layers(model).items():
            weights = {f"{name}/{weight.name}:0": weight for weight in _weights_to_save(layer)}
            stored.setdefault(GROUPS.get(name, name), {}).update(weights)
        _write_names(file, "layer_names", stored)
        file.attrs.update(attributes or {})
        for group_name, weights in stored.items():
            group = file.create_group(group_name)
            _write_names(group, "weight_names", weights)
            for weight_name, weight in weights.items():
                group.create_dataset(weight_name, data=np.asarray(weight.numpy(), "float32"))
        for group_name, arrays in (groups or {}).items():
            group = file.create_group(group_name)
            for name, array in arrays.items():
                group.create_dataset(name, data=array)


def read_attributes(path):
    """Return the attributes stored with the weights file `path`, without the layer names."""
    with _open(path) as file:
        return {key: value for key, value in file.attrs.items() if not re.fullmatch(r"layer_names\d*", key)}


def add_part(path, name, source):
    """Copy the weights file `source` into the weights file `path` as its part `name`, see `load_weights`.

    A part may hold layers of the same names as the file itself, with other weights.
    """
    with _open(source) as given, h5py.File(path, "r+") as file:
        file.copy(given, file, name)


def has_part(path, name):
    """Whether the weights file `path` has the part `name`."""
    with _open(path) as file:
        return name in file and "layer_names" in file[name].attrs


def read_group(path, name):
    """Return `{name: array}` of the group that `save_weights` stored under `name`; empty where there is none."""
    with _open(path) as file:
        return {key: dataset[()] for key, dataset in file.get(name, {}).items()}


def load_weights(path, model, exclude=(), skip_mismatch=False, whole=False, part=None):
    """Load the weights file `path` into the layers of `model` that it names.

    Args:
        path: h5 file in Matterport's layout, of any age: `layer_names` as bytes or str, weights at the root or under
            `model_weights`, layers nested in models, TimeDistributed wrappers or a multi-GPU wrapper. A file of
            keras.applications is turned into our weights, see `imagenet`.
        model: any `keras.Model`.
        exclude: layer names to leave as they are.
        skip_mismatch: True leaves layers as they are whose weights have another shape in the file.
        whole: True refuses a file that lacks a layer of the model.
        part: name of a part of the file (`add_part`); None: the file itself.

    Returns:
        `LoadReport`, which is logged too.

    Raises:
        InputError: no such file, no weights file, no layer in common, a weight of another shape, NaN in a weight, a
            layer that is missing where `whole` asks for all. No weight has changed then.
    """
    layers = leaf_layers(model)
    with _open(path) as file:
        stored = _read_weights(file if part is None else file[part], path, layers)
        excluded = tuple(name for name in layers if name in set(exclude))
        wanted = {name: layer for name, layer in layers.items() if name not in excluded}
        found = [name for name in wanted if name in stored]
        missing = tuple(name for name in wanted if name not in stored)
        if not found:
            raise InputError(f"{path}: none of its layers is in the model; is it the file of another network?")
        if whole and missing:
            raise InputError(
                f"{path}: lacks {len(missing)} of {len(wanted)} layers, e.g. {missing[0]}; load what it has with "
                "by_name=True"
            )
        mismatched = tuple(name for name in found if skip_mismatch and not _fits(wanted[name], stored[name]))
        loaded = tuple(name for name in found if name not in mismatched)
        values = {name: _read_matching(path, wanted[name], stored[name]) for name in loaded}
    for name, arrays in values.items():
        for weight, array in zip(_weights_to_save(wanted[name]), arrays, strict=True):
            weight.assign(array)
    unused = tuple(name for name in stored if name not in layers)
    report = LoadReport(loaded, missing, excluded, unused, mismatched)
    logger.info("%s: %s", path, report)
    return report


def _open(path):
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such weights file; check the path")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise InputError(f"{path}: not a readable h5 weights file ({error}); replace the file") from error


def _read_weights(file, path, known):
    """Return `{leaf layer name: [dataset or array, ...]}` in the stored order; `known` are the model's layer names."""
    root = file.get("model_weights", file)
    try:
        layer_names = _read_names(root, "layer_names")
    except KeyError as error:
        raise InputError(
            f"{path}: no layer names in this h5 file; weights in Matterport's layout are needed"
        ) from error
    stored: dict[str, list] = {}
    for layer_name in layer_names:
        try:
            group = root[layer_name]
            datasets = {name: group[name] for name in _read_names(group, "weight_names")}
        except KeyError as error:
            raise InputError(f"{path}: layer {layer_name} is incomplete ({error}); replace the file") from error
        for weight_name, dataset in datasets.items():
            stored.setdefault(_leaf_name(weight_name, layer_name, known), []).append(dataset)
    return imagenet.convert_weights(stored, layer_names)


def _leaf_name(weight_name, group_name, known):
    """Return the name of the layer that a stored weight belongs to.

    That is the last folder of its name, `rpn_model/rpn_conv_shared/kernel:0`. Where a program had built a second model,
    TensorFlow 1 numbered the folder (`conv1_1/kernel:0`); then the group's name or the name without the number is
    that of the layer.
    """
    folders = weight_name.split("/")[:-1]
    folder = folders[-1] if folders else group_name
    candidates = (folder, group_name, re.sub(r"_\d+$", "", folder))
    return next((name for name in candidates if name in known), folder)


def _shapes(layer):
    return [tuple(weight.shape) for weight in _weights_to_save(layer)]


def _fits(layer, datasets):
    return _shapes(layer) == [dataset.shape for dataset in datasets]


def _read_matching(path, layer, datasets):
    """Return the arrays of `datasets`, checked against the shapes of the layer's weights and for NaN."""
    if not _fits(layer, datasets):
        shapes, stored = _shapes(layer), [dataset.shape for dataset in datasets]
        raise InputError(f"{path}: layer {layer.name} has shapes {stored}, in the model {shapes}; exclude it")
    values = [dataset[()] for dataset in datasets]
    if any(np.isnan(value).any() for value in values):
        raise InputError(f"{path}: NaN in layer {layer.name}; use an earlier checkpoint")
    return values


def _write_names(group, attribute, names):
    """Store names as an attribute of an h5 group, or as several where they are too long for one."""
    # Fixed-length bytes: Keras 2, and so Matterport's code, decodes each name.
    encoded = np.array([name.encode() for name in names])
    if encoded.nbytes <= MAX_ATTRIBUTE_BYTES:
        group.attrs[attribute] = encoded
        return
    rows = MAX_ATTRIBUTE_BYTES // encoded.itemsize
    for index, start in enumerate(range(0, len(encoded), rows)):
        group.attrs[f"{attribute}{index}"] = encoded[start : start + rows]


def _read_names(group, attribute):
    """Return the names that an attribute of an h5 group, or its numbered pieces, hold; KeyError without either."""
    pieces = [group.attrs[attribute]] if attribute in group.attrs else []
    while f"{attribute}{len(pieces)}" in group.attrs:
        pieces.append(group.attrs[f"{attribute}{len(pieces)}"])
    if not pieces:
        raise KeyError(attribute)
    return [name.decode() if isinstance(name, bytes) else str(name) for piece in pieces for name in piece]
