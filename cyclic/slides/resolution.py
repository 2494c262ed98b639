"""How large a slide's pixels are, and what brings it to another resolution."""

import warnings
from pathlib import Path

from cyclic.errors import InputError
from cyclic.resolution import Resolution, check_mpp, enlargement


def known_mpp(path: Path, stated: float | None, found: Resolution, assumed: float | None) -> float | None:
    """Return the micrometres per pixel of a slide, and warn where nobody says them.

    Args:
        path: the slide.
        stated: by a person; wins.
        found: in the file.
        assumed: those of the model; None: it needs none.
    """
    if stated is not None:
        return check_mpp(stated, "mpp")
    if found.mpp is None and assumed is not None:
        reason = f"says {found.ignored}" if found.ignored else "does not say its resolution"
        warnings.warn(
            f"{path}: {reason}; taken for {assumed:g} µm per pixel, as in training; --mpp states another", stacklevel=3
        )
    return found.mpp


def bring_to(path: Path, mpp: float | None, wanted: float | None) -> float:
    """Return the factor that brings a slide to a resolution; 1 where either is not known.

    Raises:
        InputError: the two are too far apart, see `resolution.enlargement`.
    """
    if mpp is None or wanted is None:
        return 1.0
    try:
        return enlargement(mpp, wanted)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
