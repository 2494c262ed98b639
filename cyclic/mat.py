"""MATLAB files, looked through before SciPy reads them: in a damaged one its native code reads beyond its memory.

Reference: MathWorks, "MAT-File Format", level 5: a header of 128 bytes, then elements of kind, size and content.
"""

import struct
import zlib
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import h5py
import numpy as np
import scipy.io
import scipy.sparse

HEADER, TAG = 128, 8  # bytes
MATRIX, COMPRESSED = 14, 15
# Kinds of numbers and text, and classes of variables that hold numbers: sparse, text, and double to uint64.
PLAIN = {1, 2, 3, 4, 5, 6, 7, 9, 12, 13, 16, 17, 18}
NUMERIC = range(4, 16)
# Bytes that a compressed variable may have unpacked.
LARGEST = 2**33


def read_mat(path: Path, keys: Sequence[str]) -> np.ndarray | None:
    """Return the first of the variables `keys` that a .mat file holds, of any version, dense; None if there is none.

    Raises:
        ValueError, or what the decoders raise: the file is damaged.
    """
    if h5py.is_hdf5(path):  # MATLAB 7.3: HDF5, whose axes are the other way round
        with h5py.File(path) as file:
            key = next((key for key in keys if key in file), None)
            if key is None:
                return None
            if not isinstance(file[key], h5py.Dataset) or file[key].dtype.kind not in "buifc":
                raise ValueError(f"{key} holds no numbers")
            return np.asarray(file[key][()]).T
    _check(path.read_bytes(), keys)
    content = scipy.io.loadmat(path, variable_names=keys)
    key = next((key for key in keys if key in content), None)
    if key is None:
        return None
    if not scipy.sparse.issparse(content[key]):
        return content[key]
    content[key].check_format(full_check=True)
    return content[key].toarray()


def names_of(path: Path) -> list[str]:
    """Return the names of the variables in a .mat file of any version but 7.3.

    Raises:
        ValueError, or what the decoders raise: the file is damaged.
    """
    _check(path.read_bytes(), ())
    return [name for name, _, _ in scipy.io.whosmat(path)]


def _check(content: bytes, keys: Collection[str]) -> None:
    """Raise ValueError where a file of level 5 is damaged, or one of the variables `keys` holds no numbers."""
    if content[126:128] not in (b"IM", b"MI"):  # level 4, which SciPy reads without native code
        return
    order = "<" if content[126:128] == b"IM" else ">"
    for kind, body in _elements(content[HEADER:], order, padded=False):
        if kind == COMPRESSED:
            unpacker = zlib.decompressobj()
            body = unpacker.decompress(body, LARGEST)
            if unpacker.unconsumed_tail:
                raise ValueError(f"a variable of more than {LARGEST} bytes")
            matrices = list(_elements(body, order))
        else:
            matrices = [(kind, body)]
        for inner, matrix in matrices:
            if inner != MATRIX:
                raise ValueError(f"an element of kind {inner} where a variable is needed")
            _check_matrix(matrix, order, keys)


def _check_matrix(content: bytes, order: str, keys: Collection[str]) -> None:
    parts = _elements(content, order)
    head = [next(parts, None) for _ in range(3)]
    if not all(head):
        raise ValueError("a variable without its flags, sides and name")
    (flags_kind, flags), (sides_kind, sides), (name_kind, name) = head  # type: ignore[misc]
    if (flags_kind, sides_kind, name_kind) != (6, 5, 1) or len(flags) != 8 or len(sides) % 4 or len(sides) < 8:
        raise ValueError("a variable with other flags, sides or name than numbers of their kinds")
    if name.decode("latin-1") not in keys:
        return
    if flags[0 if order == "<" else 3] not in NUMERIC:
        raise ValueError(f"{name.decode('latin-1')} holds no numbers")
    for kind, _ in parts:
        if kind not in PLAIN:
            raise ValueError(f"an element of kind {kind} where numbers are needed")


def _elements(content: bytes, order: str, padded: bool = True) -> Iterator[tuple[int, bytes]]:
    """Yield kind and content of each element; ValueError for one that is longer than what it lies in."""
    place = 0
    while place + TAG <= len(content):
        kind, size = struct.unpack_from(f"{order}II", content, place)
        if kind >> 16:  # four bytes or fewer lie in the tag itself
            kind, size = kind & 0xFFFF, kind >> 16
            begin, after = place + 4, place + TAG
            if size > 4:
                raise ValueError("a short element of more than four bytes")
        else:
            begin = place + TAG
            after = begin + (-(-size // 8) * 8 if padded else size)
        if begin + size > len(content):
            raise ValueError("cut short")
        yield kind, content[begin : begin + size]
        place = after
