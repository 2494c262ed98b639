"""A training step on several devices, on paper: the step of one device, and the time to sum the gradients.

Each device trains on images of its own. Then a ring sums the gradients: of n devices each sends and receives
2 (n - 1) / n times their bytes (Patarasuk and Yuan, 2009). Nothing is taken to happen at the same time. The operations
of a step were counted by the benchmark `stages`; the share of a card's peak and the bandwidth are assumptions.
"""

import argparse
from pathlib import Path

from benchmarks.ours import configuration
from benchmarks.peaks import peak_tflops
from cyclic.files import read_json

STAGES = Path(__file__).resolve().parents[2] / "results/benchmarks/stages.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--devices", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--images", type=int, default=2, help="on each device")
    parser.add_argument("--card", default="NVIDIA A100", help="one of benchmarks/peaks.py")
    parser.add_argument("--share", type=float, default=0.25, help="of the card's TF32 peak that a step reaches")
    parser.add_argument("--bandwidth", type=float, nargs="+", default=[20, 200], help="GB a second, in each direction")


def run(arguments: argparse.Namespace) -> list[dict]:
    gigabytes = gradient_bytes() / 1e9
    counted = {row["case"]: row["gflop"] for row in read_json(STAGES)["results"]}
    peak = peak_tflops(arguments.card, "tf32")
    step = arguments.images * counted["training: whole step"] / (1e3 * peak * arguments.share)
    return [
        {
            "case": f"{devices} devices of {arguments.images} images, {bandwidth:g} GB/s",
            "ours_s": step + sum_seconds(devices, gigabytes, bandwidth),
            "peer": "one device, its own images",
            "peer_s": step,
            "ratio": 1 + sum_seconds(devices, gigabytes, bandwidth) / step,
            "times as many images a second": devices * step / (step + sum_seconds(devices, gigabytes, bandwidth)),
            "gradients_gb": gigabytes,
            "limit": f"an estimate: {arguments.share:.0%} of the TF32 peak of {arguments.card}",
        }
        for bandwidth in arguments.bandwidth
        for devices in arguments.devices
    ]


def sum_seconds(devices: int, gigabytes: float, bandwidth: float) -> float:
    """Return the seconds in which a ring sums gradients of so many GB, at so many GB a second.

    >>> sum_seconds(2, 0.5, 20)
    0.025
    """
    return 2 * (devices - 1) / devices * gigabytes / bandwidth


def gradient_bytes() -> int:
    """Return the bytes of the float32 gradients of the network that `stages` measures."""
    import numpy as np

    from cyclic.mrcnn.model import MaskRCNN

    weights = MaskRCNN("training", configuration({"side": 512})).keras_model.trainable_weights
    return 4 * sum(int(np.prod(weight.shape)) for weight in weights)
