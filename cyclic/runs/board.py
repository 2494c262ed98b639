"""A run in TensorBoard while it is at work: losses, scores, and pictures of every step.

    tensorboard --logdir RUN

Events lie in `RUN/tensorboard/`. Each training of a network has a folder, so TensorBoard lays the curves of all cycles
and rounds over each other; the scores of pseudo masks, model and baseline are three more, over the rounds trained so
far. Pictures are in `pictures`: of a few images the map, the pseudo masks, the prediction and its errors, by round.
"""

import itertools
import os
from collections.abc import Collection, Mapping
from pathlib import Path

import cv2
import keras
import numpy as np
from tensorboardX import SummaryWriter

FLUSH_S = 10
# Longest side of a picture in px.
SIDE = 800


class Board:
    """Writes the events of one run. Use as a context manager.

    Args:
        folder: where to write, `RUN/tensorboard`.
        names: ids of the images that callers should show.
    """

    def __init__(self, folder: str | Path, names: Collection[str] = ()):
        self.root, self.names = Path(folder), names
        self._writers: dict[str, SummaryWriter] = {}
        self._files = itertools.count()

    def __enter__(self) -> "Board":
        return self

    def __exit__(self, *_) -> None:
        self.flush()

    def flush(self) -> None:
        """Bring all events to disk: what a stage wrote must outlast a kill, since the stage is not run again.

        Writers are closed, as their own `flush` does not wait for events that are on their way.
        """
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()

    def scalars(self, folder: str, values: Mapping[str, float | None], step: int) -> None:
        """Add a point to the curve of each name; None is left out."""
        for name, value in values.items():
            if value is not None:
                self._writer(folder).add_scalar(name, float(value), step)

    def picture(self, image_id: str, what: str, step: int, image: np.ndarray) -> None:
        """Add `image` (`[H, W, 3]` uint8) to the pictures of the image `image_id`.

        TensorBoard knows no spaces in names: they become underscores.
        """
        factor = SIDE / max(image.shape[:2])
        if factor < 1:
            image = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        self._writer("pictures").add_image(f"{image_id}/{what}", image, step, dataformats="HWC")

    def losses(self, stage: str, network: str) -> keras.callbacks.Callback:
        """Return a Keras callback that adds the losses of one `fit` after each epoch.

        Args:
            stage: folder of the curves, such as "cycle_1/round_0"; what a killed `fit` left there is taken back.
            network: group of the curves, such as "classifier".
        """
        return _Losses(self, stage, network)

    def _writer(self, folder: str, purge_step: int | None = None) -> SummaryWriter:
        if folder not in self._writers:
            # A name alone holds the second only, and a second file of this name would replace the first.
            suffix = f".{os.getpid()}.{next(self._files)}"
            path = str(self.root / folder)
            self._writers[folder] = SummaryWriter(
                path, purge_step=purge_step, flush_secs=FLUSH_S, filename_suffix=suffix
            )
        return self._writers[folder]


class _Losses(keras.callbacks.Callback):
    def __init__(self, board: Board, stage: str, network: str):
        super().__init__()
        self.board, self.stage, self.network = board, stage, network

    def on_train_begin(self, logs=None):
        self.board._writer(self.stage, purge_step=0)

    def on_epoch_end(self, epoch, logs=None):
        losses = {f"{self.network}/{name}": loss for name, loss in (logs or {}).items()}
        self.board.scalars(self.stage, losses, epoch + 1)
