"""Kills at random moments: a killed command that is started again ends with the files of one that never was.

`kill -9` leaves a process no time for anything. Every trial works on tiny networks and images, in new folders. After
each kill, whatever lies there under its own name is whole.
"""

import hashlib
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from cyclic.datasets.synthetic import write_tissue_set
from cyclic.runs.directory import read_events
from soaking.launch import FORK, Command, import_networks

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
        "mask_threshold": 0.5,
    },
}  # fmt: skip
# Images to train on, images of val, and their side in pixels.
IMAGES, SIDE = (2, 1), 128
# What a run writes that is the same bytes in each run of one seed.
LASTING = ("*.h5", "*.tif", "cycle_*/**/*.json", "*.png")
BETWEEN = "between stages"
# Kills for each that is asked for, at most: where stages of milliseconds are missed, or a command ends too soon.
PATIENCE = 5


def digests(folder: Path, patterns: Sequence[str] = ("*",)) -> dict[str, str]:
    """Return `{path: SHA-256}` of the files in a folder but hidden ones."""
    found = {path for pattern in patterns for path in folder.rglob(pattern) if path.is_file()}
    names = {path.relative_to(folder): path for path in found}
    shown = {name: path for name, path in names.items() if not any(part.startswith(".") for part in name.parts)}
    return {name.as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for name, path in sorted(shown.items())}


def leftovers(folder: Path) -> list[str]:
    """Return the temporary files in a folder."""
    return [str(path.relative_to(folder)) for path in folder.rglob(".tmp-*")]


def check_whole(before: dict[str, str], folder: Path, patterns: Sequence[str] = ("*",)) -> None:
    """Raise RuntimeError where a killed command left a file that is not whole under its own name."""
    torn = [name for name, content in digests(folder, patterns).items() if before.get(name) != content]
    if torn:
        raise RuntimeError(f"{folder}: after a kill, half a file or another one: {torn[0]}")


def check_same(before: dict[str, str], folder: Path, patterns: Sequence[str] = ("*",)) -> None:
    """Raise RuntimeError where a command that was killed ends with other files, or leaves some behind."""
    after = digests(folder, patterns)
    other = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    if other or leftovers(folder):
        raise RuntimeError(f"{folder}: {len(other)} other files, e.g. {other[:1]}; left behind {leftovers(folder)}")


def write_untrained(data: Path, weights: Path) -> dict:
    """Write the images, and the weights of a network that learnt nothing; another process computes them."""
    import_networks()
    write_tissue_set(data, *IMAGES, size=SIDE)
    save = FORK.Process(target=_save_untrained, args=(weights,))
    save.start()
    save.join()
    return {"images": sum(IMAGES)}


def _save_untrained(weights: Path) -> None:
    from cyclic.config import RunConfig
    from cyclic.networks import Models

    Models(RunConfig.model_validate(TINY)).save_mask_rcnn(weights)


def kill_training(root: Path, kills: int, seed: int) -> dict:
    """Kill runs `kills` times or more, until each stage was hit; end each with `--resume`, and compare it.

    A run is killed at a random moment of each of its stages in turn. Later runs are killed where none was hit yet, and
    before their first stage.
    """
    import_networks()
    rng = np.random.default_rng(seed)
    data, config = root / "data", root / "tiny.yaml"
    write_tissue_set(data, *IMAGES, size=SIDE)
    config.write_text(json.dumps(TINY))  # JSON is YAML
    train = ("train", "--config", config, "--data", data, "--out")
    begin = time.monotonic()
    Command((*train, root / "whole"), root / "said").finish()
    work = time.monotonic() - begin
    seconds = json.loads((root / "whole/metrics.json").read_text())["wall_s"]
    files = digests(root / "whole", LASTING)
    hit: Counter[str] = Counter()
    runs = 0
    while hit.total() < kills or not all(hit[stage] for stage in seconds):
        if hit.total() > PATIENCE * max(kills, len(seconds)):
            raise RuntimeError(f"stages that no kill hit: {[stage for stage in seconds if not hit[stage]]}")
        runs += 1
        killed = root / f"killed_{runs}"
        least = min(hit[stage] for stage in seconds)
        targets = {stage: seconds[stage] for stage in seconds if hit[stage] == least}
        for stage in _kill_run((*train, killed), targets, rng, root / "said"):
            hit[stage] += 1
            check_whole(files, killed, LASTING)
            if hit.total() >= kills and all(hit[each] for each in seconds):
                break
        resume = ("--resume",) if (killed / "config.yaml").is_file() else ()
        Command((*train, killed, *resume), root / "said").finish()
        _check_run(root / "whole", killed)
    return {"kills": hit.total(), "runs": runs, "whole_run_s": round(work, 1), "stages hit": dict(sorted(hit.items()))}


def _kill_run(train: tuple, targets: dict[str, float], rng: np.random.Generator, place: Path) -> Iterator[str]:
    """Kill a run once at a random moment of each target, `{stage: its seconds}`; yield which stage each kill hit."""
    out = Path(train[-1])
    log = out / "log.jsonl"
    for stage, length in targets.items():
        wanted = b'"stage_start", "stage": "%s"' % stage.encode()
        begun = log.read_bytes().count(wanted) if log.is_file() else 0
        resume = ("--resume",) if (out / "config.yaml").is_file() else ()
        command = Command((*train, *resume), place)
        command.wait_for(lambda: log.is_file() and log.read_bytes().count(wanted) > begun)  # noqa: B023
        if not command.kill(float(rng.uniform(0, length))):
            return
        yield _stage_at_work(log)


def _stage_at_work(log: Path) -> str:
    events = [event for event in read_events(log) if event["event"] in ("stage_start", "stage_end")]
    return events[-1]["stage"] if events and events[-1]["event"] == "stage_start" else BETWEEN


def _check_run(whole: Path, killed: Path) -> None:
    """Raise RuntimeError where a killed run differs from a whole one, or did a finished stage again."""
    rows = [json.loads((run / "metrics.json").read_text())["rows"] for run in (whole, killed)]
    if rows[0] != rows[1]:
        raise RuntimeError(f"{killed}: other scores than the run that was not killed")
    check_same(digests(whole, LASTING), killed, LASTING)
    ends = Counter(event["stage"] for event in read_events(killed / "log.jsonl") if event["event"] == "stage_end")
    again = [stage for stage, count in ends.items() if count > 1]
    if again:
        raise RuntimeError(f"{killed}: finished stages were run again: {again}")


def kill_command(name: str, arguments: Sequence[object], root: Path, kills: int, seed: int) -> dict:
    """Kill a command that writes a folder `kills` times at work, and compare what it writes in the end.

    Args:
        name: of the command, for messages.
        arguments: the command; where it says "OUT", the folder stands.
        root: where to work.
        kills: how often.
        seed: of the moments.
    """
    rng = np.random.default_rng(seed)
    whole, killed = root / f"{name}_whole" / "out", root / f"{name}_killed" / "out"

    def start(out: Path) -> tuple[Command, float]:
        """Start the command and return it once its work has begun, with the moment."""
        out.parent.mkdir(exist_ok=True)
        before = _change(out.parent)
        command = Command([out if argument == "OUT" else argument for argument in arguments], root / "said")
        command.wait_for(lambda: _change(out.parent) != before)
        return command, time.monotonic()

    command, begin = start(whole)
    command.finish()
    work, files, done, late = time.monotonic() - begin, digests(whole), 0, 0
    while done < kills and late < PATIENCE * kills:
        command, _ = start(killed)
        at_work = command.kill(float(rng.uniform(0, work)))
        done, late = done + at_work, late + (not at_work)
        check_whole(files, killed)
        if digests(killed) == files:  # nothing is left to do, so the next kill hits another folder
            killed.parent.rename(root / f"{name}_whole_{done + late}")
    command, _ = start(killed)
    command.finish()
    check_same(files, killed)
    if leftovers(killed.parent):  # beside the folder, too
        raise RuntimeError(f"{name}: left behind {leftovers(killed.parent)}")
    return {"kills": done, "ended before the kill": late, "work_s": round(work, 2), "files": len(files)}


def _change(folder: Path) -> list[tuple[str, int]]:
    """Return what tells that a folder, or one within it, has changed."""
    try:
        places = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
        return [(str(place), place.stat().st_mtime_ns) for place in places]
    except FileNotFoundError:  # gone while it was looked at: it changes
        return []
