"""Bad days in bulk: damaged files for every reader, kills at random moments, thousands of predictions.

The tests try a little of each. This tries a lot, prints what it counted and writes it as JSON. It ends with exit code 1
where something went wrong, and the file that did it stays in --defects.

Example:
    python scripts/soak.py --fuzz 1000 --kills 10 --json results/soak.json
"""

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmark import machine

from cyclic.files import write_json

# Seconds in which a reader has to be through a thousand damaged files.
HANGS_AFTER = 600


def main(arguments: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fuzz", type=int, default=1000, help="damaged files for each reader")
    parser.add_argument("--kills", type=int, default=10, help="kills of a small run")
    parser.add_argument("--command-kills", type=int, default=5, help="kills of predict and of tiles each")
    parser.add_argument("--predictions", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", help="also write the counts to this file")
    parser.add_argument(
        "--defects", type=Path, default=Path("soak-defects"), help="folder for files that broke a reader"
    )
    parser.add_argument("--reader", help=argparse.SUPPRESS)  # the work of one process
    parser.add_argument("--weights", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.reader:
        return _fuzz_here(options)
    if options.weights:
        from soaking.long import predict_many

        print(json.dumps(predict_many(options.weights, options.predictions)))
        return 0
    results: dict[str, dict] = {}
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        for name, part in _parts(options, Path(folder)).items():
            begin = time.monotonic()
            try:
                results[name] = part() | {"went wrong": ""}
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                results[name] = {"went wrong": str(error)}
            results[name]["wall_s"] = round(time.monotonic() - begin, 1)
            print(f"{name}: {json.dumps(results[name])}", flush=True)
            if options.json:  # after each part, so that a stop leaves what was counted
                command = shlex.join(["python", "scripts/soak.py", *arguments])
                write_json(options.json, {"name": "soak", "machine": machine(), "command": command, "results": results})
    return int(any(result["went wrong"] for result in results.values()))


def _parts(options: argparse.Namespace, folder: Path) -> dict:
    """Return each part by its name, in order: later ones use the run of the first."""
    from soaking import kills

    weights, images = folder / "whole/best.weights.h5", folder / "data/images"
    predict = ("predict", images, "--weights", weights, "--format", "tif,geojson,csv,coco,overlay")
    tiles = ("tiles", "--images", images, "--labels", folder / "data/labels", "--size", 16, "--stride", 8)
    seed, count = options.seed, options.command_kills
    parts: dict = {}
    if options.fuzz:
        parts["damaged files"] = lambda: _fuzz(options)
    if options.kills:
        parts["kills of train"] = lambda: kills.kill_training(folder, options.kills, seed)
        if count:
            parts["kills of predict"] = lambda: kills.kill_command("predict", predict, folder, count, seed)
            parts["kills of tiles"] = lambda: kills.kill_command("tiles", tiles, folder, count, seed)
    if options.predictions:
        parts["predictions"] = lambda: _predict(folder / "untrained.h5", options.predictions)
    return parts


def _fuzz(options: argparse.Namespace) -> dict:
    """Run every reader in a process of its own: native code may end it."""
    from soaking.readers import make_readers

    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        names = [*make_readers(Path(folder)), "weights"]
    counts: Counter[str] = Counter()
    for name in names:
        call = [sys.executable, __file__, "--reader", name, "--fuzz", options.fuzz, "--seed", options.seed]
        call += ["--defects", options.defects]
        limit = HANGS_AFTER * max(1, options.fuzz / 1000)
        done = subprocess.run(list(map(str, call)), capture_output=True, text=True, timeout=limit)
        if done.returncode not in (0, 1):
            raise RuntimeError(f"{name}: the process ended with {done.returncode}: {done.stderr[-1000:]}")
        found = json.loads(done.stdout.splitlines()[-1])
        print(f"  {name}: {found}", flush=True)
        counts.update(found)
    if counts["defect"]:
        raise RuntimeError(f"{counts['defect']} files were neither read nor refused; see {options.defects}")
    return {"readers": len(names), "files": counts.total(), **counts}


def _fuzz_here(options: argparse.Namespace) -> int:
    import logging

    from soaking.readers import fuzz, make_readers, weights_reader

    logging.disable(logging.CRITICAL)
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        place = Path(folder)
        reader = weights_reader(place) if options.reader == "weights" else make_readers(place)[options.reader]
        for outcome, defect in fuzz(reader, options.fuzz, options.seed):
            counts[outcome] += 1
            if defect:
                options.defects.mkdir(exist_ok=True)
                path = options.defects / f"{options.reader.replace(' ', '_')}.{counts['defect']}"
                path.write_bytes(defect.content)
                path.with_suffix(f"{path.suffix}.txt").write_text(defect.error)
    print(json.dumps(dict(counts)))
    return int(counts["defect"] > 0)


def _predict(weights: Path, count: int) -> dict:
    from soaking.kills import TINY

    from cyclic.config import RunConfig
    from cyclic.networks import Models

    Models(RunConfig.model_validate(TINY)).save_mask_rcnn(weights)  # memory does not depend on what a network learnt
    call = [sys.executable, __file__, "--weights", str(weights), "--predictions", str(count)]
    done = subprocess.run(call, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stderr[-2000:])
    found = json.loads(done.stdout.splitlines()[-1])
    if found["memory ratio"] > 1.02 or found["open files"][1] > found["open files"][0]:
        raise RuntimeError(f"memory or open files grow: {found}")
    return found


if __name__ == "__main__":
    sys.exit(main())
