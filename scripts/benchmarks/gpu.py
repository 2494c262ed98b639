"""Training and detection on a GPU, with the Keras backend of KERAS_BACKEND, beside torchvision's Mask R-CNN.

Both as in the benchmark `step`, in the same precision on the same card, in turn: float32 is without TF32, tf32 lets
matrix products and convolutions use it. Parts: `step` (a training step from a batch in the host's memory: time, device
memory, share of the card's peak), `stages` (where its time goes, beside the arithmetic limit: the stage's operations
at the card's peak), `detect`, and `schedule` (a dry run of the paper's five cycles). Each case runs in a new process.
"""

import argparse
import concurrent.futures
import importlib.util
import json
import multiprocessing
import os
import sys
import time

from benchmarks.peaks import FORMATS, peak_tflops
from benchmarks.step import PEER
from benchmarks.workers import Local, Worker, compare
from cyclic.errors import InputError

# The largest image, px, that is run without a GPU, to try the code out.
TINY = 128
# What every result has beside its case.
CONTRACT = ("ours_s", "peer", "peer_s", "ratio")
# Left to themselves, JAX and TensorFlow take most of the card's memory at once, and torchvision runs beside them.
ENVIRONMENT = {
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    "TF_CPP_MIN_LOG_LEVEL": "2",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="parts; all by default")
    parser.add_argument("--precision", nargs="+", choices=FORMATS, default=["tf32"])
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--size", type=int, default=512, help=f"side of the images, px; up to {TINY} needs no GPU")
    parser.add_argument("--rois", type=int, default=128)
    parser.add_argument("--detections", type=int, default=150)
    parser.add_argument("--steps", type=int, default=20, help="the median of so many calls counts")
    parser.add_argument(
        "--peak-tflops", type=float, nargs="+", help="of a card not in peaks.py, one for each precision"
    )
    parser.add_argument("--minutes", type=float, default=5, help="no case starts later")


def run(arguments: argparse.Namespace) -> list[dict]:
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    device, backend = _in_process(_device)
    if device is None and arguments.size > TINY:
        raise InputError(f"Keras on {backend} finds no GPU; without one, try --size {TINY} --batch 1 --steps 1")
    end, results = time.monotonic() + 60 * arguments.minutes, []
    for case in _cases(arguments, device):
        if time.monotonic() > end:
            print(f"left out after {arguments.minutes:g} minutes: {_name(case)}", file=sys.stderr)
            continue
        try:
            rows = _in_process(_measure, case)
        except Exception as error:  # such as a card with too little memory: the other cases may still be measured
            rows = [{"case": _name(case), **dict.fromkeys(CONTRACT), "error": f"{type(error).__name__}: {error}"}]
        rows = [row | {"device": device, "backend": backend} for row in rows]
        # What is measured is seen, even if the machine goes before the end.
        print(*map(json.dumps, rows), sep="\n", file=sys.stderr, flush=True)
        results += rows
    return results


def _cases(arguments: argparse.Namespace, device: str | None) -> list[dict]:
    """Return the settings of each case."""
    given = arguments.peak_tflops or [peak_tflops(device or "", precision) for precision in arguments.precision]
    if len(given) != len(arguments.precision):
        raise InputError("--peak-tflops: give one number for each of --precision")
    return [
        {
            "part": part,
            "precision": precision,
            "peak": peak,
            "batch": batch,
            "side": arguments.size,
            "rois": arguments.rois,
            "detections": arguments.detections,
            "steps": arguments.steps,
            "device": "cuda" if device else "cpu",
        }
        for part in arguments.only
        for precision, peak in zip(arguments.precision, given, strict=True)
        # A dry run has the batches of its configuration.
        for batch in (arguments.batch if part != "schedule" else [None])
    ]


def _name(case: dict) -> str:
    batch = "" if case["batch"] is None else f"batch {case['batch']}, "
    return f"{case['part']}, {batch}{case['side']} x {case['side']}, {case['precision']}"


def _step(case: dict) -> list[dict]:
    row = _duel(case, "step")
    gflop = row["ours_facts"].pop("gflop")
    peak = case["peak"]
    share = gflop / row["ours_s"] / (peak * 1e3) if peak else None
    return [row | {"gflop": gflop, "peak_tflops": peak, "share_of_peak": share}]


def _detect(case: dict) -> list[dict]:
    return [_duel(case, "detection")]


def _duel(case: dict, what: str) -> dict:
    """Return a row: ours and torchvision's, where it is installed, with the images that each gets through a second."""
    import keras

    # On PyTorch both share the process and its memory; another library has the card beside PyTorch.
    place = Local if keras.backend.backend() == "torch" else Worker
    ours = Local(f"benchmarks.on_device:our_{what}", case)
    peer = place(f"benchmarks.on_device:peer_{what}", case) if importlib.util.find_spec("torchvision") else None
    row = compare(_name(case), ours, peer, PEER, case["steps"])
    rates = {f"{who}_per_s": row[f"{who}_s"] and case["batch"] / row[f"{who}_s"] for who in ("ours", "peer")}
    return row | rates


def _stages(case: dict) -> list[dict]:
    from benchmarks.training_stages import MATRIX_SIDE, TrainingStages

    stages = TrainingStages(case, case["steps"])
    side = MATRIX_SIDE if case["device"] == "cuda" else 512
    product = stages.matrix_product("bfloat16" if case["precision"] == "mixed_bfloat16" else "float32", side)
    rate = case["peak"] * 1e12 if case["peak"] else product[0] / product[1]
    limit = "the card's peak" if case["peak"] else "a large matrix product"
    return [
        {
            "case": f"{_name(case)}: {stage}",
            "ours_s": taken,
            "peer": limit if work else None,
            "peer_s": work / rate if work else None,
            "ratio": taken * rate / work if work else None,
            "gflop": work / 1e9 if work else None,
        }
        for stage, work, taken in [(f"matrix product of {side} x {side}", *product), *stages.rows()]
    ]


def _schedule(case: dict) -> list[dict]:
    from benchmarks.schedule import schedule

    return [
        {
            "case": f"{_name(case)}: {row['stage']}",
            "ours_s": row.get("unit_s", row["hours"] * 3600),
            **dict.fromkeys(CONTRACT[1:]),
            "units": row.get("units"),
            "hours": row["hours"],
        }
        for row in schedule(case)
    ]


PARTS = {"step": _step, "stages": _stages, "detect": _detect, "schedule": _schedule}


def _measure(case: dict) -> list[dict]:
    return PARTS[case["part"]](case)


def _device() -> tuple[str | None, str]:
    """Return the name of the GPU, or None, and Keras' backend."""
    import keras

    from benchmarks.accelerator import gpu_name

    return gpu_name(keras.backend.backend()), keras.backend.backend()


def _in_process(function, *arguments):
    """Return what the function returns in a new process, which leaves no memory on the device."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as executor:
        return executor.submit(function, *arguments).result()
