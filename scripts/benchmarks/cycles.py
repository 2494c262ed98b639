"""Resident memory and time of each cycle of a small training, beside another checkout of the project.

The data are synthetic tissue, the settings those of `configs/monusac_cpu.yaml` with few steps. So tracing is a large
part of the time. The memory of a cycle is the highest that was seen while its stages ran; `flat` is that of the last
cycle as a share of the second's.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

from benchmarks.workers import limit_threads
from cyclic.datasets.synthetic import write_tissue_set
from cyclic.errors import InputError

HERE = Path(__file__).resolve().parents[2]
STEPS = ("classifier.steps", "classifier.later_steps", "mask_rcnn.steps", "mask_rcnn.later_steps")
INTERVAL = 0.2  # seconds between two looks at the memory


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cycles", type=int, default=10)
    parser.add_argument("--steps", type=int, default=20, help="training steps of each network in a cycle")
    parser.add_argument("--peer", type=Path, help="another checkout, e.g. made by git worktree add")


def run(arguments: argparse.Namespace) -> list[dict]:
    if arguments.cycles < 3:
        raise InputError(f"--cycles {arguments.cycles}: give 3 or more, the second is compared with the last")
    limit_threads()
    checkouts = {"ours": HERE, **({"peer": arguments.peer} if arguments.peer else {})}
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        write_tissue_set(data, n_train=4, n_val=1)
        measured = {
            name: train(checkout, data, Path(folder) / name, arguments.cycles, arguments.steps)
            for name, checkout in checkouts.items()
        }
    peer = f"checkout {commit(arguments.peer)}" if arguments.peer else None
    rows = [_row(f"cycle {number}", measured, peer, number - 1) for number in range(1, arguments.cycles + 1)]
    for name, cycles in measured.items():
        rows[-1][f"{name}_flat"] = cycles[-1]["mb"] / cycles[1]["mb"]
    return rows


def _row(case: str, measured: dict[str, list[dict]], peer: str | None, index: int) -> dict:
    ours = measured["ours"][index]
    theirs = measured["peer"][index] if peer else None
    return {
        "case": case,
        "ours_s": ours["s"],
        "peer": peer,
        "peer_s": theirs["s"] if theirs else None,
        "ratio": ours["s"] / theirs["s"] if theirs else None,
        "ours_mb": ours["mb"],
        "peer_mb": theirs["mb"] if theirs else None,
    }


def commit(checkout: Path) -> str:
    """Return the short name of the commit that a checkout is at."""
    command = ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def train(checkout: Path, data: Path, out: Path, cycles: int, steps: int) -> list[dict]:
    """Train with the code of a checkout and return `{"s": seconds, "mb": highest memory}` of each cycle."""
    settings = [f"cycles={cycles}", *(f"{key}={steps}" for key in STEPS)]
    command = [sys.executable, "-m", "cyclic.cli", "train", "--data", str(data), "--out", str(out)]
    command += ["--config", str(checkout / "configs" / "monusac_cpu.yaml")]
    command += [argument for setting in settings for argument in ("--set", setting)]
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(checkout)}, cwd=checkout)
    samples = []
    while process.poll() is None:
        samples.append((time.time(), _resident(process.pid)))
        time.sleep(INTERVAL)
    if process.returncode:
        raise InputError(f"training in {checkout} ended with exit code {process.returncode}")
    return [_cycle(spans, samples) for spans in _stages(out / "log.jsonl", cycles)]


def _stages(log: Path, cycles: int) -> list[list[tuple[float, float]]]:
    """Return for each cycle the (begin, end) of its stages, seconds since the epoch."""
    spans: list[list[tuple[float, float]]] = [[] for _ in range(cycles)]
    for line in log.read_text().splitlines():
        entry = json.loads(line)
        if entry["event"] == "stage_end" and entry["stage"].startswith("cycle_"):
            end = datetime.fromisoformat(entry["time"]).timestamp()
            number = int(entry["stage"].split("/")[0].removeprefix("cycle_"))
            spans[number - 1].append((end - entry["seconds"], end))
    return spans


def _cycle(spans: list[tuple[float, float]], samples: list[tuple[float, int]]) -> dict:
    begin, end = spans[0][0], spans[-1][1]
    return {
        "s": sum(stop - start for start, stop in spans),
        "mb": max(bytes_ for moment, bytes_ in samples if begin <= moment <= end) / 2**20,
    }


def _resident(pid: int) -> int:
    """Return the resident memory of a process in bytes, 0 once it has ended."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    except (FileNotFoundError, ProcessLookupError, IndexError):
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
