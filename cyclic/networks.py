"""The networks of a run, all on one backbone, built from the configuration."""

import json
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from cyclic.backbones import build_backbone
from cyclic.classifier.model import build_classifier
from cyclic.config import RunConfig, apply_override, validate
from cyclic.errors import InputError
from cyclic.mrcnn.config import Config
from cyclic.mrcnn.layers.network import Network
from cyclic.mrcnn.model import MaskRCNN
from cyclic.mrcnn.weights import h5


def mask_rcnn_config(config: RunConfig) -> Config:
    """Return the Mask R-CNN configuration of a run, for training and inference alike."""
    segmenter, detection = config.segmenter, config.detection

    class NucleusConfig(Config):
        NAME = "nucleus"
        NUM_CLASSES = 2
        IMAGES_PER_GPU = segmenter.batch
        STEPS_PER_EPOCH = segmenter.steps_per_epoch
        BACKBONE = config.backbone.name
        NORM = config.backbone.norm
        TOP_DOWN_PYRAMID_SIZE = segmenter.pyramid_channels
        RPN_CHANNELS = segmenter.rpn_channels
        MASK_CHANNELS = segmenter.mask_channels
        FPN_CLASSIF_FC_LAYERS_SIZE = segmenter.fc_size
        RPN_ANCHOR_SCALES = tuple(segmenter.anchor_scales)
        RPN_TRAIN_ANCHORS_PER_IMAGE = segmenter.rpn_anchors
        POST_NMS_ROIS_TRAINING = segmenter.proposals
        POST_NMS_ROIS_INFERENCE = detection.proposals
        IMAGE_RESIZE_MODE = "crop"
        IMAGE_MIN_DIM = IMAGE_MAX_DIM = segmenter.crop
        IMAGE_MIN_SCALE = config.scale
        MEAN_PIXEL = np.array(config.mean_pixel)
        MINI_MASK_SHAPE = (28, 28)
        MAX_GT_INSTANCES = segmenter.max_instances
        TRAIN_ROIS_PER_IMAGE = segmenter.rois
        DETECTION_MAX_INSTANCES = detection.max_instances
        DETECTION_MIN_CONFIDENCE = min(detection.score, config.rounds.ignore_score)
        DETECTION_NMS_THRESHOLD = detection.box_nms_threshold
        DETECTION_MASK_MARGIN = detection.mask_margin
        DETECTION_ANY_FOREGROUND = True
        OPTIMIZER = segmenter.optimizer
        LR_SCHEDULE = segmenter.schedule
        WARMUP_STEPS = segmenter.warmup
        WEIGHT_DECAY = segmenter.weight_decay
        USE_IGNORE = config.pseudo.ignore
        USE_GT_PROPOSALS = segmenter.gt_proposals
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
        config: the run's configuration; its seed and precision are set for Keras as a whole.
    """

    def __init__(self, config: RunConfig):
        keras.config.set_dtype_policy(precision(config))
        keras.utils.set_random_seed(config.seed)
        self.config = config
        self.mrcnn_config = mask_rcnn_config(config)
        self.backbone = build_backbone(config.backbone.name, norm=config.backbone.norm)
        self.network = Network(self.mrcnn_config, self.backbone)
        self.classifier = build_classifier(
            self.backbone, levels=tuple(config.classifier.levels), hidden=config.classifier.hidden
        )
        if config.backbone.weights:
            h5.load_weights(config.backbone.weights, self.network)
        self._detector = None

    def load(self, *paths: str | Path) -> None:
        """Load weights files into every layer they name, one after the other."""
        for path in paths:
            h5.load_weights(path, _Everything(self.classifier, self.network))

    def save_classifier(self, path: str | Path) -> None:
        """Write backbone and classifier heads."""
        h5.save_weights(path, self.classifier)

    def save_segmenter(self, path: str | Path) -> None:
        """Write the whole Mask R-CNN and the configuration, all that `load_predictor` needs."""
        h5.save_weights(path, self.network, {"run_config": self.config.model_dump_json()})

    def segmenter(self) -> MaskRCNN:
        """Return the Mask R-CNN in training mode."""
        return MaskRCNN("training", self.mrcnn_config, network=self.network)

    @property
    def detector(self) -> MaskRCNN:
        """The Mask R-CNN in inference mode, on the same weights."""
        if self._detector is None:
            self._detector = MaskRCNN("inference", self.mrcnn_config, network=self.network)
        return self._detector


class _Everything:
    """Classifier and network as one thing with layers; shared layers are visited once."""

    def __init__(self, *models):
        self.layers = models


def load_tile_classifier(path: str | Path, config: RunConfig) -> keras.Model:
    """Return the classifier from a `classifier.weights.h5` of a run with this configuration, on a backbone of its own.

    Raises:
        InputError: the file is missing or unreadable, or lacks a layer of the classifier.
    """
    classifier = _models_to_load(config).classifier
    missing = h5.load_weights(path, classifier).missing
    if missing:
        raise InputError(
            f"{path}: no classifier of this run ({len(missing)} layers missing, e.g. {missing[0]}); give "
            "cycle_K/classifier.weights.h5 of the run that trained the model"
        )
    return classifier


def load_predictor(path: str | Path, overrides: Sequence[str] = (), **detection: float) -> tuple[MaskRCNN, RunConfig]:
    """Return the Mask R-CNN in inference mode and the run's configuration from a `model.weights.h5` of a run.

    Args:
        path: the weights file.
        overrides: `detection.key=value` strings, applied before `detection`.
        detection: settings of the configuration's section `detection` to use in place of the run's.

    Raises:
        InputError: the file is missing, unreadable, or carries no run configuration; or a setting is out of range or
            none of detection.
    """
    stored = h5.read_attributes(path).get("run_config")
    if stored is None:
        raise InputError(f"{path}: holds no run configuration; give model.weights.h5 or best.weights.h5 of a run")
    content = json.loads(stored)
    for override in overrides:
        if not override.startswith("detection."):
            raise InputError(f"--set {override}: a trained model takes detection.key=value alone")
        apply_override(content, override)
    content["detection"].update(detection)
    config = validate(content, str(path))
    models = _models_to_load(config)
    models.load(path)
    return models.detector, config


def _models_to_load(config: RunConfig) -> Models:
    """Return models for finished weights: the ones that the run began with, maybe long gone, are not read."""
    return Models(config.model_copy(update={"backbone": config.backbone.model_copy(update={"weights": None})}))
