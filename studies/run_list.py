"""Train a list of runs one after the other, and append the line of each to its table of runs.

LIST is a YAML file with entries such as

    - name: map_stain_only                # the name in the table
      config: configs/monusac_cpu.yaml
      data: ../shared/data/monuseg
      csv: results/monuseg.csv            # the table
      set: [pseudo.recipe=stain]          # as --set of cyclic train; may be left out
      seeds: [0, 1, 2]

Its paths are relative to the root of the repository, and the data set has to be ready. One seed of all entries comes
first, then the next seed. Seed 0 of this one is trained in FOLDER/monuseg/map_stain_only_seed0. Beside that lie a .log
file with its output and a .commit file with the commit at which it began.

The same command goes on where it was: a run that is in its table is left alone, and one that has begun is resumed.
A result counts only if all of it was made at one commit. So nothing runs while cyclic/ or configs/ hold changes that
are not committed, or differ from the commit at which the run began. A checkout that nobody else edits is the best.

Example:
    python studies/run_list.py studies/lists/map_decides.yaml --out runs/map_decides --dry
    python studies/run_list.py studies/lists/map_decides.yaml --out runs/map_decides --only map map_no_label

Exit code 0: every run is in its table, 1: some failed, 2: wrong use or a refusal, 130: stopped.
"""

import argparse
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import collect
import pydantic
import yaml

from cyclic.config import load_config
from cyclic.errors import InputError
from cyclic.files import atomic_path, make_folder
from cyclic.runs.directory import RunDirectory

ROOT = Path(__file__).resolve().parents[1]
# What decides how a run comes out.
CODE = ("cyclic", "configs")


class Entry(pydantic.BaseModel):
    """One entry of a list: a run for each of its seeds."""

    model_config = pydantic.ConfigDict(extra="forbid")

    name: Annotated[str, pydantic.Field(pattern=r"^\w[\w.-]*$")]
    config: str
    data: str
    csv: str
    overrides: Annotated[list[str], pydantic.Field(alias="set")] = []
    seeds: Annotated[list[pydantic.NonNegativeInt], pydantic.Field(min_length=1)]


@dataclass(frozen=True)
class Run:
    """One training run.

    Attributes:
        entry: what to run.
        seed: with which seed.
        folder: its run directory.
    """

    entry: Entry
    seed: int
    folder: Path

    def __str__(self) -> str:
        return f"{self.table.stem}: {self.entry.name}, seed {self.seed}"

    @property
    def table(self) -> Path:
        """The table that its line goes to."""
        return ROOT / self.entry.csv

    @property
    def log(self) -> Path:
        """The file of its output."""
        return self.folder.with_name(f"{self.folder.name}.log")

    @property
    def commit(self) -> Path:
        """The file that tells at which commit it began."""
        return self.folder.with_name(f"{self.folder.name}.commit")

    @property
    def has_begun(self) -> bool:
        """Whether there is something to go on with."""
        return RunDirectory.holds_run(self.folder)

    def code(self) -> str:
        """Return the commit that makes it; see `commit_of`."""
        return commit_of(self.folder, self.commit, self.has_begun)

    @property
    def is_collected(self) -> bool:
        """Whether its line is in the table."""
        lines = collect.read_table(self.table)
        return (self.entry.name, str(self.seed)) in [(line["name"], line["seed"]) for line in lines]

    @property
    def arguments(self) -> list[str]:
        """The arguments of `cyclic` that begin it or go on with it."""
        entry = self.entry
        given = ["--config", entry.config, "--data", entry.data, "--out", str(self.folder)]
        settings = [part for each in (*entry.overrides, f"seed={self.seed}") for part in ("--set", each)]
        return ["train", *given, *settings, *(["--resume"] if self.has_begun else [])]


def read_list(path: Path) -> list[Entry]:
    """Return the entries of a list.

    Raises:
        InputError: no such file, or it is not a list of runs.
    """
    try:
        return pydantic.TypeAdapter(list[Entry]).validate_python(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: missing or not valid YAML; give a list of runs") from error
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "content"
        raise InputError(f"{path}: {place} (entries count from 0): {first['msg']}; see --help") from error


def runs_of(entries: list[Entry], out: Path, only: Collection[str] = ()) -> list[Run]:
    """Return the runs of the entries, or of those named in `only`: all of one seed first, then those of the next.

    Raises:
        InputError: an unknown name in `only`, or two runs in one folder.
    """
    for name in only:
        if name not in [entry.name for entry in entries]:
            raise InputError(f"--only {name}: no such entry; there are {', '.join(entry.name for entry in entries)}")
    chosen = [entry for entry in entries if not only or entry.name in only]
    seeds = sorted({seed for entry in chosen for seed in entry.seeds})
    runs = [
        Run(entry, seed, out / Path(entry.csv).stem / f"{entry.name}_seed{seed}")
        for seed in seeds
        for entry in chosen
        if seed in entry.seeds
    ]
    folders = [run.folder for run in runs]
    for run in runs:
        if folders.count(run.folder) > 1:
            raise InputError(f"{run}: twice in the list; give each run a name and seed of its own")
    return runs


def git(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Return what git says of this checkout."""
    return subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True)


def present_commit(code: Collection[str] = CODE) -> str:
    """Return the commit that is checked out, in full.

    Args:
        code: files and folders that decide how the work comes out.

    Raises:
        InputError: there is none, or the code is not as it was committed.
    """
    head = git("rev-parse", "HEAD")
    if head.returncode:
        raise InputError(f"{ROOT}: not a git checkout; clone the repository, as a run is told by its commit")
    changes = git("status", "--porcelain", "--", *code).stdout.splitlines()
    if changes:
        raise InputError(f"{ROOT / changes[0][3:]}: changed and not committed; commit or stash it, then start again")
    return head.stdout.strip()


def commit_of(folder: Path, note: Path, has_begun: bool, code: Collection[str] = CODE) -> str:
    """Return the commit at which the work in a folder began, or the present one if it has not begun.

    Args:
        folder: where the results lie.
        note: the file that tells at which commit it began.
        has_begun: whether there is something to go on with.
        code: as in `present_commit`.

    Raises:
        InputError: it must not begin or go on, since the code is not that of this commit.
    """
    now = present_commit(code)
    if not has_begun:
        return now
    if not note.is_file():
        raise InputError(f"{folder}: began at an unknown commit; remove it, and the run begins anew")
    began = note.read_text().strip()
    if git("diff", "--quiet", began, now, "--", *code).returncode:
        raise InputError(
            f"{folder}: began at {began[:7]}, where {'/ or '.join(code)}/ differ from now; "
            f"git checkout {began[:7]}, or remove the folder, and the run begins anew"
        )
    return began


def train(run: Run, commit: str) -> int:
    """Begin a run or go on with it, and return its exit code."""
    make_folder(run.folder.parent)
    with atomic_path(run.commit) as temporary:
        temporary.write_text(f"{commit}\n")
    # This checkout's code, whichever is installed.
    command, environment = [sys.executable, "-m", "cyclic.cli", *run.arguments], {**os.environ, "PYTHONPATH": str(ROOT)}
    with run.log.open("a") as log:
        print("$", shlex.join(["cyclic", *run.arguments]), file=log, flush=True)
        return subprocess.run(
            command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        ).returncode


def check_unchanged(run: Run) -> None:
    """Let a run during which the code changed never count.

    Raises:
        InputError: it changed.
    """
    try:
        run.code()
    except InputError as error:
        run.commit.unlink()
        raise InputError(f"{run}: the code changed while it ran, so it does not count ({error})") from error


def perform(run: Run, commit: str) -> str | None:
    """Train a run and append its line; return what failed, None if nothing did.

    Raises:
        InputError: the code changed meanwhile.
    """
    code = train(run, commit)
    check_unchanged(run)
    if code:
        return f"cyclic train ended with {code}; see {run.log}"
    try:
        base = load_config(ROOT / run.entry.config).model_dump(mode="json")
        short = git("rev-parse", "--short", commit).stdout.strip()
        collect.append(run.table, collect.line(run.folder, run.entry.name, base, short))
    except InputError as error:
        return str(error)
    return None


def perform_all(runs: Iterable[Run]) -> list[Run]:
    """Perform the runs that are in no table yet, and return those that failed.

    Raises:
        InputError: a run must not begin or go on.
    """
    failed = []
    for run in runs:
        if run.is_collected:  # by another process, while others ran here
            continue
        commit = run.code()
        print(f"{run}: {'goes on' if run.has_begun else 'begins'}, output in {run.log}", flush=True)
        problem = perform(run, commit)
        print(f"{run}: {problem or 'done'}", file=sys.stderr if problem else sys.stdout, flush=True)
        if problem:
            failed.append(run)
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("list", type=Path, help="the list of runs, YAML")
    parser.add_argument("--out", type=Path, required=True, help="folder for the run directories")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="the runs of these names alone")
    parser.add_argument("--dry", action="store_true", help="print what would run, and run nothing")
    options = parser.parse_args()
    try:
        runs = runs_of(read_list(options.list), options.out.resolve(), options.only)
        missing = [run for run in runs if not run.is_collected]
        if options.dry:
            for run in missing:
                print(shlex.join(["cyclic", *run.arguments]))
            return 0
        for run in missing:  # before hours are spent on the first of them
            run.code()
        failed = perform_all(missing)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130
    if failed:
        print(f"failed: {'; '.join(map(str, failed))}; the same command tries them again", file=sys.stderr)
    return int(bool(failed))


if __name__ == "__main__":
    # A kill of this process stops the training as well.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
