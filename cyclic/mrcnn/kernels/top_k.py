"""The largest values, in one order on every backend."""

import keras
from keras import ops


def top_k(values, k):
    """Return the k largest values of each row, largest first; of equal ones the first in the row comes first.

    `keras.ops.top_k` promises nothing for equal values, and PyTorch's takes any of them.

    Args:
        values: `[..., N]` of any number type.
        k: how many, at most N; a number or a tensor.

    Returns:
        `[..., k]` values in the type of `values`, and `[..., k]` int32 indices into N.

    Example:
        >>> [part.tolist() for part in map(keras.ops.convert_to_numpy, top_k(keras.ops.array([1, 2, 2, 0]), 3))]
        [[2, 2, 1], [1, 2, 0]]
    """
    if keras.backend.backend() == "torch":
        import torch

        found, indices = torch.sort(ops.convert_to_tensor(values), dim=-1, descending=True, stable=True)
        return found[..., :k], ops.cast(indices[..., :k], "int32")
    found, indices = ops.top_k(values, k)
    return found, ops.cast(indices, "int32")
