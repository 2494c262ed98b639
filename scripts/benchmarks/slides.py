"""Memory and time of predicting slides, by their size; by itself with a stand-in for the network that costs nothing.

So the figures are those of reading, storing, merging and writing. `--weights` measures a model instead.
"""

import argparse
import tempfile
from pathlib import Path

import cv2
import numpy as np
import tifffile

from benchmarks.workers import Worker

TILE = 256
# Diameter of a nucleus in px. With one in each square of 42 px they are as dense as in the synthetic tissue.
NUCLEUS, SPACING = 18, 42


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sides", type=int, nargs="+", default=[1000, 5000, 10_000, 20_000], help="px of the slides")
    parser.add_argument("--chunk", type=int, default=2048, help="px of a chunk")
    parser.add_argument("--spacing", type=int, default=SPACING, help="a nucleus in each square of so many px")
    parser.add_argument("--weights", help="best.weights.h5 of a run, instead of the stand-in")


def run(arguments: argparse.Namespace) -> list[dict]:
    results = []
    for side in arguments.sides:
        settings = {"side": side, **vars(arguments)}
        worker = Worker("benchmarks.slides:PredictSlide", settings)
        before, seconds, peak = worker.memory()[1], worker.call(), worker.memory()[0]
        worker.close()
        results.append(
            {
                "case": f"{side} x {side} px, {worker.facts['chunks']} chunks",
                "ours_s": seconds,
                "peer": None,
                "peer_s": None,
                "ratio": None,
                "peak_mb": peak / 2**20,
                "before_mb": before / 2**20,
                "mpx_per_s": side**2 / 1e6 / seconds,
            }
        )
    return results


class PredictSlide:
    """Predicts a drawn slide, and writes its outlines and table."""

    def __init__(self, settings: dict):
        from cyclic.slides.predictor import Predictor

        side = settings["side"]
        self._folder = tempfile.TemporaryDirectory()
        self._slide, self._chunk = Path(self._folder.name) / "slide.tif", settings["chunk"]
        write_slide(self._slide, side, settings["spacing"])
        weights = settings["weights"]
        self._predictor = Predictor.load(weights) if weights else standing_in()
        self.facts = {"chunks": (-(-side // self._chunk)) ** 2}

    def __call__(self) -> None:
        from cyclic.slides.predict import SlideOptions, find_nuclei

        folder = Path(self._folder.name)
        options = SlideOptions(tissue="none", chunk=self._chunk)
        nuclei = find_nuclei(self._predictor, self._slide, options, folder / "chunks", "model", lambda: self._predictor)
        nuclei.write({"geojson.gz": folder / "a.geojson.gz", "csv": folder / "a.csv"})


def standing_in():
    """Return a `Predictor` whose network finds the dark discs."""
    from cyclic.config import RunConfig
    from cyclic.mrcnn.config import Config
    from cyclic.mrcnn.utils import norm_boxes
    from cyclic.slides.predictor import Predictor

    class DiscFinder:
        class config(Config):
            NUM_CLASSES = 2
            MEAN_PIXEL = np.zeros(3)

        def predict_boxes(self, molded, metas):
            detections = np.zeros((len(molded), 400, 6), np.float32)
            for index, image in enumerate(molded):
                found = cv2.connectedComponentsWithStats((image[..., 0] < 170).astype(np.uint8))[2][1:401]
                x, y, width, height, area = found.T
                boxes = norm_boxes(np.stack([y, x, y + height, x + width], axis=1), image.shape[:2])
                detections[index, : len(found), :4], detections[index, : len(found), 4] = boxes, 1
                detections[index, : len(found), 5] = np.minimum(0.99, 0.5 + area / 1000)
            return detections, None

        def predict_masks(self, detections, pyramid):
            side = np.linspace(-1, 1, 28)
            disc = (side[:, None] ** 2 + side**2 <= 1).astype(np.float32)
            return [np.repeat(disc[None], len(rows), axis=0) for rows in detections]

    return Predictor(DiscFinder(), RunConfig(scale=1))


def write_slide(path: Path, side: int, spacing: int) -> None:
    """Write a tiled TIFF of `side` x `side` px with discs, piece by piece."""
    rng = np.random.default_rng(0)
    across = -(-side // TILE)
    # Of 16 different pieces, in any order; a disc may lie across their borders.
    pieces = [_draw_piece(rng, spacing) for _ in range(16)]
    order = rng.integers(0, len(pieces), across**2)
    tifffile.imwrite(
        path, (pieces[index] for index in order), shape=(side, side, 3), dtype=np.uint8, tile=(TILE, TILE),
        photometric="rgb", compression="zlib", metadata=None, resolution=(40_000, 40_000), resolutionunit="CENTIMETER",
    )  # fmt: skip


def _draw_piece(rng: np.random.Generator, spacing: int) -> np.ndarray:
    piece = np.full((TILE, TILE, 3), (230, 190, 215), np.uint8)
    for y in range(0, TILE, spacing):
        for x in range(0, TILE, spacing):
            centre = rng.integers(0, spacing, 2) + (x, y)
            cv2.circle(piece, (int(centre[0]), int(centre[1])), NUCLEUS // 2, (110, 70, 150), -1)
    return piece
