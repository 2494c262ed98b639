"""Resident memory over many `detect` calls on images of ten different sizes, as a share of that after the first pass.

Ours alone: the "peer" is our own process after it has seen each size twice.
"""

import argparse

import numpy as np

from benchmarks.workers import Worker

SIDES = (192, 256, 320, 384, 448, 512, 576, 640, 704, 768)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--calls", type=int, default=300)
    parser.add_argument("--backbone", default="resnet18", help="smaller than the default, so that the calls end sooner")


def run(arguments: argparse.Namespace) -> list[dict]:
    worker = Worker("benchmarks.memory:DetectSizes", {"side": max(SIDES), "backbone": arguments.backbone})
    warm = 2 * len(SIDES)
    resident = []
    for _ in range(arguments.calls):
        worker.call()
        resident.append(worker.memory()[1])
    peak = worker.memory()[0]
    worker.close()
    start, end = resident[warm - 1], resident[-1]
    return [
        {
            "case": f"{arguments.calls} calls, {len(SIDES)} sizes from {SIDES[0]} to {SIDES[-1]} px",
            "ours_s": None,
            "peer": f"itself after {warm} calls",
            "peer_s": None,
            "ratio": end / start,
            "start_mb": start / 2**20,
            "end_mb": end / 2**20,
            "highest_mb": max(resident[warm:]) / 2**20,
            "peak_mb": peak / 2**20,
        }
    ]


class DetectSizes:
    """`MaskRCNN.detect` on images of each side in turn."""

    def __init__(self, settings: dict):
        from benchmarks.ours import calm, configuration, use_precision

        use_precision(settings)
        from cyclic.mrcnn.model import MaskRCNN

        class SizesConfig(type(configuration({**settings, "detections": 50, "proposals": 500}))):
            BACKBONE = settings["backbone"]
            NORM = "group"
            IMAGE_RESIZE_MODE = "pad64"
            IMAGE_MIN_DIM = 0
            TOP_DOWN_PYRAMID_SIZE = RPN_CHANNELS = MASK_CHANNELS = 64

        self.model = MaskRCNN("inference", SizesConfig())
        calm(self.model.network)
        rng = np.random.default_rng(0)
        self.images = [rng.integers(0, 255, (side, side, 3), dtype=np.uint8) for side in SIDES]
        self.count = 0

    def __call__(self):
        self.model.detect([self.images[self.count % len(SIDES)]])
        self.count += 1
