"""Detection in one 512 x 512 image with 2000 proposals, ours beside torchvision's at the same number of detections.

Both with a ResNet-50 FPN and masks pasted into the image. The random networks find as many objects as they are let;
their proposals are of all sizes.
"""

import argparse

from benchmarks.step import PEER
from benchmarks.workers import duel


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--detections", type=int, nargs="+", default=[150, 400], help="ours; torchvision's alike")
    parser.add_argument("--peer-detections", type=int, nargs="+", help="torchvision's, where it is to find others")
    parser.add_argument("--repeats", type=int, default=8, help="the median of so many calls counts")


def run(arguments: argparse.Namespace) -> list[dict]:
    results = []
    pairs = zip(arguments.detections, arguments.peer_detections or arguments.detections, strict=True)
    for found, peer_found in pairs:
        ours = {"side": arguments.side, "detections": found}
        peer = {"side": arguments.side, "detections": peer_found}
        case = f"{arguments.side} x {arguments.side}, {found} detections, torchvision {peer_found}"
        contenders = ("benchmarks.ours:Detect", ours), ("benchmarks.torchvision_peer:Detect", peer)
        results.append(duel(case, *contenders, PEER, arguments.repeats))
    return results
