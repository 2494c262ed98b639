"""Training of the classifier on tiles."""

import shutil

import keras
import numpy as np

from cyclic.classifier.pixel_targets import image_targets
from cyclic.cycle.context import Context
from cyclic.cycle.stages import answers
from cyclic.cycle.stages.detections import load_teaching, make_missing
from cyclic.cycle.tile_training import learn
from cyclic.datasets.tile_folder import split_tiles
from cyclic.files import atomic_path
from cyclic.runs.training_progress import TrainingProgress

# Share of the tiles that report accuracy and F1.
HELD_OUT = 0.1


def train(context: Context, cycle: int) -> None:
    """Train the classifier; in later cycles it starts from the backbone of the last Mask R-CNN.

    The first time, some answers are set aside before: see `answers.doubt`.
    """
    config, key, learns = context.config, f"cycle_{cycle}/classifier", context.follows_another(cycle)
    if cycle == 1 and config.doubts_answers:
        _load_start(context, cycle)
        answers.doubt(context)
    known = _known_pixels(context, cycle - 1) if learns and config.has_feedback else {}
    _load_start(context, cycle)
    seed, training = context.seed(cycle, 1), context.schedule.classifier(cycle)
    keras.utils.set_random_seed(seed)
    train_tiles, held_out = split_tiles(context.trusted_tiles, HELD_OUT, config.seed)
    callbacks = [TrainingProgress(context.progress, key, training.steps), context.board.losses(key, "classifier")]
    parts, more = (train_tiles, held_out), (context.images, known)
    report = learn(context.models.classifier, config, training, *parts, seed, callbacks, *more)
    context.run.log("classifier", cycle=cycle, accuracy=report.accuracy, f1=report.f1, losses=list(report.losses))
    context.models.save_classifier(context.cycle(cycle).classifier)


def keep(context: Context, cycle: int) -> None:
    """Take over the classifier of the cycle before: nobody has answered for tiles that it could learn from."""
    with atomic_path(context.cycle(cycle).classifier) as temporary:
        shutil.copyfile(context.cycle(cycle - 1).classifier, temporary)


def _load_start(context: Context, cycle: int) -> None:
    """Load what the classifier goes on from; the later file wins: heads of the classifier, backbone of Mask R-CNN."""
    if context.follows_another(cycle):
        before = context.cycle(cycle - 1)
        context.models.load(before.classifier, before.weights)


def _known_pixels(context: Context, cycle: int) -> dict[str, np.ndarray]:
    """Return what a cycle's detections and the negative tiles say of the training images, see `image_targets`."""
    make_missing(context, cycle)
    folder, score = context.last_round(cycle).detections, context.config.rounds.score
    return {
        name: image_targets(*load_teaching(context, folder, name), score, context.background.get(name))
        for name in context.train.ids
    }
