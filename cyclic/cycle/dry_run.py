"""Try every stage of a run once on real data: does it fit into memory, and how long will the whole run take?

Nothing is written. Each stage runs twice, since the first run compiles, and the second is timed.
"""

import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import keras
import numpy as np

from cyclic.classifier.training import train_classifier
from cyclic.config import RunConfig
from cyclic.cycle.stages import Context, classifier_steps, image_map
from cyclic.datasets.layouts import open_splits
from cyclic.datasets.tiles import load_tiles
from cyclic.errors import InputError
from cyclic.inference.detect import detection_options, predict_image
from cyclic.pseudo.candidates import pseudo_masks
from cyclic.semi.dataset import CropAugmentation, PseudoDataset
from cyclic.stain import hematoxylin_map
from cyclic.tiling import tiles

# Training steps; the time of the last one counts.
STEPS = 3


def dry_run(config: RunConfig, data: str | Path) -> list[dict]:
    """Return one row a stage, and the total.

    Args:
        config: settings of the run to be tried.
        data: folder of the data set.

    Returns:
        Rows of `stage`, `input` and `output` (shapes), `parameters`, `peak_mb` (memory of the process so far),
        `unit_s` (seconds of one unit of work), `units` (how many the whole run needs) and `hours`; scoring is not
        counted, nor what `supervision` leaves out, nor that images of small nuclei are enlarged, which makes their
        detection up to seven times as long. The last row has `stage` "total" and `hours` alone.

    Raises:
        InputError: bad input, or no labels of the kind that `supervision` names to train on.
    """
    train, val = open_splits(data)
    # No run directory and no display: of the stages only what writes no file is used.
    context = Context(config, Path(data), None, None, train, val, None)  # type: ignore[arg-type]
    _check_labels(context)
    rows = [stage(context) for stage in _stages(config)]
    for row in rows:
        row["hours"] = row["unit_s"] * row["units"] / 3600
    return [*rows, {"stage": "total", "hours": sum(row["hours"] for row in rows)}]


def _stages(config: RunConfig) -> tuple[Callable[[Context], dict], ...]:
    front_end = {"image": (_classifier, _map, _pseudo_masks), "none": (_pseudo_masks,), "instance": ()}
    return (*front_end[config.supervision], _segmenter, _detection)


def _check_labels(context: Context) -> None:
    config = context.config
    if config.supervision == "none":
        return
    if config.supervision == "image" and config.tiles.folder:
        load_tiles(config.tiles.folder)
    elif not all(map(context.train.has_labels, context.train.ids)):
        instead = "set tiles.folder" if config.supervision == "image" else "choose another supervision"
        raise InputError(f"{context.data}: not every training image has labels; add them or {instead}")


def _classifier(context: Context) -> dict:
    config, settings = context.config, context.config.classifier
    model, clock = context.models.classifier, _StepClock()
    batches = _Crops(context.images[context.train.ids[0]], config.tiles.size, settings.batch, config.scale)
    train_classifier(
        model, batches, batches, STEPS, settings.learning_rate, config.mean_pixel, settings.optimizer, callbacks=[clock]
    )
    steps = sum(classifier_steps(config, cycle) for cycle in range(1, config.cycles + 1))
    return _row("classifier, step", batches[0][0], (settings.batch, 2), model.count_params(), clock.seconds, steps)


def _map(context: Context) -> dict:
    config, settings = context.config, context.config.maps
    crop = context.images[context.train.ids[0]][: settings.tile, : settings.tile]
    found, seconds = _timed(lambda: image_map(context.models, crop))

    def windows(image):  # as `activation_map` lays them: half an overlap of reflected tissue on each side
        height, width = (side + settings.overlap for side in image.shape[:2])
        return len(tiles(height, width, settings.tile, settings.overlap))

    units = config.cycles * sum(map(windows, context.images.values()))
    parameters = context.models.classifier.count_params()
    return _row("activation map, window", crop, found.shape, parameters, seconds / windows(crop), units)


def _pseudo_masks(context: Context) -> dict:
    image = context.images[context.train.ids[0]]
    # Hematoxylin stands in for the activation map, which would take minutes for a whole image.
    found, seconds = _timed(lambda: pseudo_masks(hematoxylin_map(image), image, context.config))
    units = context.config.cycles * len(context.images)
    return _row("pseudo masks, image", image, found.labels.shape, 0, seconds, units)


def _segmenter(context: Context) -> dict:
    config, settings = context.config, context.config.segmenter
    name = context.train.ids[0]
    image = context.images[name]
    pseudo = {name: pseudo_masks(hematoxylin_map(image), image, config)}
    model, clock = context.models.segmenter(), _StepClock()
    model.config.STEPS_PER_EPOCH = STEPS
    model.train(
        PseudoDataset(context.images, pseudo),
        None,
        settings.learning_rate,
        epochs=1,
        augmentation=CropAugmentation(settings.stain_jitter, settings.fade),
        custom_callbacks=[clock],
        verbose=0,
    )
    rounds = config.cycles * (config.rounds.students + 1)
    shape = (settings.batch, settings.crop, settings.crop, 3)
    output = (settings.batch, settings.rois, *model.config.MASK_SHAPE)
    steps = settings.steps + (rounds - 1) * settings.later_steps
    return _row("Mask R-CNN, step", np.empty(shape, np.uint8), output, _parameters(model.network), clock.seconds, steps)


def _detection(context: Context) -> dict:
    config, settings = context.config, context.config.detection
    crop = context.images[context.train.ids[0]][: settings.tile, : settings.tile]
    model = context.models.detector
    # What an untrained network finds is small, and would be looked at again and again, enlarged.
    options = detection_options(config) | {"usual_area": None}
    (labels, _), seconds = _timed(lambda: predict_image(model, crop, **options))

    def windows(names):
        shapes = (context.images[name].shape[:2] for name in names)
        return sum(len(tiles(*shape, settings.tile, settings.overlap)) for shape in shapes)

    rounds = config.cycles * (config.rounds.students + 1)
    units = (rounds - 1) * windows(context.images) + windows(context.val_ids)
    return _row("detection, tile", crop, labels.shape, _parameters(model.network), seconds, units)


def _row(stage: str, given: np.ndarray, output: tuple, parameters: int, seconds: float, units: int) -> dict:
    # Linux counts in KiB, macOS in bytes.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    return {
        "stage": stage,
        "input": "x".join(map(str, given.shape)),
        "output": "x".join(map(str, output)),
        "parameters": parameters,
        "peak_mb": round(peak),
        "unit_s": seconds,
        "units": units,
    }


def _timed(function: Callable) -> tuple:
    """Return what `function` returns and the seconds of its second run."""
    function()
    begin = time.perf_counter()
    return function(), time.perf_counter() - begin


def _parameters(network) -> int:
    return sum(part.count_params() for part in network.layers)


class _StepClock(keras.callbacks.Callback):
    """Takes the time of the last training step."""

    def __init__(self):
        super().__init__()
        self.ends: list[float] = []

    def on_train_batch_end(self, batch, logs=None):
        self.ends.append(time.perf_counter())

    @property
    def seconds(self) -> float:
        return self.ends[-1] - self.ends[-2]


class _Crops(keras.utils.PyDataset):
    """Batches of crops of one image with both labels: they cost a step the same as labelled tiles do."""

    def __init__(self, image: np.ndarray, size: int, batch: int, scale: int):
        super().__init__()
        crop = cv2.resize(image[:size, :size], None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        self.images = np.repeat(crop[None].astype(np.float32), batch, axis=0)
        self.labels = np.arange(batch, dtype=np.int32) % 2

    def __len__(self) -> int:
        return STEPS

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return self.images, self.labels
