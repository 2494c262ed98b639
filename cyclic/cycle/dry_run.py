"""Try every stage of a run once on real data: does it fit into memory, and how long will the whole run take?

Nothing is written. Each stage runs twice, since the first run compiles, and the second is timed.
"""

import math
import resource
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import keras
import numpy as np

from cyclic.activation.maps import TILE, pixels_seen
from cyclic.classifier.doubt import FOLDS
from cyclic.classifier.pixel_targets import tile_targets
from cyclic.classifier.tile_sequence import TileSequence
from cyclic.config import RunConfig
from cyclic.cycle.checks import check_inputs
from cyclic.cycle.context import Inputs
from cyclic.cycle.schedule import Training
from cyclic.cycle.stages import mask_rcnn
from cyclic.cycle.stages.maps import image_map
from cyclic.cycle.tile_training import fit, training_batches
from cyclic.datasets.layouts import folders, open_splits
from cyclic.inference.detect import detect
from cyclic.mrcnn.weights.downloads import cached_path
from cyclic.networks import public_file
from cyclic.pseudo.masks import PseudoMasks
from cyclic.pseudo.recipe import recipe_of
from cyclic.pseudo.select import pseudo_masks_of_one_image
from cyclic.runs.progress import Progress
from cyclic.semi.dataset import PseudoDataset
from cyclic.stain import hematoxylin_map
from cyclic.tiling import cover_with_windows, smallest_tile

# Training steps; the time of the last one counts.
STEPS = 3


def dry_run(config: RunConfig, data: str | Path | Sequence[str | Path], progress: Progress | None = None) -> list[dict]:
    """Return one row a stage, and the total.

    Args:
        config: settings of the run to be tried.
        data: folder of the data set, or those of several.
        progress: display; None makes one on standard error.

    Returns:
        Rows of `stage`, `input` and `output` (shapes), `parameters`, `peak_mb` (memory of the process so far),
        `unit_s` (seconds of one unit of work), `units` (how many the whole run needs) and `hours`; scoring is not
        counted, nor the classifier's verdict on detections, nor what `supervision` leaves out, nor that images of small
        nuclei are enlarged, which makes their detection up to seven times as long. The last row has `stage` "total" and
        `hours` alone.

    Raises:
        InputError: bad input, or no labels of the kind that `supervision` names to train on.
    """
    config = _without_download(config)
    train, val = open_splits(data)
    inputs = Inputs(config, ", ".join(map(str, folders(data))), train, val)
    check_inputs(inputs)
    with progress or Progress() as display:
        rows = [stage(inputs) for stage in display.track(_stages(config), "dry run")]
    for row in rows:
        row["hours"] = row["unit_s"] * row["units"] / 3600
    return [*rows, {"stage": "total", "hours": sum(row["hours"] for row in rows)}]


def _without_download(config: RunConfig) -> RunConfig:
    """Return settings that need no download to be tried, and say where public weights belong that are not there yet.

    Other values of the weights change neither time nor memory. But batch normalisation that is frozen as it was drawn
    lets numbers grow from layer to layer, so the batch's own statistics stand in for those of the weights.
    """
    key = public_file(config)
    if key is None or cached_path(key).is_file():
        return config
    warnings.warn(f"{cached_path(key)}: not there yet; the run downloads it first, or put it there", stacklevel=3)
    # VGG16 has no normalisation to freeze.
    norm = "frozen" if config.backbone.name == "vgg16" else "batch"
    backbone = config.backbone.model_copy(update={"weights": None, "norm": norm})
    return config.model_copy(update={"backbone": backbone})


def _stages(config: RunConfig) -> tuple[Callable[[Inputs], dict], ...]:
    before = {"image": (_classifier, _map, _pseudo_masks), "none": (_pseudo_masks,), "instance": ()}
    return (*before[config.supervision], _mask_rcnn, _detection)


def _classifier(inputs: Inputs) -> dict:
    config, settings = inputs.config, inputs.config.classifier
    model, clock = inputs.models.classifier, _StepClock()
    # One crop with both answers costs a step the same as labelled tiles do.
    size, answers = config.tiles.size, np.arange(STEPS * settings.batch) % 2
    tiles = np.repeat(inputs.images[inputs.train.ids[0]][None, :size, :size], len(answers), axis=0)
    targets = tile_targets([""] * len(answers), answers, size)
    batches = training_batches(config, tiles, answers, targets, config.seed)
    held_out = TileSequence(tiles, answers, settings.batch, train=False, scale=config.scale)
    fit(model, config, Training(1, STEPS, settings.learning_rate), batches, held_out, [clock])
    steps = sum(inputs.schedule.classifier(cycle).steps for cycle in range(1, config.cycles + 1))
    steps += FOLDS * inputs.schedule.judge.steps if config.doubts_answers else 0
    return _row("classifier, step", batches[0][0], (settings.batch, 2), model.count_params(), clock.seconds, steps)


def _map(inputs: Inputs) -> dict:
    crop = inputs.images[inputs.train.ids[0]][:TILE, :TILE]
    activation, seconds = _timed(lambda: image_map(inputs.models, crop))
    method, level = inputs.config.maps.method, inputs.config.maps.level
    seen = sum(pixels_seen(method, level, *inputs.size(name), inputs.config.scale) for name in inputs.images)
    # Windows differ in size: they count by their pixels.
    units = math.ceil(inputs.config.cycles * seen / TILE**2)
    height, width = activation.shape
    unit = seconds * TILE**2 / pixels_seen(method, level, height, width, inputs.config.scale)
    parameters = inputs.models.classifier.count_params()
    return _row("activation map, window", crop, activation.shape, parameters, unit, units)


def _pseudo_masks(inputs: Inputs) -> dict:
    image = inputs.images[inputs.train.ids[0]]
    pseudo, seconds = _timed(lambda: _pseudo_masks_by_stain(image, inputs.config))
    cycles = inputs.config.cycles if recipe_of(inputs.config).reads_activation else 1
    return _row("pseudo masks, image", image, pseudo.labels.shape, 0, seconds, cycles * len(inputs.images))


def _pseudo_masks_by_stain(image: np.ndarray, config: RunConfig) -> PseudoMasks:
    # Hematoxylin stands in for the activation map, which would take minutes for a whole image.
    return pseudo_masks_of_one_image(image, hematoxylin_map(image), config)


def _mask_rcnn(inputs: Inputs) -> dict:
    config, settings = inputs.config, inputs.config.mask_rcnn
    name, clock = inputs.train.ids[0], _StepClock()
    data = PseudoDataset(inputs.images, {name: _pseudo_masks_by_stain(inputs.images[name], config)})
    mask_rcnn.fit(inputs.models, config, Training(1, STEPS, settings.learning_rate), data, config.seed, [clock])
    shape = (settings.batch, settings.crop, settings.crop, 3)
    output = (settings.batch, settings.rois, *inputs.models.mrcnn_config.MASK_SHAPE)
    steps = sum(inputs.schedule.mask_rcnn(*numbers).steps for numbers in _rounds(inputs))
    parameters = _parameters(inputs.models.network)
    return _row("Mask R-CNN, step", np.empty(shape, np.uint8), output, parameters, clock.seconds, steps)


def _detection(inputs: Inputs) -> dict:
    # What an untrained network finds is small, and would be looked at again and again, enlarged.
    settings = inputs.config.detection.model_copy(update={"usual_area": None})
    image = inputs.images[inputs.train.ids[0]]

    def tile_of(*shape: int) -> int:
        return smallest_tile(max(shape), settings.tile, settings.overlap)

    side = tile_of(*image.shape[:2])
    crop = image[:side, :side]
    model = inputs.models.detector
    (labels, _), seconds = _timed(lambda: detect(model, crop, settings, inputs.config.scale))

    def windows(names: Iterable[str]) -> int:
        sizes = [inputs.size(name) for name in names]
        return sum(len(cover_with_windows(*size, tile_of(*size), settings.overlap)) for size in sizes)

    units = (len(_rounds(inputs)) - 1) * windows(inputs.images) + windows(inputs.shown_ids)
    return _row("detection, tile", crop, labels.shape, _parameters(model.network), seconds, units)


def _rounds(inputs: Inputs) -> list[tuple[int, int]]:
    """Return cycle and round of every training of Mask R-CNN."""
    cycles = range(1, inputs.config.cycles + 1)
    return [(cycle, round_) for cycle in cycles for round_ in range(inputs.schedule.rounds)]


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
