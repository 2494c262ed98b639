"""Files of Matterport's own runs, which lie beside the repository; tests that read them are skipped without them."""

from pathlib import Path

import numpy as np
import pytest

from cyclic.mrcnn.config import Config

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
PARITY = SHARED / "parity"
needs_parity = pytest.mark.skipif(not PARITY.is_dir(), reason="shared data not present")


class ParityConfig(Config):
    """The configuration of those runs."""

    NAME = "parity"
    BACKBONE = "resnet50"
    NUM_CLASSES = 2
    IMAGES_PER_GPU = 1
    IMAGE_MIN_DIM = IMAGE_MAX_DIM = 256
    RPN_ANCHOR_SCALES = (8, 16, 32, 64, 128)
    RPN_NMS_THRESHOLD = 0.7
    POST_NMS_ROIS_INFERENCE = 300
    DETECTION_MIN_CONFIDENCE = 0
    DETECTION_MAX_INSTANCES = 60
    MEAN_PIXEL = np.array([189.44, 136.76, 169.23])


def golden_file(name):
    """Return `{name: array}` of the file `golden_<name>.npz`."""
    with np.load(PARITY / f"golden_{name}.npz") as file:
        return dict(file)
