"""Training of the classifier on tiles."""

from collections.abc import Sequence
from functools import partial

import keras

from cyclic.classifier.tile_sequence import TileSequence
from cyclic.classifier.training import ClassifierReport, train_classifier
from cyclic.config import RunConfig
from cyclic.cycle.context import Context
from cyclic.cycle.schedule import Training
from cyclic.datasets.augment import stain_jitter
from cyclic.datasets.tile_folder import TileFolder, load_tiles, split_tiles

# Share of the tiles that report accuracy and F1.
HELD_OUT = 0.1


def train(context: Context, cycle: int) -> None:
    """Train the classifier; in later cycles it starts from the backbone of the last Mask R-CNN."""
    config, key = context.config, f"cycle_{cycle}/classifier"
    if cycle > 1:
        before = context.cycle(cycle - 1)
        # The later file wins: heads of the classifier, backbone of the Mask R-CNN.
        context.models.load(before.classifier, before.weights)
    seed, training = context.seed(cycle, 1), context.schedule.classifier(cycle)
    keras.utils.set_random_seed(seed)
    train_tiles, held_out = split_tiles(load_tiles(context.tiles, context.held_ids), HELD_OUT, config.seed)
    train_data = training_batches(config, train_tiles, seed)
    settings = config.classifier
    val_data = TileSequence(held_out.paths, held_out.labels, settings.batch, train=False, scale=config.scale)
    callbacks = [context.progress.callback(key, training.steps), context.board.losses(key, "classifier")]
    report = fit(context.models.classifier, config, training, train_data, val_data, callbacks)
    context.run.log("classifier", cycle=cycle, accuracy=report.accuracy, f1=report.f1, losses=list(report.losses))
    context.models.save_classifier(context.cycle(cycle).classifier)


def training_batches(config: RunConfig, tiles: TileFolder, seed: int) -> TileSequence:
    """Return the batches that the classifier trains on, as the run's settings augment them."""
    settings = config.classifier
    return TileSequence(
        tiles.paths,
        tiles.labels,
        settings.batch,
        seed=seed,
        shear=settings.shear,
        zoom=settings.zoom,
        augment=partial(stain_jitter, sigma=settings.stain_jitter) if settings.stain_jitter else None,
        scale=config.scale,
    )


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
        callbacks=callbacks,
    )
