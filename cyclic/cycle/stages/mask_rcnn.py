"""Training of Mask R-CNN on pseudo masks: the teacher, then its students."""

from collections.abc import Sequence

import keras

from cyclic.config import RunConfig
from cyclic.cycle.context import Context
from cyclic.cycle.schedule import Training
from cyclic.errors import InputError
from cyclic.networks import Models
from cyclic.pseudo.masks import load_pseudo_masks
from cyclic.runs.training_progress import TrainingProgress
from cyclic.semi.dataset import PseudoDataset, crop_augmentation


def train(context: Context, cycle: int, round_: int) -> None:
    """Train the teacher (round 0) or a student on the round's pseudo masks.

    Raises:
        InputError: no image has a pseudo mask.
    """
    _load_start(context, cycle, round_)
    keras.utils.set_random_seed(context.seed(cycle, 2, round_))
    folder = context.cycle(cycle).pseudo(round_)
    pseudo = {name: load_pseudo_masks(folder, name) for name in context.train.ids}
    if not any(len(masks.confidence) for masks in pseudo.values()):
        raise InputError(f"{folder}: no pseudo mask in any image; raise pseudo.share or lower pseudo.factors")
    key, training = f"cycle_{cycle}/round_{round_}", context.schedule.mask_rcnn(cycle, round_)
    history = fit(
        context.models,
        context.config,
        training,
        PseudoDataset(context.images, pseudo, context.train.even_ids),
        context.seed(cycle, 3, round_),
        [
            TrainingProgress(context.progress, f"{key}/train", training.steps),
            context.board.losses(key, "mask_rcnn"),
        ],
    )
    context.run.log("mask_rcnn", cycle=cycle, round=round_, losses=history.history)
    context.models.save_mask_rcnn(context.round(cycle, round_).weights)
    if round_ == context.config.rounds.students:
        context.models.save_mask_rcnn(context.cycle(cycle).weights)


def _load_start(context: Context, cycle: int, round_: int) -> None:
    """Load the weights that a training starts from.

    A student goes on from the round before. A teacher takes the heads of the last cycle's Mask R-CNN, and the backbone
    of this cycle's classifier: the later file wins.
    """
    if round_ > 0:
        context.models.load(context.round(cycle, round_ - 1).weights)
        return
    if context.follows_another(cycle):
        context.models.load(context.cycle(cycle - 1).weights)
    if context.config.supervision == "image":
        context.models.load(context.cycle(cycle).classifier)


def fit(
    models: Models,
    config: RunConfig,
    training: Training,
    data: PseudoDataset,
    seed: int,
    callbacks: Sequence[keras.callbacks.Callback],
) -> keras.callbacks.History:
    """Train the Mask R-CNN of `models` as long and as fast as `training` says."""
    trainer = models.trainer(seed, training.steps_per_epoch)
    history = trainer.train(
        data,
        None,
        training.learning_rate,
        epochs=training.epochs,
        augmentation=crop_augmentation(config),
        custom_callbacks=callbacks,
        verbose=0,
    )
    models.take_trained(trainer)
    return history
