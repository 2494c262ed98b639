"""Thousands of predictions or epochs in one process: memory and open files stay as they are after the first."""

import json
import os
import resource
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

import cyclic
from cyclic.config import load_config
from cyclic.datasets.synthetic import draw_tissue
from cyclic.mrcnn.data.dataset import Dataset
from cyclic.mrcnn.model import MaskRCNN
from cyclic.networks import Models, mask_rcnn_config

SIDES = (64, 80, 96, 128)
SMALL = ("backbone.name=resnet18", "mask_rcnn.width=tiny", "mask_rcnn.crop=64", "mask_rcnn.batch=1", "mask_rcnn.rois=8")
# Rounds before memory is looked at: each size has been seen, and its functions compiled.
WARM_UP = 200
# Memory at the end, over that after warming up, at most.
GROWTH = 1.02


def soak(what: str, folder: Path, count: int) -> dict:
    """Do `count` predictions or epochs in a process of their own.

    Args:
        what: a key of `KINDS`.
        folder: where to work; an empty one.
        count: how many.

    Returns:
        Memory and open files after warming up and at the end, see `_Watch.found`.

    Raises:
        RuntimeError: the process failed, or memory or open files grew.
    """
    folder.mkdir()
    call = [sys.executable, __file__, what, str(folder), str(count)]
    paths = os.pathsep.join([str(Path(__file__).resolve().parents[1]), *sys.path])
    done = subprocess.run(call, env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stderr[-2000:])
    found = json.loads(done.stdout.splitlines()[-1])
    if found["memory ratio"] > GROWTH or found["open files"][1] > found["open files"][0]:
        raise RuntimeError(f"memory or open files grow: {found}")
    return {what: count} | found


class _Watch:
    """Memory and open files after each of `count` rounds."""

    def __init__(self, count: int):
        self.warm_up, self.rounds = min(WARM_UP, count // 2), 0
        self.seen: list[tuple[float, int]] = []

    def look(self) -> None:
        """Note what the process holds now, once it has warmed up."""
        self.rounds += 1
        if self.rounds >= self.warm_up:
            self.seen.append((_resident_mb(), len(os.listdir("/dev/fd"))))

    def found(self) -> dict:
        """Return what was seen first, last and at most."""
        (first_mb, first_files), (last_mb, last_files) = self.seen[0], self.seen[-1]
        return {
            "resident_mb": [round(first_mb, 1), round(last_mb, 1)],
            "highest_mb": round(max(mb for mb, _ in self.seen), 1),
            "memory ratio": round(last_mb / first_mb, 4),
            "open files": [first_files, last_files],
        }


def _predict(folder: Path, watch: _Watch, count: int) -> None:
    """Predict images of four sizes with an untrained network: memory does not depend on what it has learnt."""
    weights = folder / "untrained.h5"
    Models(load_config([], SMALL)).save_mask_rcnn(weights)
    predictor = cyclic.Predictor.load(weights)
    rng = np.random.default_rng(0)
    images = [draw_tissue(rng, side)[0] for side in SIDES]
    for number in range(count):
        predictor.predict(images[number % len(images)])
        watch.look()


def _train(folder: Path, watch: _Watch, count: int) -> None:
    """Train epochs of two steps, each of which writes a checkpoint, a line of the log and a TensorBoard event."""
    config = mask_rcnn_config(load_config([], SMALL))
    config.STEPS_PER_EPOCH = 2
    model = MaskRCNN("training", config, model_dir=folder)

    def look(epoch: int, logs: object) -> None:
        for old in sorted(Path(model.log_dir).glob("*.h5"))[:-1]:
            old.unlink()
        watch.look()

    callback = keras.callbacks.LambdaCallback(on_epoch_end=look)
    model.train(_Tissue(), None, 1e-4, epochs=count, custom_callbacks=[callback], verbose=0)


class _Tissue(Dataset):
    """One image of synthetic tissue."""

    def __init__(self) -> None:
        super().__init__()
        self.pixels, self.labels = draw_tissue(np.random.default_rng(0), 128)[:2]
        self.add_class("tissue", 1, "nucleus")
        self.add_image("tissue", 0, "tissue.png")
        self.prepare()

    def load_image(self, image_id: int) -> np.ndarray:
        return self.pixels

    def load_label_map(self, image_id: int) -> np.ndarray:
        return self.labels


KINDS: dict[str, Callable[[Path, _Watch, int], None]] = {"predictions": _predict, "epochs": _train}


def _resident_mb() -> float:
    if sys.platform != "linux":  # the most so far: all that other systems tell
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main(what: str, folder: str, count: str) -> None:
    """Print what one kind of `KINDS` found, as JSON."""
    watch = _Watch(int(count))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        KINDS[what](Path(folder), watch, int(count))
    print(json.dumps(watch.found()))


if __name__ == "__main__":
    main(*sys.argv[1:])
