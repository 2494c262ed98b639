"""What is looked at before a run starts or goes on: is the data the same, and which labels will not count?"""

import hashlib
import warnings
from pathlib import Path

import numpy as np

from cyclic.cycle.context import Context
from cyclic.datasets.dataset import NucleiDataset
from cyclic.datasets.tile_folder import count_placed
from cyclic.errors import InputError
from cyclic.files import read_json, write_json
from cyclic.label_maps import is_foreground
from cyclic.resolution import read_resolution, same

NAMED = 3


def check_same_data(path: Path, data: Path, train: NucleiDataset, val: NucleiDataset | None) -> None:
    """Remember which images a run was given, or compare them with those that it was given before.

    Args:
        path: `data.json` of the run.
        data: folder of the data set, for messages.
        train, val: its images.

    Raises:
        InputError: an image was added, taken out, changed, or moved to another split.
    """
    now = {
        split: {name: _digest(dataset.image_path(name)) for name in dataset.ids}
        for split, dataset in (("train", train), ("val", val))
        if dataset is not None
    }
    if not path.is_file():
        write_json(path, now)
        return
    before = read_json(path)
    cure = "restore the data set, or start a new run with another --out"
    for split in sorted({*before, *now}):
        old, new = before.get(split, {}), now.get(split, {})
        for name in [*old, *new]:
            if name not in new:
                raise InputError(f"{data}: image {name} was in {split!r} when the run began; {cure}")
            if name not in old:
                raise InputError(f"{data}: image {name} came to {split!r} after the run began; {cure}")
            if old[name] != new[name]:
                raise InputError(f"{data}: image {name} is another one than when the run began; {cure}")


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def warn_of_unused_labels(context: Context) -> None:
    """Warn of val images without labels beside others that have some, and of negative tiles of unknown place."""
    scored = context.scored_ids
    without = [name for name in context.val_ids if name not in scored]
    if scored and without:
        warnings.warn(f"{context.data}: {_name(without)} of val have no labels and are not scored", stacklevel=2)
    if context.config.tiles.folder and context.config.trusts_negative_tiles:
        _warn_of_tiles_without_a_place(context)


def warn_of_resolution(context: Context) -> None:
    """Warn of images whose files say another resolution than the settings do."""
    expected = context.config.mpp
    if expected is None:
        return
    datasets = [context.train, *([context.val] if context.val else [])]
    found = {name: read_resolution(dataset.image_path(name)).mpp for dataset in datasets for name in dataset.ids}
    others = {name: mpp for name, mpp in found.items() if mpp is not None and not same(mpp, expected)}
    if others:
        first = next(iter(others.values()))
        warnings.warn(
            f"{context.data}: {_name(list(others))} say {first:g} µm per pixel, and the settings {expected:g}; "
            f"--set mpp={first:g}, or bring the images to one resolution",
            stacklevel=2,
        )


def warn_of_masks(context: Context, truths: dict[str, np.ndarray]) -> None:
    """Warn of `{image id: label map}` that are masks of all nuclei: each is scored as one nucleus."""
    masks = [name for name, labels in truths.items() if is_foreground(labels)]
    if masks:
        warnings.warn(
            f"{context.data}: the labels of {_name(masks)} hold one label in many pieces, which is scored as one "
            "nucleus; give each nucleus a number of its own",
            stacklevel=2,
        )


def _warn_of_tiles_without_a_place(context: Context) -> None:
    total, placed = count_placed(context.tiles, set(context.train.ids))
    if placed < total:
        warnings.warn(
            f"{context.tiles}: {total - placed} of {total} negative tiles are not named <image id>_<y>_<x> after a "
            "training image; they train the classifier, but mark no background",
            stacklevel=2,
        )


def _name(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{len(names)} images ({', '.join(names[:NAMED])}{more})"
