"""Kills at random moments: a killed command that is started again ends with the files of one that never was.

`kill -9` leaves a process no time for anything. Every trial works on tiny networks and images, in new folders.
"""

import hashlib
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from cyclic.datasets.synthetic import write_tissue_set

# The smallest real run: every network, two cycles, seconds of training.
TINY = {
    "cycles": 2,
    "tiles": {"size": 32, "stride": 24},
    "classifier": {"steps": 3, "later_steps": 2, "batch": 4},
    "mask_rcnn": {
        "width": [32, 32, 32, 32], "crop": 64, "batch": 1, "steps": 2, "later_steps": 2, "rpn_anchors": 32, "rois": 8,
        "proposals": 32,
    },
    "detection": {
        "tile": 64, "overlap": 16, "batch": 4, "proposals": 32, "max_instances": 16, "min_area": 1,
    },
}  # fmt: skip
# Seconds after which a process is taken to hang.
HANGS_AFTER = 1800
POLL_S = 0.02


def start(arguments: Sequence[object]) -> subprocess.Popen:
    """Start a `cyclic` command."""
    call = [sys.executable, "-m", "cyclic.cli", *map(str, arguments)]
    return subprocess.Popen(call, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def finish(arguments: Sequence[object]) -> float:
    """Run a `cyclic` command to its end and return its seconds.

    Raises:
        RuntimeError: it ended with another exit code than 0.
    """
    begin, process = time.monotonic(), start(arguments)
    _, err = process.communicate(timeout=HANGS_AFTER)
    if process.returncode != 0:
        raise RuntimeError(f"exit code {process.returncode}: {err[-2000:]}")
    return time.monotonic() - begin


def kill(arguments: Sequence[object], has_begun: Callable[[], bool], wait: float) -> bool:
    """Start a command, kill it `wait` seconds after its work has begun, and return whether it was still at work."""
    process, end = start(arguments), time.monotonic() + HANGS_AFTER
    while process.poll() is None and not has_begun() and time.monotonic() < end:
        time.sleep(POLL_S)
    try:
        process.wait(timeout=wait)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return True
    _, err = process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"exit code {process.returncode} before the kill: {err[-2000:]}")
    return False


def digests(folder: Path, patterns: Sequence[str] = ("*",)) -> dict[str, str]:
    """Return `{path: SHA-256}` of the files in a folder but hidden ones."""
    found = {path for pattern in patterns for path in folder.rglob(pattern) if path.is_file()}
    names = {path.relative_to(folder): path for path in found}
    shown = {name: path for name, path in names.items() if not any(part.startswith(".") for part in name.parts)}
    return {name.as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for name, path in sorted(shown.items())}


def leftovers(folder: Path) -> list[str]:
    """Return the temporary files in a folder."""
    return [str(path.relative_to(folder)) for path in folder.rglob(".tmp-*")]


def kill_training(root: Path, kills: int, seed: int) -> dict:
    """Kill a run `kills` times, end it with `--resume`, and compare it with one that nobody stopped."""
    rng = np.random.default_rng(seed)
    data, config = root / "data", root / "tiny.yaml"
    write_tissue_set(data, 2, 1, size=128)
    config.write_text(json.dumps(TINY))  # JSON is YAML
    whole, killed = root / "whole", root / "killed"
    train = ("train", "--config", config, "--data", data, "--out")
    finish((*train, whole))
    work = sum(json.loads((whole / "metrics.json").read_text())["wall_s"].values())
    log, stages, done = killed / "log.jsonl", Counter[str](), 0
    while done < kills:
        resume = ("--resume",) if (killed / "config.yaml").is_file() else ()
        known = len(_lines(log))
        # The longer a process lives the more stages it ends, and some kills are to come at once.
        wait = float(rng.uniform(0, 2 * work / kills))
        at_work = kill((*train, killed, *resume), lambda known=known: len(_lines(log)) > known, wait)
        if not at_work:  # the run has ended: the next kills hit another one
            _check_run(whole, killed)
            killed.rename(root / f"killed_{done}")
            continue
        done += 1
        begun = [event["stage"] for event in _lines(log) if event["event"] == "stage_start"]
        stages[begun[-1].rsplit("/", 1)[-1] if begun else "before the first stage"] += 1
    if (killed / "config.yaml").is_file():
        finish((*train, killed, "--resume"))
    else:
        finish((*train, killed))
    _check_run(whole, killed)
    return {"kills": done, "work_s": round(work, 1), "stages hit": dict(sorted(stages.items()))}


def _lines(log: Path) -> list[dict]:
    content = log.read_bytes() if log.is_file() else b""
    return [json.loads(line) for line in content[: content.rfind(b"\n") + 1].splitlines()]


def _check_run(whole: Path, killed: Path) -> None:
    """Raise RuntimeError where a killed run differs from a whole one, or did a finished stage again."""
    rows = [json.loads((run / "metrics.json").read_text())["rows"] for run in (whole, killed)]
    if rows[0] != rows[1]:
        raise RuntimeError(f"{killed}: other scores than the run that was not killed")
    patterns = ("*.h5", "*.tif", "cycle_*/**/*.json", "*.png")
    before, after = digests(whole, patterns), digests(killed, patterns)
    other = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    if other:
        raise RuntimeError(f"{killed}: {len(other)} other files than the run that was not killed, e.g. {other[0]}")
    ends = Counter(event["stage"] for event in _lines(killed / "log.jsonl") if event["event"] == "stage_end")
    again = [stage for stage, count in ends.items() if count > 1]
    if again or leftovers(killed):
        raise RuntimeError(f"{killed}: stages run again {again}, left behind {leftovers(killed)}")


def kill_command(name: str, arguments: Sequence[object], root: Path, kills: int, seed: int) -> dict:
    """Kill a command that writes a folder `kills` times, and compare what it writes in the end.

    Args:
        name: of the command, for messages.
        arguments: the command without `--out`.
        root: where to work.
        kills: how often.
        seed: of the moments.
    """
    rng = np.random.default_rng(seed)
    whole, killed = root / f"{name}_whole", root / f"{name}_killed"
    begin = time.monotonic()
    process = start((*arguments, "--out", whole))
    while process.poll() is None and not whole.is_dir():
        time.sleep(POLL_S)
    start_up = time.monotonic() - begin
    _, err = process.communicate(timeout=HANGS_AFTER)
    if process.returncode != 0:
        raise RuntimeError(f"{name}: exit code {process.returncode}: {err[-2000:]}")
    work, done, late = time.monotonic() - begin - start_up, 0, 0
    while done + late < kills:
        # Already there from the second start on, so that its work begins with a change of the folder.
        before = _change(killed)
        at_work = kill(
            (*arguments, "--out", killed), lambda before=before: _change(killed) != before, float(rng.uniform(0, work))
        )
        done, late = done + at_work, late + (not at_work)
    finish((*arguments, "--out", killed))
    if digests(whole) != digests(killed) or leftovers(killed):
        raise RuntimeError(f"{name}: other files after {done} kills, left behind {leftovers(killed)}")
    return {"kills": done, "ended before the kill": late, "work_s": round(work, 2), "files": len(digests(whole))}


def _change(folder: Path) -> int:
    places = [folder, folder / ".cyclic.sums", folder / ".partial"]
    return sum(place.stat().st_mtime_ns for place in places if place.exists())
