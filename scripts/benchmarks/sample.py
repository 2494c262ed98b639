"""One training sample, a 512 px crop of a 1000 x 1000 image of some 600 nuclei, beside one training step.

The sample holds the image, mini masks, RPN targets and augmentation (flips, turns, stain jitter). The first peer is the
same crop from one full-size mask a nucleus, as Matterport's data sets give it; the second is the training step that the
loader feeds: while a step takes longer than a sample, one loading thread is enough.
"""

import argparse
import itertools

import numpy as np

from benchmarks.metrics import seconds
from benchmarks.ours import LabelledImage, OneImage, configuration
from benchmarks.workers import Worker

NUCLEI = 600


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--nuclei", type=int, default=NUCLEI)
    parser.add_argument("--size", type=int, default=1000, help="side of the image in px")
    parser.add_argument("--side", type=int, default=512, help="side of the crop in px")
    parser.add_argument("--repeats", type=int, default=20, help="the fastest of so many calls counts")


def run(arguments: argparse.Namespace) -> list[dict]:
    settings = {"side": arguments.side}
    drawn = draw_discs(arguments.size, arguments.nuclei)
    ours = _seconds(LabelledImage(*drawn), settings, arguments.repeats)
    stack = _seconds(ImageOfMasks(*drawn), settings, 2)
    step = Worker("benchmarks.ours:TrainingStep", settings)
    step_s = min(step.call() for _ in range(4))
    step.close()
    case = f"{arguments.side} px crop of {arguments.size} x {arguments.size}, {arguments.nuclei} nuclei"
    peers = (("a full-size mask a nucleus", stack), ("the training step", step_s))
    return [
        {"case": case, "ours_s": ours, "peer": peer, "peer_s": peer_s, "ratio": ours / peer_s} for peer, peer_s in peers
    ]


def _seconds(data, settings: dict, repeats: int) -> float:
    from cyclic.mrcnn.data.loader import DataGenerator
    from cyclic.semi.dataset import CropAugmentation

    class SampleConfig(type(configuration(settings))):
        IMAGE_RESIZE_MODE = "crop"

    augmentation = CropAugmentation() if hasattr(data, "load_label_map") else None
    generator = DataGenerator(data, SampleConfig(), augmentation=augmentation)
    places = itertools.count()
    return seconds(lambda: generator[next(places)], repeats)


class ImageOfMasks(OneImage):
    """One image whose instances come as a stack of masks of its size."""

    def load_mask(self, image_id):
        ids = np.arange(1, self.labels.max() + 1)
        return self.labels[..., None] == ids, np.ones(len(ids), np.int32)


def draw_discs(size: int, nuclei: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a noisy image `[size, size, 3]` uint8 and the label map `[size, size]` int32 of discs on a grid."""
    image = np.random.default_rng(0).integers(0, 255, (size, size, 3), dtype=np.uint8)
    columns = int(np.ceil(np.sqrt(nuclei)))
    pitch = size / columns
    y, x = np.mgrid[:size, :size]
    row, column = (y / pitch).astype(int), (x / pitch).astype(int)
    inside = np.hypot(y - (row + 0.5) * pitch, x - (column + 0.5) * pitch) < 0.42 * pitch
    label = row * columns + column + 1
    return image, np.where(inside & (label <= nuclei), label, 0).astype(np.int32)
