"""Weights by layer name, in the h5 layout that Matterport's files have.

Only leaf layers and their names count. So one layout serves training, inference and the classifier, and a backbone's
weights load from any file that holds layers of its names.
"""

import contextlib
import dataclasses
import hashlib
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

# The attribute of a file and of each of its groups that tells whether a byte changed since it was written.
CHECKSUM = "checksum"
# What the scales of an int8 weight are called after it, see `compact`.
SCALE = "_scale"
# The model that Matterport nests these layers in; its loader finds them nowhere else.
GROUPS = dict.fromkeys(("rpn_conv_shared", "rpn_class_raw", "rpn_bbox_pred"), "rpn_model")


# HDF5 takes no longer attribute. Keras writes a longer list of names in pieces, as attributes NAME0, NAME1 and so on.
MAX_ATTRIBUTE_BYTES = 64_512


class OtherShapes(InputError):
    """The layer `layer` of a file has other shapes than that of the model."""

    def __init__(self, message, layer):
        super().__init__(message)
        self.layer = layer


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
    with atomic_path(path) as temporary, in_memory(temporary, "w") as file:
        stored: dict[str, dict] = {}
        for name, layer in leaf_layers(model).items():
            weights = {f"{name}/{weight.name}:0": weight for weight in _weights_to_save(layer)}
            stored.setdefault(GROUPS.get(name, name), {}).update(weights)
        _write_names(file, "layer_names", stored)
        for name, value in (attributes or {}).items():
            file.attrs[name] = _encode(value) if isinstance(value, str) else value
        file.attrs[CHECKSUM] = _encode(_attributes_checksum(file))
        for group_name, weights in stored.items():
            arrays = {name: np.asarray(weight.numpy(), "float32") for name, weight in weights.items()}
            _write_names(_write_group(file, group_name, arrays), "weight_names", arrays)
        for group_name, arrays in (groups or {}).items():
            _write_group(file, group_name, {name: np.asarray(array) for name, array in arrays.items()})


@contextlib.contextmanager
def in_memory(path, mode):
    """Yield an h5 file that lies in memory, and write it to `path` when the block ends.

    HDF5 by itself writes to the disk bit by bit. Where that is full, it ends the whole process.
    """
    with h5py.File(path, mode, driver="core", backing_store=False) as file:
        yield file
        file.flush()
        content = file.id.get_file_image()
    path.write_bytes(content)


def _write_group(file, name, arrays):
    group = file.create_group(name)
    for array_name, array in arrays.items():
        group.create_dataset(array_name, data=array)
    group.attrs[CHECKSUM] = _encode(_arrays_checksum(arrays))
    return group


def _arrays_checksum(arrays):
    """Return the SHA-256 of `{name: array}`: names, types, shapes and bytes, in any order."""
    sums = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        sums.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        sums.update(array.tobytes())
    return sums.hexdigest()


def _attributes_checksum(file):
    """Return the SHA-256 of what is stored beside the layers' names."""
    stored = {key: str(value) for key, value in _attributes(file).items()}
    return hashlib.sha256(str(sorted(stored.items())).encode()).hexdigest()


def read_attributes(path):
    """Return the attributes stored with the weights file `path`, without the layer names.

    Raises:
        InputError: no such file, no weights file, or an attribute is another than when the file was written.
    """
    with open_file(path) as file:
        if CHECKSUM in file.attrs and _decode(file.attrs[CHECKSUM]) != _attributes_checksum(file):
            raise InputError(f"{path}: its settings are not those that it was written with; copy or train it again")
        return _attributes(file)


def _attributes(file):
    stored = {
        name: value for name, value in file.attrs.items() if not re.fullmatch(rf"layer_names\d*|{CHECKSUM}", name)
    }
    return {name: _decode(value) if isinstance(value, bytes) else value for name, value in stored.items()}


def change_attribute(path, name, value):
    """Store another value of an attribute, a string, in the weights file `path`."""
    with in_memory(Path(path), "r+") as file:
        file.attrs[name] = _encode(value)
        file.attrs[CHECKSUM] = _encode(_attributes_checksum(file))


def add_part(path, name, source):
    """Copy the weights file `source` into the weights file `path` as its part `name`, see `load_weights`.

    A part may hold layers of the same names as the file itself, with other weights.
    """
    with open_file(source) as given, in_memory(Path(path), "r+") as file:
        file.copy(given, file, name)


def has_part(path, name):
    """Whether the weights file `path` has the part `name`."""
    with open_file(path) as file:
        return name in file and "layer_names" in file[name].attrs


def read_group(path, name):
    """Return `{name: array}` of the group that `save_weights` stored under `name`; empty where there is none.

    Whether they are the arrays that were written, `check_group` tells.
    """
    with open_file(path) as file:
        return {key: dataset[()] for key, dataset in file.get(name, {}).items()}


def check_group(path, name):
    """Raise `InputError` where an array of a group that `save_weights` stored is another than was written."""
    with open_file(path) as file:
        _check_group(path, file[name])


def _check_group(path, group):
    """Raise `InputError` where a group's arrays are not those written. Files of other programs have no checksum."""
    if CHECKSUM not in group.attrs:
        return
    if _decode(group.attrs[CHECKSUM]) != _arrays_checksum(_arrays(group)):
        raise InputError(f"{path}: {group.name[1:]} is not what was written there (damaged); copy or train it again")


def _arrays(group):
    """Return `{name: array}` of all that lies in a group."""
    arrays = {}
    group.visititems(lambda name, item: arrays.update({name: item[()]} if isinstance(item, h5py.Dataset) else {}))
    return arrays


def renew_checksum(group):
    """Store the checksum of what an open h5 group holds now."""
    group.attrs[CHECKSUM] = _encode(_arrays_checksum(_arrays(group)))


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
        InputError: no such file, no weights file, no layer in common, a weight of another shape, NaN or infinity in a
            weight, a layer that is not as this program wrote it, or one that is missing where `whole` asks for all. No
            weight has changed then.
    """
    layers = leaf_layers(model)
    with open_file(path) as file:
        source = file if part is None else file[part]
        stored = _read_weights(source, path, layers)
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
        for group in dict.fromkeys(GROUPS.get(name, name) for name in loaded):
            if group in source:
                _check_group(path, source[group])
    for name, arrays in values.items():
        for weight, array in zip(_weights_to_save(wanted[name]), arrays, strict=True):
            weight.assign(array)
    unused = tuple(name for name in stored if name not in layers)
    report = LoadReport(loaded, missing, excluded, unused, mismatched)
    logger.info("%s: %s", path, report)
    return report


@contextlib.contextmanager
def open_file(path):
    """Open a weights file to read. Whatever h5py says of a damaged one, also later, becomes one line."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such weights file; check the path")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except InputError:
        raise
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, MemoryError) as error:
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
    """Return the arrays of `datasets`, checked against the shapes of the layer's weights, for NaN and infinity."""
    if not _fits(layer, datasets):
        shapes, stored = _shapes(layer), [dataset.shape for dataset in datasets]
        message = f"{path}: layer {layer.name} has shapes {stored}, in the model {shapes}; exclude it"
        raise OtherShapes(message, layer.name)
    values = [_read(dataset) for dataset in datasets]
    for what, found in (("NaN", np.isnan), ("infinity", np.isinf)):
        if any(found(value).any() for value in values):
            raise InputError(f"{path}: {what} in layer {layer.name}; use an earlier checkpoint")
    return values


def _read(dataset):
    """Return a stored weight as float32; one of int8 has a scale for each channel of its last axis."""
    value = dataset[()]
    if value.dtype == np.float16:
        return value.astype(np.float32)
    if value.dtype != np.int8:
        return value
    return value * dataset.parent[dataset.name.rpartition("/")[2] + SCALE][()]


def _encode(text):
    """Return a text, or the names in a list, as bytes of fixed length.

    Keras 2, and so Matterport's code, decodes each name. And text of variable length lies behind pointers that HDF5
    follows unchecked: a flipped bit there ends the process.
    """
    return np.bytes_(text.encode()) if isinstance(text, str) else np.array([name.encode() for name in text])


def _decode(name):
    return name.decode() if isinstance(name, bytes) else str(name)


def _write_names(group, attribute, names):
    """Store names as an attribute of an h5 group, or as several where they are too long for one."""
    encoded = _encode(names)
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
    return [_decode(name) for piece in pieces for name in piece]
