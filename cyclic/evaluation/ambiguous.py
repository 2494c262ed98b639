"""Places where nobody could tell the nuclei: what is predicted there counts neither as right nor as wrong."""

from functools import partial
from pathlib import Path

import numpy as np

from cyclic.errors import InputError
from cyclic.evaluation.sources import Nuclei, Source, first_few
from cyclic.files import image_files
from cyclic.images import read_image


def outside(source: Source, folder: str | Path) -> Source:
    """Return predictions without their pixels in ambiguous places, as the MoNuSAC challenge scores them.

    Args:
        source: predictions.
        folder: masks of the images that have such places, `<image id>.png`; ambiguous is what is not black. An image
            without a mask has none. `cyclic prepare monusac` writes this folder.

    Raises:
        InputError: there is no such folder, it holds no mask of these images, or, later, a mask has another size.
    """
    masks = image_files(folder)
    if not masks.keys() & source.readers.keys():
        raise InputError(f"{folder}: no mask for {first_few(list(source.readers))}; name each mask as its image")
    readers = {name: partial(_read, read, masks.get(name)) for name, read in source.readers.items()}
    return Source(source.path, readers)


def _read(read, mask: Path | None) -> Nuclei:
    nuclei: Nuclei = read()
    if mask is None:
        return nuclei
    ambiguous = read_image(mask).any(axis=-1)
    if ambiguous.shape != nuclei.labels.shape:
        raise InputError(f"{mask}: shape {ambiguous.shape}, but {nuclei.origin} has {nuclei.labels.shape}; crop alike")
    labels = np.where(ambiguous, 0, nuclei.labels)
    confidence = nuclei.confidence
    if confidence is not None:
        present = np.unique(nuclei.labels[nuclei.labels > 0])
        confidence = confidence[np.isin(present, labels)]
    return nuclei._replace(labels=labels, confidence=confidence)
