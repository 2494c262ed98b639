"""Training of a run's classifier on answered tiles, as its settings say."""

from collections.abc import Mapping, Sequence
from functools import partial
from types import MappingProxyType

import keras
import numpy as np

from cyclic.backbones import LEVELS
from cyclic.classifier.pixel_targets import UNANSWERED, tile_targets, unanswered_tiles
from cyclic.classifier.tile_sequence import TileSequence
from cyclic.classifier.training import ClassifierReport, train_classifier
from cyclic.config import RunConfig
from cyclic.cycle.schedule import Training
from cyclic.datasets.augment import other_lab, stain_jitter
from cyclic.datasets.tile_folder import TileFolder, read_tiles


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
