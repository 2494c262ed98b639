"""Detection in whole images by `Predictor`: pixels and nuclei a second, beside an older build and the bare networks of
other programs.

Each runs in a process of its own, in turn, on the same images. The other programs' networks have random weights, and
no more is measured than the network; for StarDist also its suppression, where the package `stardist` is installed. With
`_s` is wall time, with `_cpu_s` processor time of all threads, both for all images once.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

import numpy as np

from benchmarks import old_build
from benchmarks.workers import Worker
from cyclic.datasets.synthetic import draw_tissue
from cyclic.files import image_files
from cyclic.images import read_image

PEERS = {
    "old": (f"cyclic at {old_build.COMMIT}", "benchmarks.old_build:Detect"),
    "stardist": ("StarDist's network, 2D_versatile_he", "benchmarks.unets:StarDist"),
    "unet": ("U-Net of 3 levels at 0.5 µm per pixel", "benchmarks.unets:UNet"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--weights", default="he-nuclei", help="name of a model, or best.weights.h5 of a run")
    parser.add_argument("--data", type=Path, help="folder of images; without one, synthetic tissue is drawn")
    parser.add_argument("--images", type=int, default=4, help="so many images of the folder at most")
    parser.add_argument("--side", type=int, default=1000, help="px of the drawn image")
    parser.add_argument("--mpp", type=float, default=0.25, help="micrometres per pixel of the images")
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--set", action="append", default=[], help="detection.key=value of ours alone; repeatable")
    parser.add_argument("--old-weights", help="what the old build predicts with; without, the same as ours")
    parser.add_argument("--peer-precision", default="float32", help="of the bare networks: float32, mixed_bfloat16")
    parser.add_argument("--repeats", type=int, default=5, help="the median of so many calls counts")


def run(arguments: argparse.Namespace) -> list[dict]:
    with tempfile.TemporaryDirectory() as folder:
        images = load_images(arguments)
        settings = prepare(Path(folder), images, arguments)
        workers = [Worker("benchmarks.predict:Detect", settings)]
        workers += [Worker(PEERS[name][1], settings) for name in arguments.peers]
        pixels = sum(image.shape[0] * image.shape[1] for image in images)
        ours, *peers = measure(workers, arguments.repeats, pixels)
    case = f"{pixels / 1e6:.2f} megapixels, images: {len(images)}"
    return [row(case, ours, PEERS[name][0], peer) for name, peer in zip(arguments.peers, peers, strict=True)]


def load_images(arguments: argparse.Namespace) -> list[np.ndarray]:
    """Return the images `[H, W, 3]` uint8 to measure on."""
    if arguments.data is None:
        return [draw_tissue(np.random.default_rng(0), arguments.side)[0]]
    return [read_image(path) for path in list(image_files(arguments.data).values())[: arguments.images]]


def prepare(folder: Path, images: list[np.ndarray], arguments: argparse.Namespace) -> dict:
    """Return the settings of all contenders; write the images, and the old build and its weights, into a folder."""
    settings = {
        "weights": arguments.weights,
        "set": arguments.set,
        "mpp": arguments.mpp,
        "precision": arguments.peer_precision,
        "images": [str(folder / f"image_{index}.npy") for index in range(len(images))],
        "labels": [str(folder / f"labels_{index}.npy") for index in range(len(images))],
        "checkout": str(folder / "old"),
        "old_weights": str(folder / "old.weights.h5"),
        "old_weights_of": arguments.old_weights or arguments.weights,
    }
    for path, image in zip(settings["images"], images, strict=True):
        np.save(path, image)
    if "old" in arguments.peers:
        old_build.extract(Path(settings["checkout"]))
        # In a process of its own: what it needs is not to count as ours.
        writing = {"weights": settings["old_weights_of"], "out": settings["old_weights"]}
        Worker("benchmarks.old_build:WriteWeights", writing).close()
    return settings


def measure(workers: list, repeats: int, pixels: int) -> list[dict]:
    """Return what each worker took, called in turn, and close the workers.

    Args:
        workers: `Worker`s.
        repeats: calls that count, after one that does not.
        pixels: that one call looks at.

    Returns:
        For each worker "s" and "cpu_s", medians; "peak_mb"; "facts", with pixels and nuclei a second.
    """
    rounds = [[worker.measure() for worker in workers] for _ in range(1 + repeats)]
    measured = []
    for worker, times in zip(workers, zip(*rounds[1:], strict=True), strict=True):
        wall, processor = (statistics.median(each) for each in zip(*times, strict=True))
        facts = {**worker.facts, "pixels_per_s": pixels / wall}
        if "nuclei" in facts:
            facts["nuclei_per_s"] = facts["nuclei"] / wall
        measured.append({"s": wall, "cpu_s": processor, "peak_mb": worker.memory()[0] / 2**20, "facts": facts})
        worker.close()
    return measured


def row(case: str, ours: dict, name: str, peer: dict) -> dict:
    """Return the row of results of two measurements."""
    return {
        "case": case,
        "ours_s": ours["s"],
        "peer": name,
        "peer_s": peer["s"],
        "ratio": ours["s"] / peer["s"],
        "ours_cpu_s": ours["cpu_s"],
        "peer_cpu_s": peer["cpu_s"],
        "cpu_ratio": ours["cpu_s"] / peer["cpu_s"],
        "ours_peak_mb": ours["peak_mb"],
        "peer_peak_mb": peer["peak_mb"],
        "ours_facts": ours["facts"],
        "peer_facts": peer["facts"],
    }


class Detect:
    """`Predictor.predict` of all images; the label maps of the first call are written to `settings["labels"]`."""

    def __init__(self, settings: dict):
        import cyclic
        from cyclic.networks import precision

        self.predictor = cyclic.Predictor.load(settings["weights"], settings["set"])
        self.images, self.mpp = [np.load(path) for path in settings["images"]], settings["mpp"]
        config = self.predictor.config
        self.facts = {"weights": settings["weights"], "precision": precision(config), "scale": config.scale}
        self.facts |= {key: getattr(config.detection, key) for key in (*old_build.TOLD, "verdict")}
        for path, prediction in zip(settings["labels"], self(), strict=True):
            np.save(path, prediction.labels)

    def __call__(self) -> list:
        found = [self.predictor.predict(image, self.mpp) for image in self.images]
        self.facts["nuclei"] = sum(len(prediction) for prediction in found)
        return found
