"""`state.json`: which stages of a run have ended, how long they took, what they scored, and the files they left.

The file is the run's memory: `metrics.json` is written from it, and whatever a stage left behind is compared with it
before a later stage, or the next start, builds on it.
"""

from collections.abc import Iterable
from pathlib import Path

import pydantic

from cyclic.errors import InputError
from cyclic.files import digest, is_litter, read_json, write_json
from cyclic.runs.paths import RunPaths

# The fields that tell one row of scores from another; that of a map belongs to no round.
ROW_IDENTITY, NEEDED = ("source", "cycle", "round", "split"), ("source", "cycle", "split")
# Last parts of the stages whose result is a row of scores.
SCORING = ("baseline", "map_scores", "pseudo_scores", "scores", "agreement")
CURE = "restore it, or start again with another --out"
# This many damaged files of a stage are named.
NAMED = 3


def row_identity(row: dict) -> tuple:
    """Return what tells a row of scores from others."""
    return tuple(row.get(name) for name in ROW_IDENTITY)


class State(pydantic.BaseModel):
    """What a run remembers of its stages.

    Attributes:
        finished: keys of the stages that have ended.
        seconds: wall time of each.
        rows: scores; None in a run of an earlier version, which has them in `metrics.json` alone.
        files: `{stage: {path within the run: SHA-256}}` of what each left behind. A stage that is to run again keeps
            its entry, so that one can see whether the same came out. Stages of earlier versions have none.
    """

    finished: list[str]
    seconds: dict[str, float] = {}
    rows: list[dict] | None = None
    files: dict[str, dict[str, str]] = {}

    @pydantic.field_validator("rows")
    @classmethod
    def _rows_have_names(cls, rows: list[dict] | None) -> list[dict] | None:
        if any(name not in row for row in rows or () for name in NEEDED):
            raise ValueError("a row of scores without its source")
        return rows

    def lacks(self, rows: list[dict]) -> bool:
        """Whether scores of finished stages are missing among `rows`."""
        if self.rows is None:
            return not rows and any(key.endswith(SCORING) for key in self.finished)
        return not {row_identity(row) for row in self.rows} <= {row_identity(row) for row in rows}

    def write(self, path: Path) -> None:
        """Write the state as JSON."""
        write_json(path, self.model_dump(mode="json"))


def read_state(paths: RunPaths) -> State:
    """Return the state of a run.

    Raises:
        InputError: it is not the state of a run, or is missing beside the results of a run.
    """
    path = paths.state
    if not path.exists():
        ended = paths.log.is_file() and b'"stage_end"' in paths.log.read_bytes()
        if ended or paths.tiles.exists() or paths.cycles():
            raise InputError(f"{path}: missing, though this folder holds a run; {CURE}")
        return State(finished=[])
    try:
        return State.model_validate_json(path.read_bytes())
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        reason = f"{place}: {first['msg']}" if place else first["msg"]
        raise InputError(f"{path}: not the state of a run ({reason}); {CURE}") from error


def digests(root: Path, outputs: Iterable[Path]) -> dict[str, str]:
    """Return `{path within root: SHA-256}` of the files and of all files in the folders that lie at `root / output`."""
    places = [root / output for output in outputs]
    found = [path for place in places for path in ([place] if place.is_file() else sorted(place.rglob("*")))]
    return {path.relative_to(root).as_posix(): digest(path) for path in found if path.is_file() and not is_litter(path)}


def damage(root: Path, state: State) -> dict[str, dict[Path, str]]:
    """Return `{stage: {file: what happened to it}}` of the finished stages whose files are not as they left them.

    Every byte is read: size and time of a file do not tell whether its content stayed.
    """
    found: dict[str, dict[Path, str]] = {}
    for key in state.finished:
        for name, before in state.files.get(key, {}).items():
            path = root / name
            if not path.is_file():
                found.setdefault(key, {})[path] = "is missing"
            elif digest(path) != before:
                found.setdefault(key, {})[path] = "was changed or damaged"
    return found


def read_metrics(paths: RunPaths) -> list[dict] | None:
    """Return the rows of `metrics.json`, None where there is no such file.

    Raises:
        InputError: it holds no rows of scores.
    """
    if not paths.metrics.exists():
        return None
    try:
        rows = read_json(paths.metrics)["rows"]
        if any(name not in row for row in rows for name in NEEDED):
            raise KeyError("source")
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{paths.metrics}: not the metrics of a run; cyclic train --resume writes it again") from error
    return rows


def name_faults(faults: dict[Path, str]) -> str:
    """Return the first damaged files with what happened to them, and how many more there are."""
    named = [f"{path} {fault}" for path, fault in faults.items()]
    return ", ".join(named[:NAMED]) + (f" and {len(named) - NAMED} more" if len(named) > NAMED else "")
