"""Class maps: `[H, W]` integer, 0 = no class, what kind of nucleus a pixel belongs to."""

from pathlib import Path

import numpy as np

from cyclic.errors import InputError
from cyclic.files import label_files
from cyclic.label_maps import read_label_map
from cyclic.mat import read_mat

MAT_CLASS_KEYS = ("type_map", "class_map")
# In the project's own layout the class maps lie in `types/`, beside the label maps in `labels/`.
LABELS, TYPES = "labels", "types"


def read_class_map(path: Path, shape: tuple[int, int]) -> np.ndarray | None:
    """Return the class map that belongs to a label map, `[H, W]` int32, or None where there is none.

    Args:
        path: the label map. A .mat file holds `type_map` or `class_map` itself; of another file in a folder `labels/`,
            the class map is the file of the same id in `types/` beside that folder.
        shape: (H, W) of the label map.

    Raises:
        InputError: what is there is no map of whole numbers in this shape.
    """
    if path.is_dir():
        return None
    if path.suffix.lower() == ".mat":
        classes, origin = _read_mat_classes(path), f"{path}: {' or '.join(MAT_CLASS_KEYS)}"
    else:
        types = path.parent.with_name(TYPES)
        file = label_files(types).get(path.stem) if path.parent.name == LABELS and types.is_dir() else None
        classes, origin = (None, "") if file is None else (read_label_map(file), f"{file}:")
    if classes is None:
        return None
    if classes.shape != shape or classes.dtype.kind not in "buif" or (classes < 0).any() or (classes % 1).any():
        raise InputError(f"{origin} is no map of classes 0, 1, ... in the shape {shape}; repair or remove it")
    return classes.astype(np.int32)


def _read_mat_classes(path: Path) -> np.ndarray | None:
    try:
        return read_mat(path, MAT_CLASS_KEYS)
    except Exception as error:  # each decoder raises its own types for a broken file
        raise InputError(f"{path}: not a readable map of classes ({error}); replace or remove the file") from error
