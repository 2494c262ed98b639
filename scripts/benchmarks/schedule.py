"""How long the paper's five cycles take on this machine, by a dry run of their configuration."""

import pathlib
import tempfile

import keras

from benchmarks import accelerator
from cyclic.config import load_config
from cyclic.cycle.dry_run import dry_run
from cyclic.datasets.synthetic import write_tissue_set

CONFIG = pathlib.Path(__file__).resolve().parents[2] / "configs" / "monusac_paper.yaml"
# Crop of the network that the configuration has, px, and a data set of MoNuSeg's kind: images to train on, val, side.
SIDE, IMAGES = 512, (12, 4, 1000)


def schedule(settings: dict) -> list[dict]:
    """Return what `dry_run` does: for each stage the seconds of a unit, the number of units and the hours; the total.

    Args:
        settings: side (px of the network's crop; another than 512 is for trying the code out) and precision.
    """
    side, precision = settings["side"], settings["precision"]
    accelerator.set_precision(keras.backend.backend(), precision)
    overrides = [f"precision={'float32' if precision == 'tf32' else precision}"]
    train, val, size = IMAGES
    if side != SIDE:
        overrides += [f"mask_rcnn.crop={side}", f"tiles.size={side // 4}"]
        overrides += [f"detection.tile={side // 2}", "detection.overlap=16"]
        train, val, size = 1, 1, side
    with tempfile.TemporaryDirectory() as data:
        write_tissue_set(data, train, val, size)
        return dry_run(load_config(CONFIG, tuple(overrides)), data)
