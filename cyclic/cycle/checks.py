"""What is looked at before a run starts or goes on: is all there, is the data the same, which labels will not count?"""

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np

from cyclic.cycle.context import Context, Inputs
from cyclic.datasets.answers import answers_by_file, check_number, training_answers
from cyclic.datasets.dataset import NucleiDataset
from cyclic.datasets.joined import joined_id
from cyclic.datasets.tile_folder import check_size, count_placed, load_tiles, tiles_of
from cyclic.errors import InputError
from cyclic.files import digest, is_litter, read_json, require_file, write_json
from cyclic.images import read_shape
from cyclic.label_maps import is_foreground
from cyclic.mrcnn.kernels.devices import shared_by
from cyclic.mrcnn.weights.h5 import read_attributes
from cyclic.networks import starting_weights
from cyclic.resolution import read_resolution, same
from cyclic.runs.directory import RunDirectory
from cyclic.trained import check_start

NAMED = 3
# The names in `data.json` of the tiles, or the file of answers, that a user gives, and of the labels.
TILES, ANSWERS, LABELS = "tiles", "answers", "labels"
# What messages call a file of the splits and of these.
KINDS = {TILES: "tile", ANSWERS: "file", LABELS: "label map"}


def check_inputs(inputs: Inputs) -> None:
    """Look for what would stop a new run in its first stages, before its folder is made.

    Raises:
        InputError: fewer devices than the settings ask for; no weights, tiles or answers where they say, tiles of
            another size than they say, no labels to cut tiles from or to train on, or an image smaller than a tile.
    """
    config, train = inputs.config, inputs.train
    shared_by(config.mask_rcnn.devices)
    if weights := starting_weights(config):
        read_attributes(weights)
    if config.start:
        check_start(config.start, config)
    if config.supervision == "none":
        return
    if config.supervision == "image" and config.tiles.folder:
        check_size(given_tiles(inputs), config.tiles.size)
        return
    if config.supervision == "image" and config.tiles.answers:
        training_answers(config.tiles.answers, train, config.tiles.size)
        return
    if config.start:
        return
    without = [name for name in train.ids if not train.has_labels(name)]
    if without:
        raise InputError(f"{inputs.data}: {_labels_missing(config.supervision, without, train.ids)}")
    for name in train.ids if config.supervision == "image" else ():
        path, shape = train.image_path(name), read_shape(train.image_path(name))
        if min(shape) < config.tiles.size:
            raise InputError(f"{path}: {shape[0]} x {shape[1]} pixels, smaller than a tile; lower tiles.size")


def _labels_missing(supervision: str, without: list[str], names: list[str]) -> str:
    if supervision == "instance":
        return f"not every training image has labels; add them or choose another supervision: {_name(without)}"
    if len(without) == len(names):
        return (
            "no labels to cut tiles from; set tiles.folder to a folder with positive/ and negative/, or give --answers "
            "FILE from cyclic label"
        )
    return f"not every training image has labels; add them or set tiles.folder, or give --answers: {_name(without)}"


def given_tiles(inputs: Inputs) -> list[Path]:
    """Return the tiles of `tiles.folder` that may train; none where the run cuts its own.

    Raises:
        InputError: the folder is missing, or holds no such tile of one of the classes.
    """
    folder = inputs.config.tiles.folder
    if inputs.config.supervision != "image" or folder is None:
        return []
    try:
        return load_tiles(folder, inputs.held_ids).paths
    except InputError as error:
        raise InputError(f"tiles.folder = {folder}: {error}") from error


def given_answers(inputs: Inputs) -> dict[str, Path]:
    """Return `{name: file}` of the answers that a run learns from; of several data sets, the set is in the name.

    Raises:
        InputError: there is no such file, or not one for each data set.
    """
    if inputs.config.supervision != "image" or not inputs.config.tiles.answers:
        return {}
    paths, names = [require_file(path) for path in inputs.config.tiles.answers], inputs.train.set_names
    if len(paths) == 1:
        return {paths[0].name: paths[0]}
    check_number(paths, inputs.train)
    return {joined_id(name, path.name): path for name, path in zip(names, paths, strict=True)}


def check_same_data(
    path: Path,
    data: str,
    train: NucleiDataset,
    val: NucleiDataset | None,
    tiles: Sequence[Path] = (),
    answers: Mapping[str, Path] = MappingProxyType({}),
) -> None:
    """Remember which images and labels a run was given, or compare them with those that it was given before.

    Args:
        path: `data.json` of the run.
        data: folder of the data set, or of several, for messages.
        train, val: its images.
        tiles: the tiles that a user gives.
        answers: `{name: file}` of the answers that a user gives.

    Raises:
        InputError: an image, label map or tile was added, taken out, changed, or moved to another split; the answers
            are others; or `path` is broken.
    """
    now = _images(train, val)
    labels = {
        name: _digest_labels(dataset.label_path(name))
        for dataset in (train, val)
        if dataset is not None
        for name in dataset.ids
        if dataset.has_labels(name)
    }
    if labels:
        now[LABELS] = labels
    if tiles:
        now[TILES] = {f"{tile.parent.name}/{tile.name}": digest(tile) for tile in tiles}
    if answers:
        now[ANSWERS] = {name: digest(file) for name, file in answers.items()}
    if not path.is_file():
        write_json(path, now)
        return
    before = _read_data(path)
    # A run of an earlier version knows neither.
    before |= {kind: now[kind] for kind in KINDS if kind in now and kind not in before}
    _compare(data, before, now)


def check_same_images(path: Path, data: str, train: NucleiDataset, val: NucleiDataset | None) -> None:
    """Compare images with those that a run was given: who looks at a run may have corrected labels since.

    Raises:
        InputError: as `check_same_data`, or there is no such file.
    """
    before = {split: files for split, files in _read_data(path).items() if split not in KINDS}
    _compare(data, before, _images(train, val))


def _images(train: NucleiDataset, val: NucleiDataset | None) -> dict[str, dict[str, str]]:
    """Return `{split: {image id: digest}}`."""
    return {
        split: {name: digest(dataset.image_path(name)) for name in dataset.ids}
        for split, dataset in (("train", train), ("val", val))
        if dataset is not None
    }


def _compare(data: str, before: dict[str, dict[str, str]], now: dict[str, dict[str, str]]) -> None:
    cure = "restore the data set, or start a new run with another --out"
    # First the images: where one has gone, so have its labels.
    for split in sorted({*before, *now}, key=lambda name: (name in KINDS, name)):
        old, new, what = before.get(split, {}), now.get(split, {}), KINDS.get(split, "image")
        for name in [*old, *new]:
            if name not in new:
                raise InputError(f"{data}: {what} {name} was in {split!r} when the run began; {cure}")
            if name not in old:
                raise InputError(f"{data}: {what} {name} came to {split!r} after the run began; {cure}")
            if old[name] != new[name]:
                raise InputError(f"{data}: {what} {name} is another one than when the run began; {cure}")


def _digest_labels(path: Path) -> str:
    """Return one digest of a label file, or of the files of a folder of masks."""
    if path.is_file():
        return digest(path)
    masks = sorted(mask for mask in path.iterdir() if mask.is_file() and not is_litter(mask))
    return hashlib.sha256("".join(f"{mask.name} {digest(mask)}\n" for mask in masks).encode()).hexdigest()


def _read_data(path: Path) -> dict[str, dict[str, str]]:
    content = read_json(path)
    if not isinstance(content, dict) or not all(isinstance(files, dict) for files in content.values()):
        raise InputError(f"{path}: not the images of a run; restore it, or start again with another --out")
    return content


def warn_of_lost_data(run: RunDirectory) -> None:
    """Warn where stages have ended, and nothing tells any more which images they were made of."""
    if run.seconds:
        warnings.warn(
            f"{run.paths.data}: missing, so the data set can't be compared with that of the run; taken for the same",
            stacklevel=2,
        )


def check_run_tiles(context: Context) -> None:
    """Refuse a tile that came to the run's own tiles after they were cut: the classifier would learn from it.

    Raises:
        InputError: there is one.
    """
    if context.run.is_finished("tiles") and not context.config.tiles.folder:
        for path in context.run.strangers("tiles", context.paths.tiles):
            raise InputError(f"{path}: not a tile that this run cut; move it elsewhere")


def warn_of_unused_labels(context: Context) -> None:
    """Warn of val images without labels beside others that have some, and of negative tiles of unknown place."""
    scored = context.scored_ids
    without = [name for name in context.val_ids if name not in scored]
    if scored and without:
        warnings.warn(f"{context.data}: {_name(without)} of val have no labels and are not scored", stacklevel=2)
    if context.config.supervision == "image" and context.config.tiles.answers:
        _warn_of_unused_answers(context, context.config.tiles.answers)
    if context.config.supervision == "image" and context.config.tiles.folder:
        _warn_of_held_tiles(context)
        if context.config.trusts_negative_tiles:
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


def _warn_of_held_tiles(context: Context) -> None:
    held = tiles_of(context.tiles, context.held_ids)
    if held:
        warnings.warn(
            f"{context.tiles}: {sum(held.values())} tiles are of val or test and do not train: {_name([*held])}",
            stacklevel=3,
        )


def _warn_of_unused_answers(context: Context, paths: Sequence[str]) -> None:
    for path, given in answers_by_file(paths, context.train).items():
        others = [line.tile.image_id for line in given if line.tile.image_id not in context.train.ids]
        if others:
            warnings.warn(
                f"{path}: {len(others)} answers are not for training images of {context.data} and do not train: "
                f"{_name(sorted(set(others)))}",
                stacklevel=3,
            )


def _warn_of_tiles_without_a_place(context: Context) -> None:
    total, placed = count_placed(context.tiles, set(context.train.ids), context.held_ids)
    if placed < total:
        warnings.warn(
            f"{context.tiles}: {total - placed} of {total} negative tiles are not named <image id>_<y>_<x> after a "
            "training image; they train the classifier, but mark no background",
            stacklevel=3,
        )


def _name(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{len(names)} images ({', '.join(names[:NAMED])}{more})"
