"""Our contenders: Mask R-CNN with a ResNet-50 FPN, Matterport's channel counts, random weights."""

import os

import numpy as np

from cyclic.datasets.synthetic import draw_tissue

# Scale of the last normalisation of each residual branch, see `calm`.
RESIDUAL_GAMMA = 0.1
# Low enough for random weights to stay finite.
LEARNING_RATE = 1e-6


class OneImage:
    """One image as a data set, with what `DataGenerator` asks for of any; its instances are a derived class's.

    Args:
        image: `[H, W, 3]` uint8.
        labels: `[H, W]` int32.
    """

    def __init__(self, image: np.ndarray, labels: np.ndarray):
        self.image, self.labels = image, labels
        self.image_ids, self.image_info = np.arange(1), [{"id": "image", "source": "synthetic", "path": "image"}]
        self.source_class_ids = {"synthetic": [0, 1]}

    def load_image(self, image_id):
        return self.image


class LabelledImage(OneImage):
    """One image whose instances come as a label map."""

    def load_label_map(self, image_id):
        return self.labels


class TissueImage(LabelledImage):
    """Synthetic tissue."""

    def __init__(self, size: int, seed: int):
        super().__init__(*draw_tissue(np.random.default_rng(seed), size))


def configuration(settings: dict):
    """Return the `Config` of a benchmark; `settings` holds side, and may hold batch, rois, proposals, detections."""
    from cyclic.mrcnn.config import Config

    class BenchmarkConfig(Config):
        NAME = "benchmark"
        BACKBONE = "resnet50"
        NUM_CLASSES = 2
        IMAGES_PER_GPU = settings.get("batch", 1)
        IMAGE_RESIZE_MODE = "square"
        IMAGE_MIN_DIM = IMAGE_MAX_DIM = settings["side"]
        RPN_ANCHOR_SCALES = (8, 16, 32, 64, 128)
        RPN_NMS_THRESHOLD = 0.9  # random weights hardly move the anchors, and 0.7 would leave fewer proposals
        POST_NMS_ROIS_TRAINING = POST_NMS_ROIS_INFERENCE = settings.get("proposals", 2000)
        TRAIN_ROIS_PER_IMAGE = settings.get("rois", 128)
        ROI_POSITIVE_RATIO = 0.25  # as torchvision does
        USE_GT_PROPOSALS = True  # as torchvision does
        DETECTION_MAX_INSTANCES = settings.get("detections", 100)
        DETECTION_MIN_CONFIDENCE = 0.0
        DETECTION_NMS_THRESHOLD = 0.9
        DETECTION_ANY_FOREGROUND = True
        SEED = 0

    return BenchmarkConfig()


def use_precision(settings: dict) -> None:
    """Set the dtype policy of `settings`, of which "tf32" is no policy of its own; fewer lines on standard error."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import keras

    keras.utils.set_random_seed(0)
    precision = settings.get("precision", "float32")
    keras.config.set_dtype_policy("float32" if precision == "tf32" else precision)


def calm(network) -> None:
    """Shrink the residual branches: with random weights and frozen norm the features would double in every block."""
    for layer in network.backbone.layers:
        if layer.name.startswith("bn") and layer.name.endswith("branch2c"):
            layer.gamma.assign(layer.gamma * RESIDUAL_GAMMA)


class TrainingStep:
    """One step of `fit`: forward, losses, backward, optimizer, on a batch that lies in memory."""

    def __init__(self, settings: dict):
        use_precision(settings)
        from cyclic.mrcnn.data.loader import DataGenerator
        from cyclic.mrcnn.model import MaskRCNN

        config = configuration(settings)
        model = MaskRCNN("training", config)
        calm(model.network)
        model.compile(LEARNING_RATE, config.LEARNING_MOMENTUM)
        self.keras_model = model.keras_model
        (self.batch,) = DataGenerator(TissueImage(settings["side"], 0), config)[0]
        self.facts = {"nuclei": int((self.batch["gt_class_ids"][0] > 0).sum()), "rois": config.TRAIN_ROIS_PER_IMAGE}

    def __call__(self):
        return self.keras_model.train_on_batch(self.batch)


class Detect:
    """`MaskRCNN.detect` of `settings["batch"]` images (one, if it is missing), masks pasted into the image included."""

    def __init__(self, settings: dict):
        use_precision(settings)
        import keras

        from cyclic.mrcnn.model import MaskRCNN

        self.model = MaskRCNN("inference", configuration(settings))
        calm(self.model.network)
        self.images = [TissueImage(settings["side"], 0).image] * settings.get("batch", 1)
        molded, _, _ = self.model.mold_inputs(self.images)
        windows = np.float32([[0, 0, 1, 1]] * len(molded))
        # The very function that `detect` calls, so that nothing is compiled twice.
        found = self.model._detect({"image": molded, "window": windows})
        proposals = keras.ops.convert_to_numpy(found["rpn_rois"])[0]
        self.facts = {"proposals": int((proposals != 0).any(-1).sum()), "detections": len(self()[0]["scores"])}

    def __call__(self):
        return self.model.detect(self.images)
