"""Callbacks of training: checkpoints, TensorBoard events, and the guard against NaN."""

import importlib.util
import logging

import keras

from cyclic.fitting import LossGuard
from cyclic.mrcnn.train import checkpoint

logger = logging.getLogger(__name__)

# The most steps whose images are named when the loss is no longer finite.
NAMED_STEPS = 5


def tensorboard(log_dir):
    """Return the callback that writes TensorBoard events, in a list that is empty where TensorBoard is missing."""
    if importlib.util.find_spec("tensorboard") is None:
        logger.warning("TensorBoard is not installed: %s gets checkpoints but no events", log_dir)
        return []
    return [keras.callbacks.TensorBoard(str(log_dir))]


class Checkpoint(keras.callbacks.Callback):
    """Write a checkpoint after every epoch, see `checkpoint.save_checkpoint`.

    Args:
        owner: `model.MaskRCNN`; its `epoch` and `last_checkpoint` follow.
        settings: see `checkpoint.run_settings`.
        seed: seed of the data stream.
        steps: batches that the optimizer had seen before this call of `train`.

    Raises (at the end of an epoch):
        FloatingPointError: a weight is no longer finite; nothing is written.
    """

    def __init__(self, owner, settings, seed, steps=0):
        super().__init__()
        self.owner, self.settings, self.seed, self.steps = owner, settings, seed, steps

    def on_epoch_end(self, epoch, logs=None):
        owner = self.owner
        bad = checkpoint.not_finite(owner.network)
        if bad is not None:
            raise FloatingPointError(
                f"layer {bad} has weights that are not finite after epoch {epoch + 1}; lower the learning rate"
                f"{last_good(owner.last_checkpoint)}"
            )
        owner.epoch = epoch + 1
        self.steps += owner.config.STEPS_PER_EPOCH
        path = owner.folder.checkpoint(epoch + 1)
        checkpoint.save_checkpoint(
            path, owner.network, owner.keras_model, epoch + 1, self.steps, self.settings, self.seed
        )
        owner.last_checkpoint = path


class NaNGuard(LossGuard):
    """Stop with an error when the loss is no longer finite.

    Args:
        data: `loader.DataGenerator` of the training images; None names no image.
        checkpoint: function that returns the path of the last good checkpoint or None.

    Raises (in `fit`, at the next step or at the end of the epoch):
        FloatingPointError: names epoch and step, the images of that step and the last good checkpoint. Keras may run
            this beside several training steps at once and not in their order; then the message names all steps that
            come into question.
    """

    # Keras then checks beside the training step instead of waiting for the loss after each.
    async_safe = True

    def __init__(self, data=None, checkpoint=lambda: None):
        super().__init__()
        self.data, self.checkpoint = data, checkpoint
        self.epoch, self.finite = 0, 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch, self.finite = epoch, 0

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(batch, logs)
        self.finite = max(self.finite, batch + 1)

    def describe(self, loss, batch):
        # Keras reports the mean over the epoch's steps so far, so it stays NaN once one step was.
        first, last = min(self.finite, batch) + 1, batch + 1
        steps = f"step {last}" if first == last else f"one of the steps {first} to {last}"
        images = "" if self.data is None else f"; images: {self._images(first, last)}"
        return (
            f"the loss is {loss} in epoch {self.epoch + 1}, {steps}; "
            f"lower the learning rate{last_good(self.checkpoint())}{images}"
        )

    def _images(self, first, last):
        """Return "step: image ids" of the steps `first` to `last`, counted from 1 in the epoch.

        The data stream makes any batch again.
        """
        data = self.data
        start = (self.epoch - data.epoch) * data.steps - 1
        named = []
        for step in range(first, min(last, first + NAMED_STEPS - 1) + 1):
            rows = data[start + step][0]["image_meta"][:, 0].astype(int)
            named.append(f"step {step}: " + " ".join(str(data.dataset.image_info[row]["id"]) for row in rows))
        return ", ".join(named)


def last_good(path):
    """Return the half sentence that names the last good checkpoint."""
    return " and start again, there is no checkpoint yet" if path is None else f" and go on from {path}"
