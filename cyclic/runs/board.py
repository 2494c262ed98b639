"""A run in TensorBoard while it is at work: losses, scores, and pictures of every step.

    tensorboard --logdir RUN

Events lie in `RUN/tensorboard/`. Each training of a network has a folder, so TensorBoard lays the curves of all cycles
and rounds over each other; the scores of pseudo masks, model and baseline are three more, over the rounds trained so
far. Pictures are in `pictures`: of a few images the map, the pseudo masks, the prediction and its errors, by round.
"""

import itertools
import os
import time
import warnings
from collections.abc import Collection, Mapping
from pathlib import Path

import cv2
import keras
import numpy as np
from tensorboardX import summary
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary

# Longest side of a picture in px.
SIDE = 800


class Board:
    """Writes the events of one run. Use as a context manager.

    Each event is written at once. tensorboardX's own `SummaryWriter` hands them to a thread, and where that dies of a
    full disk, the run waits for it for ever. Events are for people: those that can't be written are dropped, with one
    warning, and the run goes on.

    Args:
        folder: where to write, `RUN/tensorboard`.
        names: ids of the images that callers should show.
    """

    def __init__(self, folder: str | Path, names: Collection[str] = ()):
        self.root, self.names = Path(folder), names
        self._writers: dict[str, EventsWriter] = {}
        self._files = itertools.count()
        self._is_broken = False

    def __enter__(self) -> "Board":
        return self

    def __exit__(self, *_) -> None:
        self.flush()

    def flush(self) -> None:
        """Bring all events to disk: what a stage wrote must outlast a kill, since the stage is not run again."""
        for folder in list(self._writers):
            try:
                self._writers.pop(folder).close()
            except OSError as error:
                self._drop_events(error)

    def scalars(self, folder: str, values: Mapping[str, float | None], step: int) -> None:
        """Add a point to the curve of each name; None is left out."""
        for name, value in values.items():
            if value is not None:
                self._write(folder, summary.scalar(name, float(value)), step)

    def picture(self, image_id: str, what: str, step: int, image: np.ndarray) -> None:
        """Add `image` (`[H, W, 3]` uint8) to the pictures of the image `image_id`.

        TensorBoard knows no spaces in names: they become underscores.
        """
        factor = SIDE / max(image.shape[:2])
        if factor < 1:
            image = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        self._write("pictures", summary.image(f"{image_id}/{what}", image, dataformats="HWC"), step)

    def losses(self, stage: str, network: str) -> keras.callbacks.Callback:
        """Return a Keras callback that adds the losses of one `fit` after each epoch.

        Args:
            stage: folder of the curves, such as "cycle_1/round_0"; what a killed `fit` left there is taken back.
            network: group of the curves, such as "classifier".
        """
        return _Losses(self, stage, network)

    def take_back(self, folder: str) -> None:
        """Tell TensorBoard that the curves in `folder` begin anew."""
        self._write_event(folder, Event(step=0, session_log=SessionLog(status=SessionLog.START)))

    def _write(self, folder: str, values: Summary, step: int) -> None:
        self._write_event(folder, Event(step=step, summary=values))

    def _write_event(self, folder: str, event: Event) -> None:
        if self._is_broken:
            return
        event.wall_time = time.time()
        try:
            writer = self._writer(folder)
            writer.write_event(event)
            writer.flush()  # TensorBoard shows the run while it is at work
        except OSError as error:
            self._drop_events(error)

    def _writer(self, folder: str) -> EventsWriter:
        if folder not in self._writers:
            (self.root / folder).mkdir(parents=True, exist_ok=True)
            # A name alone holds the second only, and a second file of this name would replace the first.
            suffix = f".{os.getpid()}.{next(self._files)}"
            self._writers[folder] = EventsWriter(str(self.root / folder / "events"), suffix)
        return self._writers[folder]

    def _drop_events(self, error: OSError) -> None:
        if not self._is_broken:
            self._is_broken = True
            reason = error.strerror or error
            warnings.warn(
                f"{self.root}: cannot be written ({reason}); TensorBoard lacks what follows, and the run goes on",
                stacklevel=2,
            )


class _Losses(keras.callbacks.Callback):
    def __init__(self, board: Board, stage: str, network: str):
        super().__init__()
        self.board, self.stage, self.network = board, stage, network

    def on_train_begin(self, logs=None):
        self.board.take_back(self.stage)

    def on_epoch_end(self, epoch, logs=None):
        losses = {f"{self.network}/{name}": loss for name, loss in (logs or {}).items()}
        self.board.scalars(self.stage, losses, epoch + 1)
