"""Training of the tile classifier, and its report on held-out tiles."""

import dataclasses
import math
from collections.abc import Sequence

import keras
import numpy as np

from cyclic.classifier.losses import EvidenceLoss, SomeNucleusLoss
from cyclic.classifier.model import preprocess, with_evidence
from cyclic.errors import InputError
from cyclic.fitting import LossGuard, build_optimizer, compile_once

# Weight decay of each optimizer; the paper's has none.
WEIGHT_DECAY = {"adamw": 1e-4, "sgd": None}
# Steps in one Keras epoch at most: callbacks report progress at least this often.
STEPS_PER_EPOCH = 100
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
LOCAL_LOSSES = {"answer": SomeNucleusLoss(), "evidence": EvidenceLoss()}


@dataclasses.dataclass(frozen=True)
class ClassifierReport:
    """What training reached.

    Attributes:
        accuracy: share of held-out tiles classified right, 0 to 1.
        f1: F1 of class 1 on the held-out tiles, 0 to 1; 1 when there is no positive tile and none is predicted.
        losses: mean training loss of each epoch (at most `STEPS_PER_EPOCH` steps), in order.
        steps: optimisation steps made.
        log_odds: of class 1, for each held-out tile in order, `[N]` float32.
    """

    accuracy: float
    f1: float
    losses: tuple[float, ...]
    steps: int
    log_odds: np.ndarray


def train_classifier(
    model: keras.Model,
    train_data: keras.utils.PyDataset,
    val_data: keras.utils.PyDataset,
    steps: int,
    learning_rate: float,
    mean_pixel: Sequence[float],
    optimizer: str = "adamw",
    warmup: int = 0,
    evidence: str | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: int = 0,
) -> ClassifierReport:
    """Train `model` for exactly `steps` steps and return its scores on `val_data`.

    Args:
        model: what `build_classifier` returned; it is compiled here.
        train_data: batches (images `[B, H, W, 3]` float32 0 to 255, labels `[B]` int32). Its `on_epoch_end` is called
            each time all its batches have been seen. A label of -1 is no answer. With `evidence`, batches are (images,
            {"answer": labels, "evidence": targets}), see `EvidenceLoss`.
        val_data: batches (images, labels), tiles that are not trained on.
        steps: optimisation steps, at least 1.
        learning_rate: peak learning rate.
        mean_pixel: 3 numbers (R, G, B), 0 to 255, subtracted from every image.
        optimizer: "adamw" (linear warm-up, then cosine decay to 0) or "sgd" (constant rate, Nesterov momentum 0.9; the
            paper's setting with a learning rate of 1e-4). Weights decay as `WEIGHT_DECAY` says.
        warmup: steps of the warm-up; "adamw" only.
        evidence: pyramid level whose evidence learns from the targets of single pixels; None: from answers alone.
        callbacks: Keras callbacks; an epoch is at most `STEPS_PER_EPOCH` steps.
        verbose: as in `keras.Model.fit`.

    Raises:
        InputError: unknown optimizer, no step, warm-up not shorter than the training, or an empty data set.
        FloatingPointError: the loss is not finite; the message names the step.
    """
    if steps < 1 or not 0 <= warmup < steps:
        raise InputError(f"steps={steps}, warmup={warmup}: at least 1 step, and a warm-up shorter than the training")
    if len(train_data) == 0 or len(val_data) == 0:
        raise InputError("no tiles to train or to validate on: check the tile folders and the split")
    data = _MeanSubtracted(train_data, mean_pixel)
    trained = model if evidence is None else with_evidence(model, evidence)
    compile_once(
        trained,
        optimizer,
        lambda rate: build_optimizer(optimizer, rate, WEIGHT_DECAY.get(optimizer), momentum=0.9, nesterov=True),
        learning_rate,
        **({"warmup_steps": warmup, "total_steps": steps} if optimizer == "adamw" else {}),
        loss=LOSS if evidence is None else LOCAL_LOSSES,
    )
    guard = _StepGuard(steps)
    history = trained.fit(
        data, epochs=math.ceil(steps / len(data)), callbacks=[guard, *callbacks], shuffle=False, verbose=verbose
    )
    truth, log_odds = _ask(model, val_data, mean_pixel)
    losses = tuple(float(loss) for loss in history.history["loss"])
    accuracy, f1 = _score(truth, log_odds > 0)
    return ClassifierReport(accuracy, f1, losses, guard.step, log_odds)


class _MeanSubtracted(keras.utils.PyDataset):
    """The batches of `data` minus the mean pixel, cut into epochs of at most `STEPS_PER_EPOCH` batches.

    Epochs divide one pass over `data` evenly; the few batches of the remainder are left to the next, reshuffled pass.
    """

    def __init__(self, data, mean_pixel):
        super().__init__(
            workers=data.workers, use_multiprocessing=data.use_multiprocessing, max_queue_size=data.max_queue_size
        )
        self.data, self.mean_pixel, self.start = data, mean_pixel, 0
        self.length = len(data) // math.ceil(len(data) / STEPS_PER_EPOCH)

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        images, labels = self.data[self.start + index]
        return preprocess(images, self.mean_pixel), labels

    def on_epoch_end(self):
        self.start += self.length
        if self.start + self.length > len(self.data):
            self.start = 0
            self.data.on_epoch_end()


class _StepGuard(LossGuard):
    """Counts the steps, ends training after `steps` of them and raises where the loss stops being a number."""

    def __init__(self, steps: int):
        super().__init__()
        self.steps, self.step = steps, 0

    def on_train_batch_end(self, batch, logs=None):
        self.step += 1
        super().on_train_batch_end(batch, logs)
        if self.step == self.steps:
            self.model.stop_training = True

    def describe(self, loss, batch):
        return f"classifier loss is {loss} at step {self.step}: lower the learning rate"


def _ask(model, data, mean_pixel):
    """Return the labels `[N]` and the log-odds of class 1 `[N]` float32 of the batches of `data`."""
    labels, logits = [], []
    for index in range(len(data)):
        images, of_batch = data[index]
        labels.append(np.asarray(of_batch))
        logits.append(np.asarray(model.predict_on_batch(preprocess(images, mean_pixel)), np.float32))
    scores = np.concatenate(logits)
    return np.concatenate(labels), scores[:, 1] - scores[:, 0]


def _score(truth, predicted):
    """Return (accuracy, F1 of class 1) of answers, `[N]` each."""
    hits = np.sum((truth == 1) & (predicted == 1))
    positives = np.sum(truth == 1) + np.sum(predicted == 1)
    return float(np.mean(truth == predicted)), float(2 * hits / positives) if positives else 1.0
