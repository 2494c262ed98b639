"""How far a run is: one live display on a terminal, plain lines in a log file."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import rich.console
import rich.progress
import rich.table

T = TypeVar("T")

# Reading a loss waits for the device, so it is done once in a while and not at every step.
TEXT_EVERY_S = 1.0
PLAIN_EVERY_S = 30.0


class Progress:
    """Shows the running stages: cycle, stage, steps, losses and the time left. Use as a context manager.

    On a terminal one live line a running stage, which becomes a plain line when the stage ends. Elsewhere (a log file,
    continuous integration) a line when a stage starts, a line when it ends, and between them one line each
    `PLAIN_EVERY_S` seconds.

    Args:
        console: where to write; standard error if None.
    """

    def __init__(self, console: rich.console.Console | None = None):
        self.console = console or rich.console.Console(stderr=True)
        # Off a terminal the bars are only kept, never shown: the plain lines take their numbers.
        self.is_live = self.console.is_interactive
        self.running: list[Stage] = []
        self.bars = rich.progress.Progress(
            rich.progress.TextColumn("{task.description}"),
            rich.progress.BarColumn(bar_width=20),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TimeRemainingColumn(compact=True),
            rich.progress.TextColumn(
                "{task.fields[text]}", table_column=rich.table.Column(ratio=1, no_wrap=True, overflow="ellipsis")
            ),
            console=self.console,
            expand=True,
        )

    def __enter__(self) -> "Progress":
        if self.is_live:
            self.bars.start()
        return self

    def __exit__(self, *_) -> None:
        # Where a loop ends in an error, its generator goes only after the error is told.
        for stage in [*self.running]:
            stage.end()
        if self.is_live:
            self.bars.stop()

    def track(self, iterable: Iterable[T], stage: str, total: int | None = None) -> Iterator[T]:
        """Yield the items of `iterable` and show how many are done as `stage`; `total` is `len(iterable)` if None."""
        row = Stage(self, stage, len(iterable) if total is None else total)  # type: ignore[arg-type]
        try:
            for done, item in enumerate(iterable, start=1):
                yield item
                row.update(done)
        finally:
            row.end()

    def line(self, text: str) -> None:
        """Print one line, above the live display if there is one."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


class Stage:
    """One running stage. `update` may be called from the thread in which Keras runs its callbacks."""

    def __init__(self, progress: Progress, key: str, total: int):
        self.progress = progress
        self.name = key.replace("_", " ").replace("/", ", ")
        self.begin = self.last_text = self.last_line = time.monotonic()
        self.lock = threading.Lock()
        task_id = progress.bars.add_task(self.name, total=total, text="")
        self.task = next(task for task in progress.bars.tasks if task.id == task_id)
        progress.running.append(self)
        if not progress.is_live:
            progress.line(f"{self.name}: 0/{total}")

    def update(self, completed: int, text: Callable[[], str] | None = None) -> None:
        """Show `completed` steps; `text` is called only when its answer is to be shown."""
        with self.lock:
            # Callbacks may arrive out of order.
            completed = max(completed, int(self.task.completed))
            now = time.monotonic()
            if text and now - self.last_text >= TEXT_EVERY_S:
                self.last_text = now
                self.progress.bars.update(self.task.id, completed=completed, text=text())
            else:
                self.progress.bars.update(self.task.id, completed=completed)
            if not self.progress.is_live and now - self.last_line >= PLAIN_EVERY_S:
                self.last_line = now
                left = self.task.time_remaining
                self.progress.line(self._summary(f"{_duration(left)} left" if left is not None else ""))

    def end(self, text: str | None = None) -> None:
        """Take the stage off the display and leave one line about it, once; `text` replaces the last one shown."""
        if self not in self.progress.running:
            return
        self.progress.running.remove(self)
        if text is not None:
            self.progress.bars.update(self.task.id, text=text)
        self.progress.line(self._summary(f"in {_duration(time.monotonic() - self.begin)}"))
        self.progress.bars.remove_task(self.task.id)

    def _summary(self, times: str) -> str:
        parts = (f"{self.name}: {int(self.task.completed)}/{self.task.total}", times, self.task.fields["text"])
        return "  ".join(part for part in parts if part)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
