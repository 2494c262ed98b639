"""Bad days in bulk: damaged files, kills at random moments, long processes, each backend, and one run twice.

The tests try a little of each. This tries a lot, prints what it counted and writes it as JSON, beside what other calls
have counted there. It ends with exit code 1 where something went wrong, and the file that did it stays in --defects.

Example:
    python scripts/soak.py --kills 50 --command-kills 20 --json results/soak.json
    python scripts/soak.py --fuzz 3200 --json results/soak.json
    python scripts/soak.py --predictions 2000 --epochs 500 --json results/soak.json
    python scripts/soak.py --twice 60 --json results/soak.json
    .venv-backends/bin/python scripts/soak.py --backends --json results/soak.json
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

from benchmark import machine

from cyclic.files import read_json, write_json

# Seconds in which a reader has to be through a thousand damaged files.
HANGS_AFTER = 600


def main(arguments: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fuzz", type=int, default=0, help="damaged files for each reader")
    parser.add_argument("--kills", type=int, default=0, help="kills of a small run, or more, until each stage was hit")
    parser.add_argument("--command-kills", type=int, default=0, help="kills of predict, prepare, tiles and label each")
    parser.add_argument("--predictions", type=int, default=0, help="in one process")
    parser.add_argument("--epochs", type=int, default=0, help="of two steps, in one process")
    parser.add_argument("--twice", type=int, default=0, help="steps of a run that is trained twice, to the same bytes")
    parser.add_argument("--backends", action="store_true", help="train a small cycle on each, and swap their weights")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", help="also write the counts to this file")
    parser.add_argument(
        "--defects", type=Path, default=Path("soak-defects"), help="folder for files that broke a reader"
    )
    options = parser.parse_args(arguments)
    results: dict[str, dict] = {}
    if options.json and Path(options.json).is_file():
        results = read_json(options.json)["results"]
    about = {"machine": machine(), "command": shlex.join(["python", "scripts/soak.py", *arguments])}
    failed = False
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        for name, part in _parts(options, Path(folder)).items():
            begin = time.monotonic()
            try:
                found = part() | {"went wrong": ""}
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                found = {"went wrong": str(error)}
            found["wall_s"] = round(time.monotonic() - begin, 1)
            print(f"{name}: {json.dumps(found)}", flush=True)
            results[name] = found | about
            failed |= bool(found["went wrong"])
            if options.json:  # after each part, so that a stop leaves what was counted
                write_json(options.json, {"name": "soak", "results": results})
    return int(failed)


def _parts(options: argparse.Namespace, folder: Path) -> dict:
    """Return each part by its name, in order: kills of predict use the run of the kills of train."""
    from soaking import answers, backends, kills, twice

    data, weights = folder / "data", folder / ("whole/best.weights.h5" if options.kills else "untrained.h5")
    images, labels = data / "images", data / "labels"
    commands = {
        "predict": ("predict", images, "--weights", weights, "--format", "tif,geojson,csv,coco,overlay"),
        "prepare": ("prepare", "monuseg", data, "OUT", "--crop", 64),
        "tiles": ("tiles", "--images", images, "--labels", labels, "--size", 16, "--stride", 8),
    }
    seed, count = options.seed, options.command_kills
    parts: dict = {}
    if options.fuzz:
        parts["damaged files"] = lambda: _fuzz(options, folder)
    if options.kills:
        parts["kills of train"] = lambda: kills.kill_training(folder, options.kills, seed)
    elif count:
        parts["data and weights"] = lambda: kills.write_untrained(data, weights)
    if count:
        for name, arguments in commands.items():
            out = () if "OUT" in arguments else ("--out", "OUT")
            parts[f"kills of {name}"] = partial(kills.kill_command, name, (*arguments, *out), folder, count, seed)
        parts["kills of label"] = lambda: answers.kill_page(folder, count, seed)
    for what in ("predictions", "epochs"):
        if getattr(options, what):
            parts[what] = partial(_soak, what, folder / what, getattr(options, what))
    if options.twice:
        parts["the same run twice"] = lambda: twice.train_twice(folder, options.twice)
    if options.backends:
        parts["backends"] = lambda: backends.compare(folder)
    return parts


def _fuzz(options: argparse.Namespace, folder: Path) -> dict:
    """Run every reader in a process of its own: native code may end it."""
    from soaking.launch import FORK
    from soaking.readers import make_readers

    readers = make_readers(folder)
    counts: Counter[str] = Counter()
    by_reader = {}
    for name in [*readers, "weights"]:
        found = folder / "found.json"
        found.unlink(missing_ok=True)
        process = FORK.Process(target=_fuzz_one, args=(name, readers.get(name), options, folder, found))
        process.start()
        process.join(HANGS_AFTER * max(1, options.fuzz / 1000))
        if process.exitcode is None:
            process.kill()
            raise RuntimeError(f"{name}: hangs")
        if not found.is_file():
            raise RuntimeError(f"{name}: the process ended with {process.exitcode}")
        by_reader[name] = read_json(found)
        print(f"  {name}: {by_reader[name]}", flush=True)
        counts.update(by_reader[name])
    if counts["defect"]:
        raise RuntimeError(f"{counts['defect']} files were neither read nor refused; see {options.defects}")
    return {"readers": len(by_reader), "files": counts.total(), **counts}


def _fuzz_one(name: str, reader: Any, options: argparse.Namespace, folder: Path, found: Path) -> None:
    import logging

    from soaking.readers import fuzz, weights_reader

    logging.disable(logging.CRITICAL)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # decoders in native code write there
    counts: Counter[str] = Counter()
    for outcome, defect in fuzz(reader or weights_reader(folder), options.fuzz, options.seed):
        counts[outcome] += 1
        if defect:
            options.defects.mkdir(exist_ok=True)
            path = options.defects / f"{name.replace(' ', '_')}.{counts['defect']}"
            path.write_bytes(defect.content)
            path.with_suffix(f"{path.suffix}.txt").write_text(defect.error)
    write_json(found, counts)


def _soak(what: str, folder: Path, count: int) -> dict:
    from soaking.long import soak  # imports TensorFlow, which the processes of other parts must not inherit

    return soak(what, folder, count)


if __name__ == "__main__":
    sys.exit(main())
