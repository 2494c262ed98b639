"""Stain normalisation: images get the colours of a reference image, by the methods of the library torchstain."""

import importlib.util

import numpy as np

from cyclic.errors import InputError

METHODS = ("macenko", "reinhard")
# Macenko's methods count a pixel as stained if each of its optical densities, with this white, is over this one.
WHITE, DENSITY = 240, 0.15
# Of an image with a smaller share of stained pixels the stains cannot be told.
MIN_STAINED = 0.005


class StainNormaliser:
    """Gives images the stain of a reference.

    "macenko" finds the two stains of an image in the plane of its optical densities (Macenko et al. 2009). "reinhard"
    gives each channel of the Lab colours the reference's mean and standard deviation (Reinhard et al. 2001).

    Args:
        method: one of `METHODS`.
        reference: `[H, W, 3]` uint8 RGB, H&E.
        name: what messages call the reference.

    Raises:
        InputError: torchstain is not installed, or the reference shows no stained tissue.
    """

    def __init__(self, method: str, reference: np.ndarray, name: str):
        if importlib.util.find_spec("torchstain") is None:
            raise InputError("stain normalisation needs torchstain; install it: pip install torchstain")
        # Its NumPy classes are imported by themselves: they need neither PyTorch nor TensorFlow.
        from torchstain.numpy.normalizers.macenko import NumpyMacenkoNormalizer
        from torchstain.numpy.normalizers.reinhard import NumpyReinhardNormalizer

        if not is_stained(reference):
            raise InputError(f"{name}: no stained tissue, so it is no reference; give another one with --reference")
        self._normaliser = {"macenko": NumpyMacenkoNormalizer, "reinhard": NumpyReinhardNormalizer}[method]()
        self._normaliser.fit(reference)

    def normalise(self, image: np.ndarray) -> np.ndarray:
        """Return an image (`[H, W, 3]` uint8 RGB, with stained tissue) in the reference's stain, `[H, W, 3]` uint8."""
        result = self._normaliser.normalize(image)
        return result[0] if isinstance(result, tuple) else result


def is_stained(image: np.ndarray) -> bool:
    """Whether enough of an image (`[H, W, 3]` uint8 RGB) is stained to tell its stains."""
    density = -np.log((image.astype(np.float32) + 1) / WHITE)
    return bool((density >= DENSITY).all(-1).mean() >= MIN_STAINED)
