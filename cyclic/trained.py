"""Files of trained weights: the model that they hold, and the settings that they carry."""

import json
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path

import keras

from cyclic.config import RunConfig, merge_overrides, parse_overrides, read_stored
from cyclic.errors import InputError
from cyclic.files import atomic_path
from cyclic.mrcnn.layers.network import Network
from cyclic.mrcnn.model import MaskRCNN
from cyclic.mrcnn.weights import h5
from cyclic.networks import CLASSIFIER, backbone_of, classifier_of, mask_rcnn_config, precision, stored_settings

# The settings of a run that a trained model can go on with: all of each section's keys, or the section itself.
OF_THE_NETWORK: dict[str, tuple[str, ...]] = {
    "scale": (),
    "mean_pixel": (),
    "backbone": ("name", "norm"),
    "classifier": ("levels", "hidden"),
    "mask_rcnn": ("width", "anchor_scales"),
}
# How a trained model is adapted to other images, in minutes on two CPU cores. Its detections do not teach its
# classifier: beside the few answers these say that nearly everything is a nucleus.
ADAPTING = (
    "cycles=1",
    "classifier.later_steps=200",
    "classifier.feedback=false",
    "mask_rcnn.later_steps=300",
    "mask_rcnn.later_learning_rate=1e-4",
)


def load_mask_rcnn(path: str | Path, overrides: Sequence[str] = ()) -> tuple[MaskRCNN, RunConfig]:
    """Return a trained Mask R-CNN in inference mode, and the settings that it predicts with.

    Args:
        path: `best.weights.h5` or a `model.weights.h5` of a run.
        overrides: `detection.key=value` strings instead of the stored settings, or `mpp=NUMBER`. A smaller tile brings
            a smaller overlap, half a tile at most.

    Raises:
        InputError: the file is missing, unreadable, damaged, lacks a layer or holds no settings, or those of another
            network; or an override is out of range or of another section.
    """
    stored = stored_config(path)
    if "mpp" not in stored.model_fields_set and not any(override.startswith("mpp=") for override in overrides):
        warnings.warn(
            f"{path}: does not say the resolution of its training images; taken for {stored.mpp:g} µm per pixel (40x); "
            "--set mpp=NUMBER states another",
            stacklevel=2,
        )
    config = _with_detection(stored, overrides)
    keras.config.set_dtype_policy(precision(config))
    network = Network(mask_rcnn_config(config), backbone_of(config))
    other = f"{path}: its settings are of another network than its weights"
    try:
        report = h5.load_weights(path, network)
    except h5.OtherShapes as error:
        raise InputError(f"{other} (other shapes in layer {error.layer}); copy or train the file again") from error
    if report.missing:
        raise InputError(
            f"{path}: lacks {len(report.missing)} layers of its own network, e.g. {report.missing[0]}; copy or train "
            "the file again"
        )
    if report.unused:
        raise InputError(f"{other} (they have no {report.unused[0]}); copy or train the file again")
    return MaskRCNN("inference", network.config, network=network), config


def write_finished(path: str | Path, model: str | Path, classifier: str | Path | None) -> None:
    """Write the finished weights of a run: those of Mask R-CNN, with the tile classifier as a part of the file.

    Args:
        path: file to write; it appears whole or not at all.
        model: `model.weights.h5`.
        classifier: `classifier.weights.h5`; None for a run without one.
    """
    with atomic_path(path) as temporary:
        shutil.copyfile(model, temporary)
        if classifier is not None:
            h5.add_part(temporary, CLASSIFIER, classifier)


def store_detection(path: str | Path, overrides: Sequence[str]) -> None:
    """Change the settings of detection that a weights file carries.

    Args:
        path: `best.weights.h5` or the like.
        overrides: `detection.key=value` strings.

    Raises:
        InputError: see `load_mask_rcnn`.
    """
    config = _with_detection(stored_config(path), overrides)
    h5.change_attribute(path, "run_config", stored_settings(config))


def check_start(path: str | Path, config: RunConfig) -> None:
    """Look whether a run with these settings can go on from a model.

    Args:
        path: `best.weights.h5`.
        config: the run's settings.

    Raises:
        InputError: the file is missing or unreadable, holds no classifier, or is of a network of other settings.
    """
    stored = stored_config(path)
    if not h5.has_part(path, CLASSIFIER):
        raise InputError(f"{path}: holds no tile classifier; give best.weights.h5 of a run with image-level labels")
    for section, keys in OF_THE_NETWORK.items():
        ours, theirs = (getattr(each, section) for each in (config, stored))
        for key in keys or ("",):
            here, there = (getattr(each, key) if key else each for each in (ours, theirs))
            if here != there:
                name = f"{section}.{key}" if key else section
                raise InputError(f"{path}: trained with {name}={there}, the settings say {here}; set {name} to {there}")


def adapting(path: str | Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Return the settings of a short run that goes on from a trained model: one cycle of few steps.

    Args:
        path: `best.weights.h5`.
        overrides: `section.key=value` strings on top.

    Raises:
        InputError: see `check_start`; or an override is out of range.
    """
    config = merge_overrides(stored_config(path), [*ADAPTING, f"start={json.dumps(str(path))}", *overrides])
    check_start(path, config)
    return config


def load_own_classifier(path: str | Path, config: RunConfig) -> keras.Model | None:
    """Return the tile classifier that a `best.weights.h5` holds; None where it holds none, as older files do.

    Raises:
        InputError: the file is missing or unreadable, or lacks a layer of the classifier.
    """
    return load_classifier(path, config, CLASSIFIER) if h5.has_part(path, CLASSIFIER) else None


def load_tile_classifier(path: str | Path) -> tuple[keras.Model, RunConfig]:
    """Return the tile classifier that a `best.weights.h5` holds, and the settings that it was trained with.

    Raises:
        InputError: the file is missing or unreadable, holds no tile classifier, or lacks a layer of it.
    """
    config = stored_config(path)
    keras.config.set_dtype_policy(precision(config))
    classifier = load_own_classifier(path, config)
    if classifier is None:
        raise InputError(f"{path}: holds no tile classifier; give best.weights.h5 of a run that learnt from answers")
    return classifier, config


def load_classifier(path: str | Path, config: RunConfig, part: str | None = None) -> keras.Model:
    """Return the classifier from a `classifier.weights.h5` of the run with these settings.

    Args:
        path: the weights file.
        config: the run's settings.
        part: the part of the file that holds it; None: the file itself.

    Raises:
        InputError: the file is missing or unreadable, lacks a layer of the classifier or has others.
    """
    classifier = classifier_of(config, backbone_of(config))
    report = h5.load_weights(path, classifier, part=part)
    for what, names in (("missing", report.missing), ("too many", report.unused)):
        if names:
            raise InputError(
                f"{path}: no classifier of this run ({len(names)} layers {what}, e.g. {names[0]}); give "
                "cycle_K/classifier.weights.h5 of the run that trained the model"
            )
    return classifier


def stored_config(path: str | Path) -> RunConfig:
    """Return the settings that a weights file carries.

    Raises:
        InputError: the file is missing, unreadable, or carries none.
    """
    stored = h5.read_attributes(path).get("run_config")
    if stored is None:
        raise InputError(f"{path}: holds no run configuration; give model.weights.h5 or best.weights.h5 of a run")
    try:
        content = json.loads(stored)
    except ValueError as error:
        raise InputError(f"{path}: its settings are not valid JSON; train or copy the file again") from error
    return read_stored(content, path)


def _with_detection(config: RunConfig, overrides: Sequence[str]) -> RunConfig:
    parsed = parse_overrides(overrides)
    for override in overrides:
        if not override.startswith(("detection.", "mpp=")):
            raise InputError(f"--set {override}: a trained model takes detection.key=value alone, and mpp=NUMBER")
    given = parsed.get("detection", {})
    tile = given.get("tile")
    if isinstance(tile, int) and "overlap" not in given:
        overrides = [*overrides, f"detection.overlap={min(config.detection.overlap, tile // 2)}"]
    return merge_overrides(config, overrides)
