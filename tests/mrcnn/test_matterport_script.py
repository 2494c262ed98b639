"""A program as Matterport's users write it runs with nothing changed but its import lines."""

import matplotlib
import numpy as np
import pytest

IMPORTS = {
    "from mrcnn.config import Config": "from cyclic.mrcnn.config import Config",
    "from mrcnn import utils": "from cyclic.mrcnn import utils",
    "import mrcnn.model as modellib": "import cyclic.mrcnn.model as modellib",
    "from mrcnn import visualize": "from cyclic.mrcnn import visualize",
    "from mrcnn.model import log": "from cyclic.mrcnn.model import log",
}

SCRIPT = """
import os
import random
import cv2
import matplotlib.pyplot as plt
import numpy as np
from mrcnn.config import Config
from mrcnn import utils
import mrcnn.model as modellib
from mrcnn import visualize
from mrcnn.model import log

LOGS = os.path.join(ROOT, "logs")


class DiscsConfig(Config):
    NAME = "discs"
    GPU_COUNT = 1
    IMAGES_PER_GPU = 1
    NUM_CLASSES = 1 + 2
    BACKBONE = "resnet18"
    IMAGE_MIN_DIM = 64
    IMAGE_MAX_DIM = 64
    RPN_ANCHOR_SCALES = (8, 16, 32, 64, 128)
    TOP_DOWN_PYRAMID_SIZE = 16
    FPN_CLASSIF_FC_LAYERS_SIZE = 32
    TRAIN_ROIS_PER_IMAGE = 12
    POST_NMS_ROIS_TRAINING = 50
    TRAIN_BN = None
    STEPS_PER_EPOCH = 2
    VALIDATION_STEPS = 1


class InferenceConfig(DiscsConfig):
    POST_NMS_ROIS_INFERENCE = 50
    DETECTION_MIN_CONFIDENCE = 0


class DiscsDataset(utils.Dataset):
    def load_discs(self, count):
        self.add_class("discs", 1, "disc")
        self.add_class("discs", 2, "square")
        for i in range(count):
            self.add_image("discs", image_id=i, path=None, shapes=[(1, 20 + i, 22), (2, 42, 40 - i)])

    def load_image(self, image_id):
        image = np.full([64, 64, 3], 230, dtype=np.uint8)
        masks, _ = self.load_mask(image_id)
        image[masks.any(axis=-1)] = (90, 60, 120)
        return image

    def image_reference(self, image_id):
        info = self.image_info[image_id]
        if info["source"] == "discs":
            return info["shapes"]
        super(self.__class__, self).image_reference(image_id)

    def load_mask(self, image_id):
        shapes = self.image_info[image_id]["shapes"]
        mask = np.zeros([64, 64, len(shapes)], dtype=np.uint8)
        for i, (kind, y, x) in enumerate(shapes):
            canvas = np.zeros([64, 64], dtype=np.uint8)
            if kind == 1:
                cv2.circle(canvas, (x, y), 9, 1, -1)
            else:
                cv2.rectangle(canvas, (x - 8, y - 8), (x + 8, y + 8), 1, -1)
            mask[:, :, i] = canvas
        return mask.astype(bool), np.array([kind for kind, _, _ in shapes]).astype(np.int32)


def rle_encode(mask):
    pixels = np.concatenate([[0], mask.T.flatten(), [0]]).astype(np.int8)
    runs = np.where(pixels[1:] != pixels[:-1])[0] + 1
    runs[1::2] -= runs[::2]
    return " ".join(str(x) for x in runs)


config = DiscsConfig()
config.display()
dataset_train, dataset_val = DiscsDataset(), DiscsDataset()
dataset_train.load_discs(4)
dataset_train.prepare()
dataset_val.load_discs(2)
dataset_val.prepare()

model = modellib.MaskRCNN(mode="training", config=config, model_dir=LOGS)
model.train(dataset_train, dataset_val, learning_rate=config.LEARNING_RATE, epochs=1, layers="heads")
model.train(dataset_train, dataset_val, learning_rate=config.LEARNING_RATE / 10, epochs=2, layers="all")
model_path = os.path.join(ROOT, "mask_rcnn_discs.h5")
model.keras_model.save_weights(model_path)

inference_config = InferenceConfig()
model = modellib.MaskRCNN(mode="inference", config=inference_config, model_dir=LOGS)
last_path = model.find_last()
model.load_weights(model_path, by_name=True)
model.load_weights(last_path, by_name=True)

image_id = random.choice(dataset_val.image_ids)
image, image_meta, gt_class_id, gt_bbox, gt_mask = modellib.load_image_gt(
    dataset_val, inference_config, image_id, use_mini_mask=False)
log("gt_mask", gt_mask)
r = model.detect([image], verbose=0)[0]
submission = ["%s,%s" % (image_id, rle_encode(r["masks"][:, :, i])) for i in range(r["masks"].shape[-1])]
AP, precisions, recalls, overlaps = utils.compute_ap(
    gt_bbox, gt_class_id, gt_mask, r["rois"], r["class_ids"], r["scores"], r["masks"])
visualize.display_instances(
    image, r["rois"], r["masks"], r["class_ids"], dataset_val.class_names, r["scores"], show_bbox=False, title="Found")
plt.savefig(os.path.join(ROOT, "predictions.png"))
plt.close()
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """The names of the script after it ran, and its folder."""
    backend = matplotlib.get_backend()
    matplotlib.use("Agg")
    lines = [IMPORTS.get(line, line) for line in SCRIPT.splitlines()]
    changed = [line for line, old in zip(lines, SCRIPT.splitlines(), strict=True) if line != old]
    assert len(changed) == len(IMPORTS)
    names = {"ROOT": str(tmp_path_factory.mktemp("script")), "__name__": "script"}
    exec(compile("\n".join(lines), "matterport_script.py", "exec"), names)
    matplotlib.use(backend)
    return names


def test_both_stages_trained_and_left_their_checkpoints(ran):
    assert ran["last_path"].endswith("mask_rcnn_discs_0002.h5") and ran["model"].epoch == 2


def test_ground_truth_is_that_of_the_data_set(ran):
    masks, class_ids = ran["dataset_val"].load_mask(ran["image_id"])
    np.testing.assert_array_equal(ran["gt_mask"], masks)
    np.testing.assert_array_equal(ran["gt_class_id"], class_ids)


def test_detections_drive_submission_score_and_picture(ran, tmp_path):
    found = ran["r"]
    count = len(found["rois"])
    assert found["masks"].shape == (64, 64, count) and found["masks"].dtype == bool
    assert len(ran["submission"]) == count and ran["overlaps"].shape == (count, 2) and 0 <= ran["AP"] <= 1
    picture = matplotlib.image.imread(f"{ran['ROOT']}/predictions.png")
    assert picture.ndim == 3 and picture.std() > 0
