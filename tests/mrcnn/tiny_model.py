"""The smallest Mask R-CNN that trains and detects, and a data set of one image, for the tests of this folder."""

import keras
import numpy as np

from cyclic.mrcnn.config import Config
from cyclic.mrcnn.data.dataset import Dataset
from cyclic.mrcnn.layers.network import Network

SIDE = 96


class TinyConfig(Config):
    NAME = "Tiny"
    BACKBONE = "resnet18"
    NORM = "group"
    NUM_CLASSES = 2
    IMAGES_PER_GPU = 1
    STEPS_PER_EPOCH = 2
    VALIDATION_STEPS = 1
    IMAGE_RESIZE_MODE = "crop"
    IMAGE_MIN_DIM = IMAGE_MAX_DIM = 64
    RPN_ANCHOR_SCALES = (8, 16, 32, 64, 128)
    RPN_TRAIN_ANCHORS_PER_IMAGE = 32
    TOP_DOWN_PYRAMID_SIZE = RPN_CHANNELS = MASK_CHANNELS = 16
    FPN_CLASSIF_FC_LAYERS_SIZE = 32
    PRE_NMS_LIMIT = 100
    POST_NMS_ROIS_TRAINING = POST_NMS_ROIS_INFERENCE = 20
    TRAIN_ROIS_PER_IMAGE = 9
    MAX_GT_INSTANCES = 6
    MINI_MASK_SHAPE = (14, 14)
    DETECTION_MAX_INSTANCES = 8
    DETECTION_MIN_CONFIDENCE = 0.0
    USE_IGNORE = USE_GT_PROPOSALS = True
    WARMUP_STEPS = 0
    SEED = 0


class InferenceConfig(TinyConfig):
    IMAGE_RESIZE_MODE = "pad64"


class OneImage(Dataset):
    """Dark disks on a light ground, and a strip that is ignored; no disks with `empty`."""

    def __init__(self, empty=False):
        super().__init__()
        y, x = np.mgrid[:SIDE, :SIDE]
        self.labels = np.zeros((SIDE, SIDE), np.int32)
        if not empty:
            centres = [(16, 18), (20, 60), (44, 40), (66, 70), (72, 20)]
            for label, (cy, cx) in enumerate(centres, start=1):
                self.labels[(y - cy) ** 2 + (x - cx) ** 2 <= 81] = label
        noise = np.random.default_rng(0).integers(0, 30, (SIDE, SIDE, 3))
        self.image = np.where(self.labels[..., None] > 0, 60 + noise, 200 + noise).astype(np.uint8)
        self.add_class("disks", 1, "disk")
        self.add_image("disks", 0, "disks.png")
        self.prepare()

    def load_image(self, image_id):
        return self.image

    def load_label_map(self, image_id):
        return self.labels

    def load_ignore(self, image_id):
        return np.arange(SIDE)[None].repeat(SIDE, 0) > 90


def small_network(config):
    """Return a network on a backbone of four convolutions, where ResNet-18 would only take longer to trace."""
    image = keras.Input((None, None, 3))
    x, levels = keras.layers.Conv2D(8, 3, strides=2, padding="same", name="conv1")(image), []
    for level in range(2, 6):
        x = keras.layers.Conv2D(8, 3, strides=2, padding="same", activation="relu", name=f"res{level}")(x)
        levels.append(x)
    return Network(config, keras.Model(image, levels, name="backbone"))
