"""The progress of a training, told by a callback of Keras."""

import keras

from cyclic.runs.progress import Progress, Stage


class TrainingProgress(keras.callbacks.Callback):
    """Shows one `fit`, to which `verbose=0` is passed.

    Args:
        progress: where it is shown.
        stage: a stage key such as "cycle_1/round_0/train".
        steps: training steps of all epochs.
    """

    # Keras then runs the callback beside the training step instead of waiting for the losses after each.
    async_safe = True

    def __init__(self, progress: Progress, stage: str, steps: int):
        super().__init__()
        self.progress, self.key, self.steps = progress, stage, steps

    def on_train_begin(self, logs=None):
        self.stage = Stage(self.progress, self.key, self.steps)
        self.epoch = 0
        self.before_epoch = 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch
        self.before_epoch = int(self.stage.task.completed)

    def on_train_batch_end(self, batch, logs=None):
        self.stage.update(self.before_epoch + batch + 1, lambda: self._text(logs))

    def on_train_end(self, logs=None):
        self.stage.end(self._text(logs))

    def _text(self, logs) -> str:
        losses = "  ".join(f"{name} {float(value):.3g}" for name, value in (logs or {}).items())
        return f"epoch {self.epoch + 1}/{self.params['epochs']}  {losses}".rstrip()
