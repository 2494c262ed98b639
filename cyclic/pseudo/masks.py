"""Pseudo masks of one image, and their files."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cyclic.errors import InputError
from cyclic.files import read_json, write_image, write_json
from cyclic.images import read_image
from cyclic.label_maps import read_label_map, write_label_map

# The area in pixels that counts of masks refer to: the paper's 1000 x 1000 images.
COUNT_AREA = 1_000_000
# Border around a pseudo mask, in pixels, that is background: with a free border, masks that learn from it grow.
RING = 2


@dataclass
class PseudoMasks:
    """Pseudo masks of one image.

    Attributes:
        labels: `[H, W]` int32, 0 = no pseudo mask, 1..n by rank (1 = best).
        confidence: `[n]` float32 in [0, 1], of labels 1..n.
        ignore: `[H, W]` bool, neither a pseudo mask nor confidently background.
    """

    labels: np.ndarray
    confidence: np.ndarray
    ignore: np.ndarray


def save_pseudo_masks(folder: str | Path, image_id: str, pseudo: PseudoMasks) -> None:
    """Write `labels/<id>.tif`, `ignore/<id>.png` (0 or 255) and, last, `scores/<id>.json` under `folder`."""
    folder = Path(folder)
    write_label_map(folder / "labels" / f"{image_id}.tif", pseudo.labels)
    write_image(folder / "ignore" / f"{image_id}.png", pseudo.ignore.astype(np.uint8) * 255)
    write_json(folder / "scores" / f"{image_id}.json", {"confidence": [float(value) for value in pseudo.confidence]})


def load_pseudo_masks(folder: str | Path, image_id: str) -> PseudoMasks:
    """Return what `save_pseudo_masks` wrote.

    Raises:
        InputError: a file is missing or broken, or the files do not belong together.
    """
    folder = Path(folder)
    labels = read_label_map(folder / "labels" / f"{image_id}.tif")
    ignore = read_image(folder / "ignore" / f"{image_id}.png")[..., 0] > 127
    scores_path = folder / "scores" / f"{image_id}.json"
    confidence = np.array(read_json(scores_path).get("confidence", []), np.float32)
    if ignore.shape != labels.shape or len(confidence) != labels.max(initial=0):
        raise InputError(f"{scores_path}: does not fit labels/ and ignore/ of this image; make the pseudo masks again")
    return PseudoMasks(labels, confidence, ignore)
