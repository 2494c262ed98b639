"""Smaller weights files: float16, or int8 kernels. They load like any other, back into float32.

An int8 kernel has a scale for each output channel, its largest value over 127; it lies beside it, under the name of the
kernel with `_scale` at the end.
"""

from typing import Literal

import h5py
import numpy as np

from cyclic.errors import InputError
from cyclic.files import atomic_path
from cyclic.mrcnn.weights import h5

LARGEST = 127
# Kernels of fewer numbers stay float16: they save nothing.
SMALLEST = 4096


def write_compact(source, target, kind: Literal["half", "int8"]) -> None:
    """Write the weights file `source`, with its settings and parts, as a smaller file `target`.

    Args:
        source: file of `save_weights`.
        target: file to write; it appears whole or not at all.
        kind: "half" stores all weights as float16; "int8" stores large kernels as int8, the rest as float16.

    Raises:
        InputError: `source` is unreadable, or holds a number that float16 does not.
    """
    with h5.open_file(source) as given, atomic_path(target) as temporary, h5.in_memory(temporary, "w") as file:
        _copy(given, file, kind, source)


def _copy(given, group, kind, source):
    for name, value in given.attrs.items():
        group.attrs[name] = value
    for name, item in given.items():
        if isinstance(item, h5py.Group):
            _copy(item, group.create_group(name), kind, source)
            continue
        for stored_name, array in _encode(name, item[()], kind, source).items():
            group.create_dataset(stored_name, data=array, compression="gzip", shuffle=True)
    # The checksum of a file or a part is that of its attributes, which stay.
    if h5.CHECKSUM in given.attrs and not any(name.startswith("layer_names") for name in given.attrs):
        h5.renew_checksum(group)


def _encode(name, array, kind, source):
    if array.dtype != np.float32:
        return {name: array}
    if kind == "int8" and array.ndim > 1 and array.size >= SMALLEST:
        scale = np.abs(array).reshape(-1, array.shape[-1]).max(axis=0) / LARGEST
        scale = np.where(scale > 0, scale, 1).astype(np.float32)
        return {name: np.round(array / scale).astype(np.int8), name + h5.SCALE: scale}
    with np.errstate(over="ignore"):
        half = array.astype(np.float16)
    if not np.isfinite(half).all():
        raise InputError(f"{source}: {name} holds a number too large for float16; it cannot be made smaller")
    return {name: half}
