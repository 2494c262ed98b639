"""`MaskRCNN` end to end on a tiny network and one synthetic image."""

import keras
import numpy as np
import pytest
import skimage.transform

from cyclic.backbones import build_backbone
from cyclic.errors import InputError
from cyclic.mrcnn import model as model_module
from cyclic.mrcnn import utils
from cyclic.mrcnn.config import Config
from cyclic.mrcnn.dataset import Dataset
from cyclic.mrcnn.loader import DataGenerator
from cyclic.mrcnn.losses import LOSS_NAMES
from cyclic.mrcnn.model import MaskRCNN, unmold_crops
from cyclic.mrcnn.network import Network, TrainingModel

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


def values(network):
    return {part.name: [weight.numpy() for weight in part.weights] for part in network.layers}


def changed(before, after):
    return {name for name in before if any((a != b).any() for a, b in zip(before[name], after[name], strict=True))}


@pytest.fixture(scope="module")
def image():
    return OneImage().image[:50, :70]


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("logs")


@pytest.fixture(scope="module")
def trained(model_dir, image):
    """A model trained for two epochs, and what it was before: `(training, inference, before, detections, history)`."""
    keras.utils.set_random_seed(0)
    training = MaskRCNN("training", TinyConfig(), model_dir)
    inference = MaskRCNN("inference", InferenceConfig(), network=training.network)
    # An untrained head that leans towards the nuclei class gives detections to look at.
    training.network.box_head.get_layer("mrcnn_class_logits").bias.assign([-2.0, 2.0])
    before, detections = values(training.network), inference.detect([image])[0]
    history = training.train(OneImage(), OneImage(), learning_rate=0.01, epochs=2)
    return training, inference, before, detections, history


# --- training ---


def test_training_changes_every_part(trained):
    training, _, before, _, _ = trained
    parts = {"backbone", "fpn", "rpn_model", "mrcnn_box_head", "mrcnn_mask_head"}
    assert changed(before, values(training.network)) == parts == set(before)


def test_history_has_the_finite_losses_of_train_and_val(trained):
    history = trained[-1].history
    assert set(history) == {prefix + name for prefix in ("", "val_") for name in ("loss", *LOSS_NAMES)}
    assert all(len(curve) == 2 and np.isfinite(curve).all() for curve in history.values())
    assert all(history[name][0] > 0 for name in LOSS_NAMES)
    total = sum(history[name][1] for name in LOSS_NAMES)
    assert history["loss"][1] == pytest.approx(total, rel=1e-3)


def test_image_without_instances_trains_background_alone(trained):
    training = trained[0]
    (batch,) = DataGenerator(OneImage(empty=True), TinyConfig())[0]
    found = training.keras_model.predict_on_batch(batch)
    assert found["rpn_class_loss"] > 0 and found["mrcnn_class_loss"] > 0
    assert found["rpn_bbox_loss"] == found["mrcnn_bbox_loss"] == found["mrcnn_mask_loss"] == 0
    logs = training.keras_model.evaluate(
        DataGenerator(OneImage(empty=True), TinyConfig(), shuffle=False), steps=1, verbose=0, return_dict=True
    )
    assert np.isfinite(list(logs.values())).all()


def test_each_epoch_leaves_a_checkpoint_of_which_find_last_gives_the_newest(trained, model_dir):
    training = trained[0]
    files = sorted(path.name for path in training.log_dir.glob("*.h5"))
    assert files == ["mask_rcnn_tiny_0001.h5", "mask_rcnn_tiny_0002.h5"]
    assert training.log_dir.parent == model_dir and training.log_dir.name.startswith("tiny")
    (model_dir / "tiny99991231T000000").mkdir(exist_ok=True)
    assert training.find_last() == str(training.log_dir / files[1])


def test_continued_training_starts_at_the_checkpoints_epoch_and_trains_the_heads_alone(tmp_path):
    config = TinyConfig()
    model = MaskRCNN("training", config, tmp_path, network=small_network(config))
    checkpoint = tmp_path / "tiny20200101T000000" / "mask_rcnn_tiny_0004.h5"
    model.save_weights(checkpoint)
    model.load_weights(model.find_last())
    assert model.epoch == 4 and model.log_dir == checkpoint.parent
    before = values(model.network)
    history = model.train(OneImage(), None, learning_rate=0.01, epochs=5, layers="heads")
    assert history.epoch == [4] and model.epoch == 5
    assert changed(before, values(model.network)) == {"fpn", "rpn_model", "mrcnn_box_head", "mrcnn_mask_head"}
    assert model.find_last() == str(checkpoint.with_name("mask_rcnn_tiny_0005.h5"))


def test_nan_stops_training_before_a_checkpoint(tmp_path):
    config = TinyConfig()
    model = MaskRCNN("training", config, tmp_path, network=small_network(config))
    with pytest.raises(FloatingPointError, match="lower the learning rate"):
        model.train(OneImage(), None, learning_rate=np.nan, epochs=3)
    assert not list(tmp_path.rglob("*.h5"))


def test_mixed_precision_trains_in_float32_weights():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        config = TinyConfig()
        model = MaskRCNN("training", config, network=small_network(config))
        assert model.network.backbone.get_layer("conv1").compute_dtype == "bfloat16"
        before = values(model.network)
        config.STEPS_PER_EPOCH = 1
        history = model.train(OneImage(), None, learning_rate=0.01, epochs=1)
    finally:
        keras.config.set_dtype_policy("float32")
    assert np.isfinite(list(history.history.values())).all()
    after = values(model.network)
    assert changed(before, after) == set(before)
    assert all(weight.dtype == np.float32 for weights in after.values() for weight in weights)


# --- detection ---


def test_detect_returns_matterports_keys_shapes_and_types(trained, image):
    inference = trained[1]
    (found,) = inference.detect([image], verbose=1)
    assert list(found) == ["rois", "class_ids", "scores", "masks"]
    count = len(found["rois"])
    assert 0 < count <= 8
    assert found["rois"].shape == (count, 4) and found["rois"].dtype == np.int32
    assert found["class_ids"].tolist() == [1] * count and found["class_ids"].dtype == np.int32
    assert found["scores"].dtype == np.float32 and (np.diff(found["scores"]) <= 0).all()
    assert found["masks"].shape == (50, 70, count) and found["masks"].dtype == bool
    assert (found["rois"][:, :2] >= 0).all() and (found["rois"][:, 2:] <= [50, 70]).all()
    for index, (y1, x1, y2, x2) in enumerate(found["rois"]):
        outside = found["masks"][..., index].copy()
        outside[y1:y2, x1:x2] = False
        assert not outside.any()


def test_crops_are_the_masks_inside_their_boxes(trained, image):
    inference = trained[1]
    (full,), (crops,) = inference.detect([image]), inference.detect_crops([image])
    np.testing.assert_array_equal(full["rois"], crops["rois"])
    for index, (y1, x1, y2, x2) in enumerate(full["rois"]):
        np.testing.assert_array_equal(full["masks"][y1:y2, x1:x2, index], crops["masks"][index])


def test_a_batch_gives_each_image_its_own_result(trained, image):
    inference = trained[1]
    alone = [inference.detect([one])[0] for one in (image, 255 - image)]
    together = inference.detect([image, 255 - image])
    for one, other in zip(alone, together, strict=True):
        assert np.abs(one["rois"] - other["rois"]).max() <= 1
        np.testing.assert_allclose(one["scores"], other["scores"], atol=1e-4)
    assert (alone[0]["rois"].shape != alone[1]["rois"].shape) or (alone[0]["rois"] != alone[1]["rois"]).any()


def test_network_is_shared_between_the_modes(trained, image):
    training, inference, _, untrained, _ = trained
    assert inference.network is training.network
    assert (inference.detect([image])[0]["scores"][:2] != untrained["scores"][:2]).all()


def test_inference_reads_what_training_saved(trained, image, tmp_path):
    training, inference, *_ = trained
    training.save_weights(tmp_path / "best.h5")
    other = MaskRCNN("inference", InferenceConfig())
    report = other.load_weights(tmp_path / "best.h5", by_name=True)
    assert not report.missing and not report.unused and other.epoch == 0
    for one, expected in zip(other.detect([image])[0].values(), inference.detect([image])[0].values(), strict=True):
        np.testing.assert_allclose(one, expected, atol=1e-5)


def test_nothing_detected(trained, image, monkeypatch):
    inference = trained[1]
    predict = inference.keras_model.predict_on_batch

    def nothing(inputs):
        outputs = predict(inputs)
        return {**outputs, "detections": np.zeros_like(outputs["detections"])}

    monkeypatch.setattr(inference.keras_model, "predict_on_batch", nothing)
    (found,) = inference.detect([image])
    assert found["rois"].shape == (0, 4) and found["masks"].shape == (50, 70, 0) and len(found["scores"]) == 0


def test_images_of_different_molded_sizes(trained, image):
    with pytest.raises(InputError, match="one by one"):
        trained[1].detect([image, np.zeros((200, 70, 3), np.uint8)])


def test_modes_are_kept_apart(trained, image):
    training, inference, *_ = trained
    with pytest.raises(ValueError, match="inference mode"):
        training.detect_molded(np.zeros((1, 64, 64, 3)), np.zeros((1, 14)))
    with pytest.raises(ValueError, match="training mode"):
        inference.train(OneImage(), None, 0.1, 1)
    with pytest.raises(ValueError, match="'test': use training or inference"):
        MaskRCNN("test", TinyConfig())


# --- parts ---


def test_unmolding_equals_matterports_for_each_mask():
    rng = np.random.default_rng(0)
    boxes = np.array([[0, 0, 9, 30], [10, 4, 50, 60], [30, 40, 37, 45], [5, 5, 5, 20]])
    window, shape = (7, 0, 57, 64), (100, 128)  # the image fills rows 7..57 of the molded one, at half its size
    masks = rng.random((4, 28, 28)).astype("float32")
    molded = boxes + [7, 0, 7, 0]
    detections = np.zeros((6, 6), "float32")
    detections[:4, :4] = utils.norm_boxes(molded, (64, 64))
    detections[:4, 4:] = [[1, 0.9], [2, 0.8], [1, 0.7], [1, 0.6]]
    found = unmold_crops(detections, masks, shape, (64, 64, 3), window)
    assert found["class_ids"].tolist() == [1, 2, 1] and found["scores"].tolist() == pytest.approx([0.9, 0.8, 0.7])
    assert np.abs(found["rois"] - 2 * boxes[:3]).max() <= 1
    for roi, crop, mask in zip(found["rois"], found["masks"], masks, strict=False):
        resized = skimage.transform.resize(mask, crop.shape, order=1, mode="constant", anti_aliasing=False)
        assert crop.shape == (roi[2] - roi[0], roi[3] - roi[1])
        np.testing.assert_array_equal(crop, resized >= 0.5)


def test_unmold_detections_takes_the_mask_of_the_detected_class(trained):
    detections = np.zeros((3, 6), "float32")
    detections[0] = [*utils.norm_boxes(np.array([8, 8, 40, 48]), (64, 64)), 1, 0.9]
    masks = np.zeros((3, 28, 28, 2), "float32")
    masks[..., 1] = 1
    rois, class_ids, scores, full = trained[1].unmold_detections(
        detections, masks, (64, 64, 3), (64, 64, 3), (0, 0, 64, 64)
    )
    assert rois.tolist() == [[8, 8, 40, 48]] and class_ids.tolist() == [1] and scores == pytest.approx([0.9])
    assert full.shape == (64, 64, 1) and full[12:36, 12:44].all() and full.sum() <= 32 * 40


def test_missing_tensorboard_costs_the_events_alone(monkeypatch, caplog, tmp_path):
    monkeypatch.setattr(model_module.importlib.util, "find_spec", lambda name: None)
    assert model_module._tensorboard(tmp_path) == [] and "TensorBoard is not installed" in caplog.text


def test_find_last_without_a_checkpoint(trained, tmp_path):
    (tmp_path / "tinyother20200101T000000").mkdir()
    (tmp_path / "tinyother20200101T000000" / "mask_rcnn_tinyother_0009.h5").touch()
    model = MaskRCNN("inference", InferenceConfig(), tmp_path, network=trained[0].network)
    with pytest.raises(FileNotFoundError, match="no checkpoint of Tiny"):
        model.find_last()


def test_loss_weights_left_out_are_one():
    x = keras.Input((1,))
    scale = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones", name="scale")(x)
    model = TrainingModel(
        x, dict.fromkeys(LOSS_NAMES, scale), loss_weights={"rpn_class_loss": 3.0, "mrcnn_mask_loss": 0}
    )
    model.compile(optimizer=keras.optimizers.SGD(0.0))
    logs = model.train_on_batch(np.ones((1, 1), "float32"), return_dict=True)
    assert logs["loss"] == pytest.approx(6.0) and logs["mrcnn_bbox_loss"] == pytest.approx(1.0)


def test_callable_backbone():
    class CallableConfig(TinyConfig):
        BACKBONE = staticmethod(lambda norm: build_backbone("resnet18", norm=norm))

    network = Network(CallableConfig())
    assert [output.shape[-1] for output in network.backbone.outputs] == [64, 128, 256, 512]
    assert isinstance(network.backbone.get_layer("bn_conv1"), keras.layers.GroupNormalization)
