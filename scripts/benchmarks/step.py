"""One training step at 512 x 512, 128 ROIs of which a quarter may be positive, ours beside torchvision's.

Both: ResNet-50 FPN, every layer trained, frozen batch norm, the five losses, SGD with momentum. Ours has Matterport's
512-channel RPN, torchvision's 256 channels. In mixed_bfloat16, `limit` says what the processor makes of it.
"""

import argparse

from benchmarks.processor import bfloat16_limit
from benchmarks.workers import duel

PEER = "torchvision maskrcnn_resnet50_fpn"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rois", type=int, default=128)
    parser.add_argument("--precision", nargs="+", default=["float32"], help="float32, mixed_bfloat16")
    parser.add_argument("--repeats", type=int, default=8, help="the median of so many steps counts")


def run(arguments: argparse.Namespace) -> list[dict]:
    results = []
    for precision in arguments.precision:
        settings = {"side": arguments.side, "batch": arguments.batch, "rois": arguments.rois, "precision": precision}
        case = f"batch {arguments.batch}, {arguments.side} x {arguments.side}, {arguments.rois} ROIs, {precision}"
        contenders = [(f"benchmarks.{module}:TrainingStep", settings) for module in ("ours", "torchvision_peer")]
        limit = {"limit": bfloat16_limit()} if precision == "mixed_bfloat16" else {}
        results.append(duel(case, *contenders, PEER, arguments.repeats) | limit)
    return results
