"""Start `cyclic` commands in processes that are forked off this one, and kill them.

This process imports what the commands need, once: a kill does not wait for imports. It must not compute with the
backend itself, since its threads would not live on in the others. There the backend runs each operation by itself, on
one thread, so that no stage waits for a compiler; what a kill leaves behind is the same.
"""

import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

# Before TensorFlow is imported.
os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}

from cyclic import cli

FORK = multiprocessing.get_context("fork")
# Seconds after which a process is taken to hang.
HANGS_AFTER = 1800
POLL_S = 0.001


class Command:
    """A command at work.

    Args:
        arguments: those of `cyclic`.
        place: folder for what it says: `out.txt` and `err.txt`.
    """

    def __init__(self, arguments: Sequence[object], place: Path):
        place.mkdir(parents=True, exist_ok=True)
        self.said, self.failed = place / "out.txt", place / "err.txt"
        self.arguments = [str(argument) for argument in arguments]
        self.said.write_text("")
        self.process = FORK.Process(target=self._run)
        self.process.start()

    def _run(self) -> None:
        with self.said.open("w") as said, self.failed.open("w") as failed:
            os.dup2(said.fileno(), 1)
            os.dup2(failed.fileno(), 2)
        if "tensorflow" in sys.modules:
            sys.modules["tensorflow"].config.run_functions_eagerly(True)
        cli.main(self.arguments)

    def finish(self) -> None:
        """Wait for its end.

        Raises:
            RuntimeError: it hangs, or ended with another exit code than 0.
        """
        self.process.join(HANGS_AFTER)
        if self.process.exitcode is None:
            self.process.kill()
            raise RuntimeError(f"{self.arguments}: no end within {HANGS_AFTER} s")
        if self.process.exitcode != 0:
            said = self.failed.read_text()[-2000:]
            raise RuntimeError(f"{self.arguments}: exit code {self.process.exitcode}: {said}")

    def wait_for(self, begun: Callable[[], bool]) -> None:
        """Wait until something has begun, or the command has ended."""
        end = time.monotonic() + HANGS_AFTER
        while self.process.is_alive() and not begun() and time.monotonic() < end:
            time.sleep(POLL_S)

    def kill(self, wait: float) -> bool:
        """Kill it with `kill -9` after `wait` seconds, and return whether it was still at work.

        Raises:
            RuntimeError: it had ended by then, with another exit code than 0.
        """
        self.process.join(wait)
        at_work = self.process.is_alive()
        if at_work:
            self.process.kill()
            self.process.join()
        else:
            self.finish()
        return at_work


def run_python(arguments: Sequence[object], environment: dict[str, str]) -> None:
    """Run Python in a process of its own, which no one kills.

    Raises:
        RuntimeError: it ended with another exit code than 0.
    """
    call = [sys.executable, *map(str, arguments)]
    done = subprocess.run(call, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{call[1:]}: exit code {done.returncode}: {done.stderr[-2000:]}")


def import_networks() -> None:
    """Import what training and prediction need."""
    import cyclic.cycle.loop
    import cyclic.inference.folder
    import cyclic.report.html
    import cyclic.slides.command  # noqa: F401


def import_page() -> None:
    """Import what the page for answers needs."""
    import cyclic.label.server
    import cyclic.label.session  # noqa: F401
