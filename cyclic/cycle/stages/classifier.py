"""Training of the classifier on tiles."""

import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from types import MappingProxyType

import keras
import numpy as np

from cyclic.backbones import LEVELS
from cyclic.classifier.pixel_targets import UNANSWERED, image_targets, tile_targets, unanswered_tiles
from cyclic.classifier.tile_sequence import TileSequence
from cyclic.classifier.training import ClassifierReport, train_classifier
from cyclic.config import RunConfig
from cyclic.cycle.context import Context
from cyclic.cycle.schedule import Training
from cyclic.cycle.stages.detections import load_teaching, make_missing
from cyclic.datasets.augment import other_lab, stain_jitter
from cyclic.datasets.tile_folder import TileFolder, load_tiles, read_tiles, split_tiles
from cyclic.files import atomic_path
from cyclic.runs.training_progress import TrainingProgress

# Share of the tiles that report accuracy and F1.
HELD_OUT = 0.1


def train(context: Context, cycle: int) -> None:
    """Train the classifier; in later cycles it starts from the backbone of the last Mask R-CNN."""
    config, key, learns = context.config, f"cycle_{cycle}/classifier", context.follows_another(cycle)
    known = _known_pixels(context, cycle - 1) if learns and config.has_feedback else {}
    if learns:
        before = context.cycle(cycle - 1)
        # The later file wins: heads of the classifier, backbone of the Mask R-CNN.
        context.models.load(before.classifier, before.weights)
    seed, training = context.seed(cycle, 1), context.schedule.classifier(cycle)
    keras.utils.set_random_seed(seed)
    train_tiles, held_out = split_tiles(load_tiles(context.tiles, context.held_ids), HELD_OUT, config.seed)
    callbacks = [TrainingProgress(context.progress, key, training.steps), context.board.losses(key, "classifier")]
    parts, more = (train_tiles, held_out), (context.images, known)
    report = learn(context.models.classifier, config, training, *parts, seed, callbacks, *more)
    context.run.log("classifier", cycle=cycle, accuracy=report.accuracy, f1=report.f1, losses=list(report.losses))
    context.models.save_classifier(context.cycle(cycle).classifier)


def learn(
    model: keras.Model,
    config: RunConfig,
    training: Training,
    tiles: TileFolder,
    held_out: TileFolder,
    seed: int,
    callbacks: Sequence[keras.callbacks.Callback],
    images: Mapping[str, np.ndarray] = MappingProxyType({}),
    known: Mapping[str, np.ndarray] = MappingProxyType({}),
) -> ClassifierReport:
    """Train the classifier `model` on answered tiles, and return what it reaches on those held out.

    Args:
        model: the classifier.
        config: the run's settings.
        training: how long and how fast.
        tiles, held_out: the two parts of the answered tiles.
        seed: of order and augmentation.
        callbacks: of Keras.
        images, known: see `_known_tiles`.
    """
    train_data = training_batches(config, *_known_tiles(config, tiles, images, known), seed)
    val_data = TileSequence(
        read_tiles(held_out.paths), held_out.labels, config.classifier.batch, train=False, scale=config.scale
    )
    return fit(model, config, training, train_data, val_data, callbacks)


def keep(context: Context, cycle: int) -> None:
    """Take over the classifier of the cycle before: nobody has answered for tiles that it could learn from."""
    with atomic_path(context.cycle(cycle).classifier) as temporary:
        shutil.copyfile(context.cycle(cycle - 1).classifier, temporary)


def _known_pixels(context: Context, cycle: int) -> dict[str, np.ndarray]:
    """Return what a cycle's detections and the negative tiles say of the training images, see `image_targets`."""
    make_missing(context, cycle)
    folder, score = context.last_round(cycle).detections, context.config.rounds.score
    return {
        name: image_targets(*load_teaching(context, folder, name), score, context.background.get(name))
        for name in context.train.ids
    }


def _known_tiles(
    config: RunConfig, folder: TileFolder, images: Mapping[str, np.ndarray], known: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return tiles `[N, S, S, 3]` uint8, their answers `[N]`, and what is known of their pixels `[N, S, S]` int8.

    Args:
        config: the run's settings.
        folder: the answered tiles.
        images: `{image id: [H, W, 3] uint8}`.
        known: `{image id: [H, W] int8}`, what detections say; tiles of it come without an answer. Empty: nothing yet.
    """
    size, names = config.tiles.size, [path.stem for path in folder.paths]
    more, more_targets = unanswered_tiles(images, known, size)
    tiles = np.concatenate([read_tiles(folder.paths), more])
    answers = np.append(folder.labels, np.full(len(more), UNANSWERED))
    return tiles, answers, np.concatenate([tile_targets(names, folder.labels, size, known), more_targets])


def training_batches(
    config: RunConfig, tiles: np.ndarray, answers: np.ndarray, targets: np.ndarray, seed: int
) -> TileSequence:
    """Return the batches that the classifier trains on, as the run's settings augment them.

    Args:
        config: the run's settings.
        tiles, answers, targets: see `_known_tiles`.
        seed: of order and augmentation.
    """
    settings = config.classifier
    return TileSequence(
        tiles,
        answers,
        settings.batch,
        targets if config.has_local_evidence else None,
        seed=seed,
        turns=config.augmentation != "paper",
        shear=settings.shear,
        zoom=settings.zoom,
        augment=partial(_vary_colours, sigma=settings.stain_jitter, many_labs=config.augmentation == "wide"),
        scale=config.scale,
        stride=LEVELS[config.maps.level][1],
    )


def _vary_colours(tile: np.ndarray, rng: np.random.Generator, sigma: float, many_labs: bool) -> np.ndarray:
    tile = stain_jitter(tile, rng, sigma) if sigma else tile
    return other_lab(tile, rng) if many_labs else tile


def fit(
    model: keras.Model,
    config: RunConfig,
    training: Training,
    train_data: keras.utils.PyDataset,
    val_data: keras.utils.PyDataset,
    callbacks: Sequence[keras.callbacks.Callback],
) -> ClassifierReport:
    """Train the classifier `model` as long and as fast as `training` says; see `train_classifier`."""
    return train_classifier(
        model,
        train_data,
        val_data,
        training.steps,
        training.learning_rate,
        config.mean_pixel,
        optimizer=config.classifier.optimizer,
        warmup=training.warmup,
        evidence=config.maps.level if config.has_local_evidence else None,
        callbacks=callbacks,
    )
