"""How a signal stops a command: as an exception, which the command may answer with how to go on."""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType


class Stopped(BaseException):
    """The process got a signal to stop, Ctrl-C (SIGINT) or SIGTERM."""

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.code = 128 + number


class Interrupted(Exception):
    """The user stopped a command; the message says how to go on, and `code` is the exit code."""

    def __init__(self, message: str, cause: BaseException):
        super().__init__(message)
        self.code = cause.code if isinstance(cause, Stopped) else 128 + signal.SIGINT


@contextlib.contextmanager
def signals_stop() -> Iterator[None]:
    """Turn Ctrl-C and SIGTERM into `Stopped`, unless whoever started the process wants them ignored."""

    def stop(number: int, _: FrameType | None) -> None:
        raise Stopped(number)

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    chosen = [number for number in numbers if before[number] is not signal.SIG_IGN]
    for number in chosen:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in chosen:
            signal.signal(number, before[number])
