"""The folder in which the unfinished prediction of a slide lies, so that the same command goes on with it.

`OUT/.NAME.cyclic/` holds the chunks of slide NAME, and its results until they are whole. Then only `done.json` stays:
the same command need not predict the slide again.
"""

import contextlib
import shutil
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

import pydantic

from cyclic.errors import InputError
from cyclic.files import check_outputs, claim, lock_folder, make_folder, read_json, write_json

SETTINGS, DONE, RESULTS = "settings.json", "done.json", "results"


class _Done(pydantic.BaseModel):
    """What a finished prediction notes: its settings, the names of its results, and the number of nuclei."""

    settings: dict
    results: list[str]
    nuclei: int


def _read(path: Path) -> object:
    """Return what a JSON file holds, None where it is damaged."""
    try:
        return read_json(path)
    except InputError:
        return None


class WorkFolder:
    """Chunks and results of one slide.

    Args:
        out: folder of the results.
        name: of the slide.
        settings: all that the chunks depend on. Chunks of other settings are thrown away, with a warning.

    Raises:
        InputError: the folder cannot be made or read.
    """

    def __init__(self, out: Path, name: str, settings: dict):
        self._out, self.path, self._settings = out, out / f".{name}.cyclic", settings

    def finished(self, results: Iterable[Path]) -> int | None:
        """Return the number of nuclei if the same settings made all of these results already, else None."""
        earlier = self._earlier()
        wanted = {path.name for path in results}
        if earlier is None or earlier.settings != self._settings or not wanted <= set(earlier.results):
            return None
        return earlier.nuclei if all((self._out / name).exists() for name in wanted) else None

    def _earlier(self) -> "_Done | None":
        """Return what a finished prediction noted; None, with a warning, where that is damaged."""
        path = self.path / DONE
        if not path.is_file():
            return None
        try:
            return _Done.model_validate_json(path.read_bytes())
        except pydantic.ValidationError:
            warnings.warn(f"{path}: damaged; the slide counts as not predicted yet", stacklevel=3)
            return None

    def check(self, results: Iterable[Path], inputs: Iterable[Path], overwrite: bool) -> list[Path]:
        """Return which results will be replaced; see `files.check_outputs`.

        Raises:
            InputError: as there, or a folder of results was not made here.
        """
        results = list(results)
        folders = [path for path in results if path.is_dir()]
        earlier = self._earlier() if folders else None
        ours = earlier.results if earlier else []
        for path in folders:
            if not overwrite and path.name not in ours:
                raise InputError(f"{path}: exists, and cyclic did not write it; choose another folder, or --overwrite")
        return folders + check_outputs([path for path in results if path not in folders], inputs, overwrite)

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Make the folder, or go on with it if its chunks are of the same settings; no other process may meanwhile.

        Where nothing was computed, such as for a slide that cannot be read, the folder goes again.

        Raises:
            InputError: another process predicts the slide.
        """
        settings = self.path / SETTINGS
        with lock_folder(self.path):
            if settings.is_file() and _read(settings) != self._settings:
                warnings.warn(f"{self.path}: chunks of other settings are thrown away", stacklevel=4)
                self._empty()
            write_json(settings, self._settings)
            try:
                yield
            finally:
                if {path.name for path in self.path.iterdir()} <= {SETTINGS, DONE}:
                    settings.unlink(missing_ok=True)
                if not any(self.path.iterdir()):
                    self.path.rmdir()

    def result(self, name: str) -> Path:
        """Return where a result is written before it is whole."""
        make_folder(self.path / RESULTS)
        path = self.path / RESULTS / name
        shutil.rmtree(path, ignore_errors=True)
        path.unlink(missing_ok=True)
        return path

    def finish(self, names: Iterable[str], nuclei: int) -> None:
        """Put whole results in their place, and throw the chunks away."""
        names = list(names)
        for name in names:
            target = self._out / name
            if target.is_dir():
                shutil.rmtree(target)
            (self.path / RESULTS / name).replace(target)
            if target.is_file():
                claim(target)
        done = _Done(settings=self._settings, results=names, nuclei=nuclei)
        write_json(self.path / DONE, done.model_dump(mode="json"))
        self._empty(but=DONE)

    def _empty(self, but: str = "") -> None:
        for path in self.path.iterdir():
            if path.name != but:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
