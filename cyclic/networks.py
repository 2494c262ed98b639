"""Settings of a run -> backbone, classifier and Mask R-CNN, and their weights."""

import json
from functools import cached_property
from pathlib import Path

import keras
import numpy as np

from cyclic.backbones import build_backbone
from cyclic.classifier.model import build_classifier
from cyclic.config import RunConfig
from cyclic.errors import InputError
from cyclic.mrcnn.config import Config
from cyclic.mrcnn.kernels.determinism import add_in_one_order
from cyclic.mrcnn.kernels.devices import shared_by
from cyclic.mrcnn.layers.network import STRIDES, Network
from cyclic.mrcnn.model import MaskRCNN
from cyclic.mrcnn.weights import downloads, h5

# Pseudo masks in a crop at most.
MAX_INSTANCES = 128
WARMUP = 50  # steps
# With wide augmentation, nuclei appear up to this share larger or smaller.
OTHER_SIZES = 0.4
# The part of a weights file that holds the tile classifier. It has a backbone of its own: Mask R-CNN's was trained on
# after the classifier's heads had learned from it, and they no longer fit.
CLASSIFIER = "tile_classifier"
# The settings that a weights file carries: what prediction needs, and nothing else.
STORED: dict[str, bool | set[str]] = {
    "precision": True,
    "scale": True,
    "mpp": True,
    "mean_pixel": True,
    "backbone": {"name", "norm"},
    "tiles": {"size"},
    "classifier": {"levels", "hidden", "share"},
    "maps": True,
    "mask_rcnn": {"width", "anchor_scales"},
    "rounds": {"ignore_score"},
    "detection": True,
}


def stored_settings(config: RunConfig) -> str:
    """Return what a weights file carries of the settings, as JSON."""
    return json.dumps(config.model_dump(mode="json", include=STORED))


def mask_rcnn_config(config: RunConfig) -> Config:
    """Return the Mask R-CNN configuration of a run, for training and inference alike."""
    settings, detection = config.mask_rcnn, config.detection
    paper = settings.recipe == "paper"

    class NucleusConfig(Config):
        NAME = "nucleus"
        NUM_CLASSES = 2
        GPU_COUNT, IMAGES_PER_GPU = settings.devices, settings.batch // settings.devices
        BACKBONE = config.backbone.name
        NORM = config.backbone.norm
        TOP_DOWN_PYRAMID_SIZE, RPN_CHANNELS, MASK_CHANNELS, FPN_CLASSIF_FC_LAYERS_SIZE = settings.widths
        RPN_ANCHOR_SCALES = settings.anchor_scales
        BACKBONE_STRIDES = STRIDES[-len(settings.anchor_scales) :]
        RPN_TRAIN_ANCHORS_PER_IMAGE = settings.rpn_anchors
        POST_NMS_ROIS_TRAINING = settings.proposals
        POST_NMS_ROIS_INFERENCE = detection.of_a_tile(detection.proposals)
        IMAGE_RESIZE_MODE = "crop"
        IMAGE_MIN_DIM = IMAGE_MAX_DIM = settings.crop
        IMAGE_MIN_SCALE = config.scale
        IMAGE_SCALE_JITTER = OTHER_SIZES if config.augmentation == "wide" else 0.0
        MEAN_PIXEL = np.array(config.mean_pixel)
        MINI_MASK_SHAPE = (56, 56) if paper else (28, 28)
        MAX_GT_INSTANCES = 200 if paper else MAX_INSTANCES
        RPN_NMS_THRESHOLD_TRAINING = 0.9 if paper else None
        TRAIN_ROIS_PER_IMAGE = settings.rois
        DETECTION_MAX_INSTANCES = detection.of_a_tile(detection.max_instances)
        DETECTION_MIN_CONFIDENCE = min(detection.score, config.rounds.ignore_score)
        DETECTION_NMS_THRESHOLD = detection.box_iou
        DETECTION_MASK_MARGIN = detection.mask_margin
        DETECTION_ANY_FOREGROUND = True
        OPTIMIZER = settings.optimizer
        LR_SCHEDULE = "cosine" if settings.optimizer == "adamw" else "constant"
        WARMUP_STEPS = 0 if paper else WARMUP
        USE_IGNORE = True
        USE_GT_PROPOSALS = not paper
        SEED = config.seed

    return NucleusConfig()


def precision(config: RunConfig) -> str:
    """Return the dtype policy of a run; "auto" is mixed_bfloat16 where the processor computes in it, else float32.

    Elsewhere TensorFlow emulates bfloat16, several times slower than float32.
    """
    if config.precision != "auto":
        return config.precision
    try:
        with open("/proc/cpuinfo") as file:
            flags = next((line for line in file if line.startswith("flags")), "").split()
    except OSError:  # not Linux
        flags = []
    return "mixed_bfloat16" if {"avx512_bf16", "amx_bf16"} & set(flags) else "float32"


class Models:
    """Classifier and Mask R-CNN of one run, on one backbone object.

    Args:
        config: the run's settings; seed and precision are set for Keras as a whole.

    Attributes:
        backbone: the network that both stand on.
        network: layers of the Mask R-CNN.
        classifier: the classifier of tiles.
        mrcnn_config: settings of the Mask R-CNN.
    """

    def __init__(self, config: RunConfig):
        keras.config.set_dtype_policy(precision(config))
        keras.utils.set_random_seed(config.seed)
        add_in_one_order()
        self.config = config
        self.mrcnn_config = mask_rcnn_config(config)
        self.backbone = backbone_of(config)
        self.network = Network(self.mrcnn_config, self.backbone)
        self.classifier = classifier_of(config, self.backbone)
        if config.backbone.weights:
            _start_from(config, self.network, self.backbone)

    def load(self, *paths: str | Path) -> None:
        """Load weights files into every layer they name, one after the other."""
        for path in paths:
            h5.load_weights(path, _Everything(self.classifier, self.network))

    def load_own_classifier(self, path: str | Path) -> None:
        """Load the tile classifier that a `best.weights.h5` holds."""
        h5.load_weights(path, self.classifier, part=CLASSIFIER)

    def save_classifier(self, path: str | Path) -> None:
        """Write backbone and classifier heads."""
        h5.save_weights(path, self.classifier)

    def save_mask_rcnn(self, path: str | Path) -> None:
        """Write the whole Mask R-CNN and the settings that prediction needs."""
        h5.save_weights(path, self.network, {"run_config": stored_settings(self.config)})

    def load_judge(self, path: str | Path) -> keras.Model:
        """Return the classifier of a weights file on a backbone of its own, beside the trained one."""
        h5.load_weights(path, self._judge)
        return self._judge

    @cached_property
    def _judge(self) -> keras.Model:
        return classifier_of(self.config, backbone_of(self.config))

    def trainer(self, seed: int, steps_per_epoch: int) -> MaskRCNN:
        """Return the Mask R-CNN in training mode: one object, at its start.

        Args:
            seed: of crops, anchors and ROIs.
            steps_per_epoch: training steps of an epoch.
        """
        model = self._trainer
        _copy_weights(self.network, model.network)
        model.restart(seed)
        model.config.STEPS_PER_EPOCH = steps_per_epoch
        return model

    @cached_property
    def _trainer(self) -> MaskRCNN:
        config, network = mask_rcnn_config(self.config), self.network
        if config.GPU_COUNT > 1:
            with shared_by(config.GPU_COUNT):
                network = Network(config, backbone_of(self.config))
        return MaskRCNN("training", config, network=network)

    def take_trained(self, trainer: MaskRCNN) -> None:
        """Take over the weights of `trainer`, which several devices hold apart from these."""
        _copy_weights(trainer.network, self.network)

    @cached_property
    def detector(self) -> MaskRCNN:
        """The Mask R-CNN in inference mode, on the same weights."""
        return MaskRCNN("inference", self.mrcnn_config, network=self.network)


class _Everything:
    """Classifier and network as one thing with layers; shared layers are visited once."""

    def __init__(self, *models):
        self.layers = models


def _copy_weights(source: Network, target: Network) -> None:
    """Copy the weights of a network to another one like it, layer by layer."""
    if source is target:
        return
    layers = h5.leaf_layers(source)
    for name, layer in h5.leaf_layers(target).items():
        layer.set_weights(layers[name].get_weights())


def backbone_of(config: RunConfig) -> keras.Model:
    """Return a new backbone of the settings."""
    return build_backbone(config.backbone.name, norm=config.backbone.norm)


def starting_weights(config: RunConfig) -> Path | None:
    """Return the file of weights that a run starts from; public weights are downloaded where they are not there yet.

    Raises:
        InputError: they cannot be downloaded; the message names the place where the file may be put.
    """
    key, weights = public_file(config), config.backbone.weights
    return downloads.fetch_cached(key) if key else Path(weights) if weights else None


def public_file(config: RunConfig) -> str | None:
    """Return which of `downloads.FILES` a run starts from; None for a file of one's own, or none."""
    public = config.backbone.public_weights
    return config.backbone.name if public == "imagenet" else public


def _start_from(config: RunConfig, network: Network, backbone: keras.Model) -> None:
    """Load what a weights file has of the network, and the backbone wholly.

    Of public weights, layers of another shape are left: those of other classes, or of heads of another width.
    """
    path = starting_weights(config)
    report = h5.load_weights(path, network, skip_mismatch=config.backbone.public_weights is not None)
    missing = [name for name in (*report.missing, *report.mismatched) if name in h5.leaf_layers(backbone)]
    if missing:
        raise InputError(
            f"{path}: lacks {len(missing)} layers of the backbone, e.g. {missing[0]}; give weights of the network that "
            "backbone.name names"
        )


def classifier_of(config: RunConfig, backbone: keras.Model) -> keras.Model:
    """Return a new tile classifier of the settings, on a backbone."""
    settings = config.classifier
    return build_classifier(backbone, levels=tuple(settings.levels), hidden=settings.hidden, share=settings.share)
