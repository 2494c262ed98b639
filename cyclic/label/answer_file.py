"""The file that a person's answers go to: each is on disk before the page hears of it."""

import datetime
import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

from cyclic.datasets.answers import COLUMNS, UNDO, Answer, effective, read_lines
from cyclic.datasets.tile_writing import Tile
from cyclic.errors import InputError
from cyclic.files import cure, make_folder, take_lock


class AnswerFile:
    """A file of answers that lines are appended to; the format is that of `cyclic.datasets.answers`.

    Args:
        path: CSV file; it is made where there is none, and gone on with where there is one.
        who: name of the person who answers now.
        size: side of the tiles in px.

    Raises:
        InputError: `path` is no file of answers, holds answers for tiles of another size, cannot be written, or another
            process writes it.
    """

    def __init__(self, path: str | Path, who: str, size: int):
        self.path, self.who, self.size = Path(path), who, size
        self._lock = threading.Lock()
        make_folder(self.path.parent)
        self._lines: list[Answer] = []
        self._is_new = False
        try:
            self._file = self.path.open("ab", buffering=0)
        except OSError as error:
            raise InputError(f"{self.path}: cannot be written ({error.strerror}); {cure(error)}") from error
        try:
            take_lock(self._file.fileno(), self.path, "another process writes it; stop it or choose another file")
            self._is_new = os.fstat(self._file.fileno()).st_size == 0
            self._lines = self._read()
        except OSError as error:
            self.close()
            raise InputError(f"{self.path}: cannot be written ({error.strerror}); {cure(error)}") from error
        except BaseException:
            self.close()
            raise

    def _read(self) -> list[Answer]:
        content = self.path.read_bytes()
        if not content:
            self._append(",".join(COLUMNS) + "\n")
            return []
        lines = read_lines(self.path)
        if lines and lines[0].size != self.size:
            raise InputError(
                f"{self.path}: holds answers for tiles of {lines[0].size} pixels, not {self.size}; give --size "
                f"{lines[0].size} or another file"
            )
        if not content.endswith(b"\n"):  # a torn line goes, a whole one gets its end
            whole = content[: content.rfind(b"\n") + 1]
            os.ftruncate(self._file.fileno(), len(whole))
            if not whole:
                self._append(",".join(COLUMNS) + "\n")
            elif len(lines) > len(read_lines(self.path)):
                self._append(lines[-1].line())
        return lines

    def close(self) -> None:
        """Give the file free for another process; one that was made here and got no answer goes again."""
        if self._is_new and not self._lines:
            self.path.unlink(missing_ok=True)
        self._file.close()

    @property
    def answers(self) -> list[Answer]:
        """The answers that count, one a tile, oldest first."""
        with self._lock:
            return effective(self._lines)

    def add(self, tile: Tile, answer: str) -> None:
        """Append an answer; once this returns, it is on disk.

        Raises:
            OSError: it could not be written; then the file is as it was before.
        """
        with self._lock:
            self._add(tile, answer)

    def undo(self, counts: Callable[[Answer], bool] = lambda line: True) -> Tile | None:
        """Take the last answer that `counts` back and return its tile; None where there is none. Errors as `add`."""
        with self._lock:
            standing = [line for line in effective(self._lines) if counts(line)]
            if not standing:
                return None
            self._add(standing[-1].tile, UNDO)
            return standing[-1].tile

    def _add(self, tile: Tile, answer: str) -> None:
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        line = Answer(tile, self.size, answer, now, self.who)
        self._append(line.line())
        self._lines.append(line)

    def _append(self, text: str) -> None:
        end, data = os.fstat(self._file.fileno()).st_size, text.encode()
        try:
            if self._file.write(data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(self._file.fileno())
        except OSError:
            os.ftruncate(self._file.fileno(), end)
            raise
