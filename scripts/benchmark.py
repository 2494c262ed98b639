"""Measure how fast `cyclic` is, beside a peer where there is one.

Example:
    python scripts/benchmark.py metrics --json metrics.json
"""

import argparse
import importlib
import os
import platform
import shlex
import sys

from benchmarks.processor import model_name

from cyclic.errors import InputError
from cyclic.evaluation.table import markdown_table
from cyclic.files import write_json

# name: (module, what it measures). The module has `add_arguments(parser)` and `run(arguments) -> list of results`, each
# `{"case", "ours_s", "peer", "peer_s", "ratio"}`; the last three are None where there is no peer. A module is
# imported when its name is asked for, so that one that needs no TensorFlow does not wait for it.
BENCHMARKS = {
    "step": ("benchmarks.step", "a training step beside torchvision's"),
    "detect": ("benchmarks.detect", "detection in one image beside torchvision's"),
    "predict": ("benchmarks.predict", "detection in whole images beside an older build and bare networks"),
    "engine": ("benchmarks.engine", "the network in Keras beside OpenVINO"),
    "sample": ("benchmarks.sample", "making one training sample"),
    "memory": ("benchmarks.memory", "resident memory over many detections"),
    "cycles": ("benchmarks.cycles", "memory and time of each cycle of a small training"),
    "stages": ("benchmarks.stages", "where the time of a step and of a detection goes"),
    "devices": ("benchmarks.devices", "a training step on several devices, on paper"),
    "gpu": ("benchmarks.gpu", "training and detection on a GPU beside torchvision's"),
    "near_empty": (
        "benchmarks.near_empty",
        "false nuclei in images with few, with the classifier's verdict and without",
    ),
    "slides": ("benchmarks.slides", "memory and time of slides, by their size"),
    "whole_slide": ("benchmarks.whole_slide", "an estimate of what a large slide would take on a GPU"),
    "metrics": ("benchmarks.metrics", "all metrics of one pair of label maps, by size"),
}


def main(arguments: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = "; ".join(f"{name}: {what}" for name, (_, what) in BENCHMARKS.items())
    parser.add_argument("name", choices=BENCHMARKS, help=names)
    parser.add_argument("rest", nargs=argparse.REMAINDER, metavar="...", help="its options; NAME --help lists them")
    chosen = parser.parse_args(arguments)
    module = importlib.import_module(BENCHMARKS[chosen.name][0])
    options = argparse.ArgumentParser(prog=f"benchmark.py {chosen.name}", description=module.__doc__)
    options.add_argument("--json", help="also write the results to this file")
    module.add_arguments(options)
    settings = options.parse_args(chosen.rest)
    try:
        results = module.run(settings)
    except InputError as error:
        print(f"benchmark.py {chosen.name}: {error}", file=sys.stderr)
        return 2
    print(markdown_table(results), end="")
    if settings.json:
        command = shlex.join(["python", "scripts/benchmark.py", *arguments])
        write_json(settings.json, {"name": chosen.name, "machine": machine(), "command": command, "results": results})
    return 0


def machine() -> str:
    """Return processor, number of cores, system and Python in one line."""
    return f"{model_name()}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"


if __name__ == "__main__":
    sys.exit(main())
