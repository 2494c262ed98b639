"""The run directory: what a training run has finished, logged and measured, so that it can go on after a kill.

A run is a sequence of named stages ("cycle_1/classifier", "cycle_1/round_0/train", ...). A stage counts as finished
only once its block has ended; whatever an interrupted stage left behind is overwritten when the stage runs again.

    with RunDirectory(path, config, seed=0, resume=True) as run:
        if not run.is_finished("cycle_1/classifier"):
            with run.stage("cycle_1/classifier"):
                ...
"""

import contextlib
import datetime
import json
import math
import time
import warnings
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import numpy as np
import yaml

from cyclic.config import RunConfig, read_stored, read_stored_strictly, read_yaml
from cyclic.errors import InputError
from cyclic.files import atomic_path, cure, is_litter, make_folder, remove_unfinished, take_lock, write_json
from cyclic.retired import LATER, modernise
from cyclic.runs.paths import RunPaths
from cyclic.runs.state import SCORING, State, damage, digests, name_faults, read_metrics, read_state, row_identity

# The stage that ends a run; it runs again once more cycles are asked for.
LAST_STAGE = "finish"


class RunDirectory:
    """The folder of one run: `config.yaml`, `log.jsonl`, `state.json` and `metrics.json`, locked while it is open.

    Args:
        path: the folder; made if missing.
        config: the run's configuration as plain data (what YAML can hold). It is written once; only the number of
            cycles may change.
        seed: the run's seed, repeated in `metrics.json`.
        resume: go on with the run in `path`, which must hold one with the same configuration, but for `cycles`. Without
            it `path` must hold no run. A finished stage whose files are damaged or gone counts as unfinished, with a
            warning.

    Raises:
        InputError: `path` holds a run and `resume` is off, or holds none and `resume` is on, or holds other files; the
            configuration differs from the run's, or leaves out a cycle that has begun; a file of the run is corrupt;
            another process has the run open.
    """

    def __init__(self, path: str | Path, config: dict, *, seed: int = 0, resume: bool = False):
        self.root = Path(path)
        self.paths = RunPaths(self.root)
        self.seed = seed
        self._state = State(finished=[], rows=[])
        self._rows: dict[tuple, dict] = {}
        if resume and not self.holds_run(self.root):
            raise InputError(f"{self.root}: no run to resume here; drop --resume or give the folder of a run")
        if not resume:
            self._check_free()  # before the lock leaves a file among others
        make_folder(self.root)
        with _writing(self.root):
            self._lock = self.paths.lock.open("a")
        try:
            take_lock(self._lock.fileno(), self.root, "another process writes this run; stop it or change --out")
            remove_unfinished(self.root)
            if resume:
                self._continue(config)
            else:
                self._begin(config)
        except BaseException:
            self.close()
            raise
        self.log("resume" if resume else "start", finished=len(self._state.finished))

    def _begin(self, config: dict) -> None:
        self._check_free()  # another process may have begun one since
        self._write_config(config)
        self._write_state()

    def _check_free(self) -> None:
        if self.holds_run(self.root):
            raise InputError(f"{self.root}: holds a run already; add --resume or choose another --out")
        there = self.root.iterdir() if self.root.is_dir() else ()
        foreign = [path.name for path in there if not path.name.startswith(".")]
        if foreign:
            raise InputError(f"{self.root}: holds {foreign[0]} but no run; choose a new or empty folder (--out)")

    def _continue(self, config: dict) -> None:
        cycles = _check_same_config(self.paths.config, config)
        self._state = read_state(self.paths)
        for key, faults in damage(self.root, self._state).items():
            self._state.finished.remove(key)
            warnings.warn(f"{name_faults(faults)}; {key} is made again", stacklevel=2)
        self._read_rows()
        _cut_torn_line(self.paths.log)
        if cycles != config.get("cycles"):
            self._change_cycles(cycles, config)

    def _change_cycles(self, before: object, config: dict) -> None:
        begun = max(self.paths.cycles(), default=0)
        if config["cycles"] < begun:
            raise InputError(
                f"{self.paths.config}: cycle {begun} has begun, so cycles cannot be {config['cycles']}; "
                f"give {begun} or more, or choose another --out"
            )
        self._drop([LAST_STAGE])
        # The configuration last: after a kill between the two writes, the run ends anew with its old cycles.
        self._write_state()
        self._write_config(config)
        self.log("cycles", before=before, now=config["cycles"])

    def _read_rows(self) -> None:
        """Take the scores from `state.json` where `metrics.json` lacks them, and write it again."""
        state = self._state
        try:
            written = read_metrics(self.paths)
        except InputError:
            if state.rows is None:  # an earlier version kept no second copy
                raise
            written = None
        self._rows = {row_identity(row): row for row in [*(written or ()), *(state.rows or ())]}
        nothing_yet = not state.finished and not self.paths.metrics.exists()
        if nothing_yet or (written is not None and not state.lacks(written)):
            return
        if state.rows is None:
            self._drop([key for key in state.finished if key.endswith(SCORING)])
        warnings.warn(f"{self.paths.metrics}: lacks scores of this run; written again", stacklevel=2)
        self._write_metrics()

    @staticmethod
    def holds_run(path: str | Path) -> bool:
        """Whether a run was started in the folder `path`."""
        paths = RunPaths(Path(path))
        return paths.config.exists() or paths.state.exists()

    def close(self) -> None:
        """Give the lock back; the run can then be resumed, here or in another process."""
        self._lock.close()

    def __enter__(self) -> "RunDirectory":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def log(self, event: str, **fields: object) -> None:
        """Append one line to `log.jsonl`: the time (UTC), `event` and `fields`, which may hold NumPy scalars."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        line = json.dumps(_plain({"time": now, "event": event, **fields}), allow_nan=False)
        with _writing(self.paths.log), self.paths.log.open("a") as file:
            file.write(line + "\n")

    def is_finished(self, key: str) -> bool:
        """Whether the stage `key` has run to its end, now or before a restart."""
        return key in self._state.finished

    def strangers(self, key: str, folder: Path) -> list[Path]:
        """Return the files in `folder` that the finished stage `key` did not leave there; none if that is unknown."""
        known = self._state.files.get(key, {})
        files = sorted(path for path in folder.rglob("*") if path.is_file() and not is_litter(path)) if known else []
        return [path for path in files if path.relative_to(self.root).as_posix() not in known]

    @contextlib.contextmanager
    def stage(self, key: str, outputs: Iterable[Path] = (), followers: Collection[str] = ()) -> Iterator[None]:
        """Run the block as stage `key`: log its start and end, time it, and mark it finished once it has ended.

        A stage that runs again, since its files were damaged, starts without them. If it then leaves the same files as
        the first time, what was made of them stays finished; else its followers are unfinished as well.

        Args:
            key: name of the stage.
            outputs: files and folders that it writes, as paths within the run.
            followers: the stages that build on it.

        Raises:
            ValueError: the stage is finished; ask `is_finished` first.
        """
        if self.is_finished(key):
            raise ValueError(f"stage {key} is finished already")
        before = self._state.files.get(key)
        for name in before or ():
            (self.root / name).unlink(missing_ok=True)
        self.log("stage_start", stage=key)
        begin = time.perf_counter()
        try:
            yield
        except BaseException as error:
            self.log("stage_stopped", stage=key, error=type(error).__name__, message=str(error))
            raise
        seconds = round(time.perf_counter() - begin, 3)
        self._state.files[key] = digests(self.root, outputs)
        if before != self._state.files[key]:
            self._drop(followers)
        self._state.finished.append(key)
        self._state.seconds[key] = seconds
        # The state last: a kill between the two writes runs the stage again instead of losing its seconds.
        self._write_metrics()
        self._write_state()
        self.log("stage_end", stage=key, seconds=seconds)

    def _drop(self, keys: Collection[str]) -> None:
        self._state.finished = [key for key in self._state.finished if key not in keys]

    def add_rows(self, rows: Iterable[dict]) -> None:
        """Put `rows` into `metrics.json`; a row takes the place of one with the same source, cycle, round and split.

        Each row has `source`, `cycle`, `split` and any number of metrics, and `round` unless it is of a map.
        """
        for row in rows:
            self._rows[row_identity(row)] = {name: _plain(value) for name, value in row.items()}
        self._write_metrics()

    @property
    def rows(self) -> list[dict]:
        """The rows of `metrics.json`, oldest first."""
        return list(self._rows.values())

    @property
    def seconds(self) -> dict[str, float]:
        """Wall time of each finished stage."""
        return dict(self._state.seconds)

    def _write_config(self, config: dict) -> None:
        with atomic_path(self.paths.config) as temporary:
            temporary.write_text(yaml.safe_dump(config, sort_keys=False))

    def _write_metrics(self) -> None:
        write_json(self.paths.metrics, {"rows": self.rows, "seed": self.seed, "wall_s": self._state.seconds})

    def _write_state(self) -> None:
        self._state.rows = self.rows
        self._state.write(self.paths.state)


def read_events(path: Path) -> list[dict]:
    """Return the lines of a `log.jsonl`; a last line without its end, from a kill or a run at work, is left out.

    Raises:
        InputError: a line is no JSON object with an event.
    """
    content = path.read_bytes() if path.is_file() else b""
    try:
        events = [json.loads(line) for line in content[: content.rfind(b"\n") + 1].splitlines()]
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: line is not JSON ({error}); repair or remove the file") from error
    if not all(isinstance(event, dict) and isinstance(event.get("event"), str) for event in events):
        raise InputError(f"{path}: a line without its event; repair or remove the file")
    return events


def data_folders(run: Path) -> list[Path]:
    """Return the folders of the data sets that the run in the folder `run` was last given.

    Raises:
        InputError: the log does not tell, or a data set is no longer there.
    """
    events = [event for event in read_events(RunPaths(run).log) if event["event"] == "data"]
    if not events:
        raise InputError(
            f"{run}: the data set of this run is not named in {RunPaths(run).log.name}; give its folder (--data)"
        )
    # Earlier versions trained on one folder.
    folders = [Path(folder) for folder in events[-1].get("folders") or [events[-1]["folder"]]]
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"{run}: the data set of this run was at {folder}; give its folder (--data)")
    return folders


def read_run_config(run: Path) -> RunConfig:
    """Return the settings of the run in the folder `run`, which may have been begun by an earlier version.

    Raises:
        InputError: there is no run, or its settings are broken.
    """
    return read_stored(_read_config(RunPaths(run).config), RunPaths(run).config)


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); {cure(error)}") from error


def _plain(value: object) -> object:
    """Return `value` as strict JSON can hold it: NumPy scalars as Python's, NaN and infinity as null, paths as text."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def _cut_torn_line(path: Path) -> None:
    """Drop a last line without its end, which a kill in the middle of a write leaves."""
    content = path.read_bytes() if path.exists() else b""
    if not content.endswith(b"\n"):
        path.write_bytes(content[: content.rfind(b"\n") + 1])


def _flat(config: object, prefix: str = "") -> dict[str, object]:
    """Return nested mappings as `{"a.b": value}`, in order."""
    if not isinstance(config, dict) or not config:
        return {prefix: config}
    flat = {}
    for key, value in config.items():
        flat.update(_flat(value, f"{prefix}.{key}" if prefix else str(key)))
    return flat


def _read_config(path: Path) -> object:
    try:
        return read_yaml(path.read_text())
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: missing or not valid YAML; restore it, or start again with another --out") from error


def _check_same_config(path: Path, config: dict) -> object:
    """Compare a configuration with the run's in all but the number of cycles, and return that of the run."""
    # Through YAML too, so that a tuple equals the list it was written as.
    now = _flat(yaml.safe_load(yaml.safe_dump(config, sort_keys=False)))
    later = {key: value for key, value in LATER.items() if key in now}
    before = later | _flat(_translated(_read_config(path), path))
    missing = object()
    for key in [*now, *before]:
        old, new = before.get(key, missing), now.get(key, missing)
        if old != new and (key != "cycles" or missing in (old, new)):
            old, new = ("absent" if value is missing else repr(value) for value in (old, new))
            raise InputError(
                f"{path}: {key} is {old} in this run and {new} in the configuration given; "
                "resume with the run's own configuration or choose another --out"
            )
    return before.get("cycles")


def _translated(content: object, path: Path) -> object:
    """Return a run's settings in keys of this version.

    Raises:
        InputError: an earlier version began the run, and this one would go on otherwise.
    """
    if not isinstance(content, dict) or not modernise(content)[1]:
        return content
    config, lost = read_stored_strictly(content, path)
    if lost:
        raise InputError(
            f"{path}: an earlier version began this run with {', '.join(lost)}, which this one does not have; "
            "go on with version 0.1.0 or choose another --out"
        )
    return config.model_dump(mode="json")
