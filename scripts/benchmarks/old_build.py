"""The program as it was at commit c12dfd9, with its default settings of detection, on weights of today.

Its network differs from today's in the mask head alone, which has 128 channels by default and not 64. So the head's
channels are doubled in a way that leaves its masks the same: the build finds nuclei, as many as it would with weights
of its own.
"""

import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np

from cyclic.errors import InputError

COMMIT = "c12dfd9"
HERE = Path(__file__).resolve().parents[2]
MASK_CHANNELS = 128
# The settings of detection that both builds have and that the facts tell.
TOLD = ("tile", "overlap", "batch", "proposals", "max_instances", "score", "views")
# Layers of the mask head: those that make its channels, and those that read them.
NORMS = tuple(f"mrcnn_mask_bn{index}" for index in (1, 2, 3, 4))
MAKERS = (*(f"mrcnn_mask_conv{index}" for index in (1, 2, 3, 4)), *NORMS, "mrcnn_mask_deconv")
READERS = (*(f"mrcnn_mask_conv{index}" for index in (2, 3, 4)), "mrcnn_mask_deconv", "mrcnn_mask")


def extract(folder: Path) -> None:
    """Write the package as it was at `COMMIT` into a folder.

    Raises:
        InputError: this is no checkout with that commit in its history.
    """
    command = ["git", "-C", str(HERE), "archive", "--format=tar", COMMIT, "cyclic"]
    archive = subprocess.run(command, capture_output=True)
    if archive.returncode:
        raise InputError(
            f"{HERE}: no checkout with commit {COMMIT} in its history; fetch the whole history, or leave this peer out "
            "with --peers"
        )
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        tar.extractall(folder, filter="data")


def widen(name: str, weights: list[np.ndarray], factor: int) -> list[np.ndarray]:
    """Return the weights of a layer for a mask head of `factor` times as many channels that gives the same masks.

    Every channel stands there `factor` times, side by side, so that groups of channels have the same mean; what reads
    them gives each a `factor`-th of the weight.

    Args:
        name: of the layer.
        weights: arrays in the layer's order.
        factor: 1 or more.
    """
    # A transposed convolution's kernel ends with (output, input).
    read, made = (-1, -2) if name == "mrcnn_mask_deconv" else (-2, -1)
    wider = []
    for weight in weights:
        is_kernel = weight.ndim == 4
        if is_kernel and name in READERS:
            weight = np.repeat(weight, factor, axis=read) / factor
        if name in MAKERS:
            weight = np.repeat(weight, factor, axis=made if is_kernel else -1)
        wider.append(weight)
    return wider


class WriteWeights:
    """Writes the weights file `settings["out"]` for the old build from today's file `settings["weights"]`."""

    def __init__(self, settings: dict):
        self.settings = settings

    def __call__(self) -> None:
        from cyclic.models.registry import weights_file
        from cyclic.mrcnn.layers.network import Network
        from cyclic.mrcnn.weights import h5
        from cyclic.trained import load_mask_rcnn

        model, config = load_mask_rcnn(weights_file(self.settings["weights"]))
        pyramid, rpn, mask, hidden = config.mask_rcnn.widths
        factor = MASK_CHANNELS // mask if MASK_CHANNELS % mask == 0 else 1
        model.config.MASK_CHANNELS = mask * factor
        wider = Network(model.config)
        trained, layers = h5.leaf_layers(model.network), h5.leaf_layers(wider)
        for name, layer in layers.items():
            weights = [np.asarray(weight.numpy(), np.float32) for weight in trained[name].weights]
            layer.set_weights(widen(name, weights, factor))
        stored = {
            "precision": config.precision,
            "mean_pixel": config.mean_pixel,
            "backbone": {"name": config.backbone.name, "norm": config.backbone.norm},
            "segmenter": {
                "pyramid_channels": pyramid,
                "rpn_channels": rpn,
                "mask_channels": mask * factor,
                "fc_size": hidden,
                "anchor_scales": with_finest(config.mask_rcnn.anchor_scales),
            },
            "detection": {},
        }
        h5.save_weights(self.settings["out"], wider, {"run_config": json.dumps(stored)})


def with_finest(scales):
    """Return five anchor scales, one for each pyramid level, as the old build takes them."""
    return scales if len(scales) == 5 else (scales[0] // 2, *scales)


class Detect:
    """Detection of all images by the old build, as its `cyclic predict` does it."""

    def __init__(self, settings: dict):
        # The parent's script has imported the package of today.
        for name in [name for name in sys.modules if name.partition(".")[0] == "cyclic"]:
            del sys.modules[name]
        sys.path.insert(0, settings["checkout"])
        from cyclic.cycle.models import load_predictor, precision
        from cyclic.inference.predict import detection_options

        self.model, config = load_predictor(settings["old_weights"])
        self.options, self.score = detection_options(config), config.detection.score
        self.images = [np.load(path) for path in settings["images"]]
        self.facts = {"commit": COMMIT, "weights": settings["old_weights_of"], "precision": precision(config)}
        self.facts |= {"scale": config.scale, "mask_channels": config.segmenter.mask_channels}
        self.facts |= {key: getattr(config.detection, key) for key in TOLD}

    def __call__(self) -> None:
        from cyclic.inference.predict import confident, predict_image

        found = [confident(*predict_image(self.model, image, **self.options), self.score) for image in self.images]
        self.facts["nuclei"] = sum(int(labels.max()) for labels in found)
