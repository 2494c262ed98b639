"""`MaskRCNN` end to end on a tiny network and one synthetic image."""

import shutil
from types import SimpleNamespace

import h5py
import keras
import numpy as np
import pytest
from keras import ops
from tiny_model import InferenceConfig, OneImage, TinyConfig, small_network

from cyclic.errors import InputError
from cyclic.mrcnn import utils
from cyclic.mrcnn.data.loader import DataGenerator
from cyclic.mrcnn.layers.losses import LOSS_NAMES
from cyclic.mrcnn.layers.network import TrainingModel
from cyclic.mrcnn.model import MaskRCNN
from cyclic.mrcnn.train import callbacks, checkpoint
from cyclic.mrcnn.train.optimizer import set_trainable
from cyclic.mrcnn.weights import h5 as weights


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
    training = MaskRCNN("training", TinyConfig(), model_dir, network=small_network(TinyConfig()))
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


@pytest.fixture
def stopped(trained, tmp_path):
    """A new model, and a copy of the first checkpoint of `trained` to go on from: `(model, path)`."""
    first = trained[0].log_dir / "mask_rcnn_tiny_0001.h5"
    path = tmp_path / "tiny20200101T000000" / first.name
    path.parent.mkdir()
    shutil.copy(first, path)
    return MaskRCNN("training", TinyConfig(), tmp_path, network=small_network(TinyConfig())), path


def test_resumed_training_has_the_losses_of_training_that_was_not_stopped(stopped, trained):
    model, path = stopped
    model.load_weights(model.find_last())
    assert model.epoch == 1 and model.log_dir == path.parent
    history = model.train(OneImage(), OneImage(), learning_rate=0.01, epochs=2)
    assert history.epoch == [1] and model.epoch == 2 and int(model.keras_model.optimizer.iterations) == 4
    for name, curve in trained[-1].history.items():
        assert history.history[name] == pytest.approx(curve[1:], rel=1e-4), name
    assert not np.isclose(history.history["loss"][0], trained[-1].history["loss"][0], rtol=1e-3)
    assert model.find_last() == str(path.with_name("mask_rcnn_tiny_0002.h5")) == str(model.last_checkpoint)
    both = (model.last_checkpoint, trained[0].find_last())
    resumed, whole = (weights.read_group(file, "optimizer_weights") for file in both)
    assert resumed.keys() == whole.keys() and len(whole) > 10
    assert all(np.allclose(resumed[name], whole[name], atol=1e-4) for name in whole)


def test_other_layers_start_with_a_new_optimizer_and_train_alone(stopped):
    model, path = stopped
    model.load_weights(path)
    before = values(model.network)
    history = model.train(OneImage(), None, learning_rate=0.01, epochs=2, layers="heads")
    assert history.epoch == [1] and int(model.keras_model.optimizer.iterations) == 2
    assert changed(before, values(model.network)) == {"fpn", "rpn_model", "mrcnn_box_head", "mrcnn_mask_head"}


@pytest.mark.parametrize(
    "change, attributes",
    [
        ({"layers": "heads"}, {}),
        ({"learning_rate": 0.1}, {}),
        ({}, {"OPTIMIZER": "adamw"}),
        ({}, {"GRADIENT_ACCUMULATION_STEPS": 2}),
        ({}, {}),
    ],
)
def test_only_the_same_settings_go_on(trained, stopped, change, attributes):
    set_trainable(stopped[0].network, "all")
    config = type("Changed", (TinyConfig,), attributes)
    settings = checkpoint.run_settings(
        stopped[0].keras_model, **{"config": config, "layers": "all", "learning_rate": 0.01, **change}
    )
    assert checkpoint.can_resume(stopped[1], settings) == (not change and not attributes)


def test_weights_without_an_optimizer_and_parts_of_a_checkpoint_do_not_go_on(stopped):
    model, path = stopped
    model.load_weights(path, exclude=["fpn_p2"])
    assert model.epoch == 1 and model._resume_from is None
    model.save_weights(path)
    model.load_weights(path)
    assert model.epoch == 1 and not checkpoint.can_resume(path, {"layers": "all"})


def test_optimizer_of_another_model_is_refused(stopped):
    model, path = stopped
    model.compile(0.01, 0.9)
    with h5py.File(path, "a") as file:
        del file["optimizer_weights/iteration"]
        del file["optimizer_weights"].attrs["checksum"]
    with pytest.raises(InputError, match="0001.h5: optimizer_weights of another model"):
        checkpoint.restore(path, model.keras_model)


def test_a_damaged_optimizer_is_refused(stopped):
    model, path = stopped
    model.compile(0.01, 0.9)
    with h5py.File(path, "a") as file:
        file["optimizer_weights/iteration"][()] += 1
    with pytest.raises(InputError, match="0001.h5: optimizer_weights is not what was written there"):
        checkpoint.restore(path, model.keras_model)


def test_nan_stops_training_and_names_the_images_and_the_last_good_checkpoint(stopped):
    model, path = stopped
    model.load_weights(path)
    message = "in epoch 2, .*step.* 2; lower the learning rate and go on from .*_0001.h5; images: .*step 2: 0$"
    with pytest.raises(FloatingPointError, match=message):
        model.train(OneImage(), None, learning_rate=np.nan, epochs=3)
    assert [file.name for file in path.parent.glob("*.h5")] == [path.name]


def test_nan_names_its_step_and_images_beside_callbacks_that_wait(monkeypatch):
    """Three images, each its own batch; the second batch of the epoch is damaged.

    It is a target that is damaged: some processors' ReLU turns the NaN of an image into 0.
    """

    class Waiting(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.batch = batch

    dataset, config = OneImage(), TinyConfig()
    for name in ("left", "right"):
        dataset.add_image("disks", name, f"{name}.png")
    dataset.prepare()
    config.STEPS_PER_EPOCH, whole = 3, DataGenerator.__getitem__

    def damaged(self, index):
        (batch,) = whole(self, index)
        return ({**batch, "rpn_target_bbox": batch["rpn_target_bbox"] * np.nan} if index == 1 else batch,)

    monkeypatch.setattr(DataGenerator, "__getitem__", damaged)
    model = MaskRCNN("training", config, network=small_network(config))
    (batch,) = DataGenerator(dataset, config)[1]
    name = dataset.image_info[int(batch["image_meta"][0, 0])]["id"]
    message = f"epoch 1, step 2; lower the learning rate and start again, .*; images: step 2: {name}$"
    with pytest.raises(FloatingPointError, match=message):
        model.train(dataset, None, 0.001, 1, custom_callbacks=[Waiting()], verbose=0)


def test_guard_names_the_images_of_the_steps_that_come_into_question():
    """The second epoch of a stream that starts at epoch 3; each batch holds two images."""

    class Stream:
        epoch, steps = 3, 10
        dataset = SimpleNamespace(image_info=[{"id": f"tile{index}"} for index in range(50)])

        def __getitem__(self, index):
            return ({"image_meta": np.array([[2 * index], [2 * index + 1]])},)

    guard = callbacks.NaNGuard(Stream())
    guard.on_epoch_begin(4)
    guard.on_train_batch_end(1, {"loss": 1.0})
    with pytest.raises(FloatingPointError) as error:
        guard.on_train_batch_end(4, {"loss": np.inf})
    assert "in epoch 5, one of the steps 3 to 5; lower" in str(error.value)
    assert "start again, there is no checkpoint yet; images: " in str(error.value)
    assert str(error.value).endswith("step 3: tile24 tile25, step 4: tile26 tile27, step 5: tile28 tile29")


def test_weights_that_are_not_finite_make_no_checkpoint(stopped):
    model, path = stopped
    model.network.fpn.get_layer("fpn_p3").bias.assign(np.full(16, np.inf))
    callback = callbacks.Checkpoint(model, {}, seed=0)
    with pytest.raises(FloatingPointError, match="layer fpn_p3 .* after epoch 6; lower the learning rate and start"):
        callback.on_epoch_end(5)
    assert model.epoch == 0 and [file.name for file in path.parent.glob("*.h5")] == [path.name]


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


def test_mask_margin_enlarges_boxes_and_gives_masks_beyond_the_old_ones(trained, image, monkeypatch):
    inference = trained[1]
    (tight,) = inference.detect([image])
    monkeypatch.setattr(inference.config, "DETECTION_MASK_MARGIN", 0.5)
    (wide,) = inference.detect([image])
    np.testing.assert_array_equal(wide["scores"], tight["scores"])
    assert (wide["rois"][:, :2] <= tight["rois"][:, :2]).all() and (wide["rois"][:, 2:] >= tight["rois"][:, 2:]).all()
    assert (wide["rois"] != tight["rois"]).any() and (wide["rois"][:, 2:] <= [50, 70]).all()
    inside = np.zeros_like(tight["masks"])
    for index, (y1, x1, y2, x2) in enumerate(tight["rois"]):
        inside[y1:y2, x1:x2, index] = True
    assert (wide["masks"] & ~inside).any() and not (tight["masks"] & ~inside).any()


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
        np.testing.assert_allclose(one["scores"], other["scores"], atol=1e-4)
        # Scores that are nearly equal may change places.
        distance = np.abs(one["rois"][:, None] - other["rois"]).max(axis=2)
        distance[np.abs(one["scores"][:, None] - other["scores"]) > 1e-4] = 99
        assert distance.min(axis=0).max() <= 1 and distance.min(axis=1).max() <= 1
    assert (alone[0]["rois"].shape != alone[1]["rois"].shape) or (alone[0]["rois"] != alone[1]["rois"]).any()


def test_network_is_shared_between_the_modes(trained, image):
    training, inference, _, untrained, _ = trained
    assert inference.network is training.network
    assert (inference.detect([image])[0]["scores"][:2] != untrained["scores"][:2]).all()


def test_inference_reads_what_training_saved(trained, image, tmp_path):
    training, inference, *_ = trained
    training.save_weights(tmp_path / "best.h5")
    other = MaskRCNN("inference", InferenceConfig(), network=small_network(InferenceConfig()))
    report = other.load_weights(tmp_path / "best.h5", by_name=True)
    assert not report.missing and not report.unused and other.epoch == 0
    for one, expected in zip(other.detect([image])[0].values(), inference.detect([image])[0].values(), strict=True):
        np.testing.assert_allclose(one, expected, atol=1e-5)


def test_whole_models_are_saved_and_loaded(trained, image, tmp_path):
    training, inference, *_ = trained
    molded, metas, _ = inference.mold_inputs([image])
    inputs = [molded, metas, inference.get_anchors(molded.shape[1:])[None]]
    inference.keras_model.save(tmp_path / "inference.keras")
    found = keras.saving.load_model(tmp_path / "inference.keras").predict_on_batch(inputs)
    for value, expected in zip(found, inference.keras_model.predict_on_batch(inputs), strict=True):
        np.testing.assert_allclose(value, expected, rtol=0, atol=1e-5)
    training.keras_model.save(tmp_path / "training.keras")
    again = keras.saving.load_model(tmp_path / "training.keras")
    assert type(again) is TrainingModel and again.loss_weights == training.keras_model.loss_weights
    (batch,) = DataGenerator(OneImage(), TinyConfig())[0]
    assert np.isfinite(list(again.predict_on_batch(batch).values())).all()


def test_keras_model_saves_in_matterports_layout(trained, tmp_path):
    training, *_ = trained
    training.keras_model.save_weights(str(tmp_path / "mask_rcnn_shapes.h5"))
    other = small_network(TinyConfig())
    report = weights.load_weights(tmp_path / "mask_rcnn_shapes.h5", other)
    assert not report.missing and not report.unused and not changed(values(training.network), values(other))


def test_only_jax_compiles_inference(trained):
    inference = trained[1]
    for model in (inference.keras_model, inference._detection_model, inference._mask_model):
        assert model.jit_compile == (keras.backend.backend() == "jax")


def test_nothing_detected(trained, image, monkeypatch):
    inference = trained[1]
    detect = inference._detect

    def nothing(inputs):
        outputs = detect(inputs)
        return {**outputs, "detections": ops.zeros_like(outputs["detections"])}

    monkeypatch.setattr(inference, "_detect", nothing)
    (found,) = inference.detect([image])
    assert found["rois"].shape == (0, 4) and found["masks"].shape == (50, 70, 0) and len(found["scores"]) == 0


def test_molded_images_are_detected_in_their_own_pixels(trained):
    inference, image = trained[1], OneImage().image[:64, :70]  # is padded, not scaled
    molded, metas, windows = inference.mold_inputs([image])
    (found,), (expected,) = inference.detect_molded(molded, metas, verbose=1), inference.detect([image])
    assert list(found) == ["rois", "class_ids", "scores", "masks"] and found["masks"].shape[:2] == molded.shape[1:3]
    y1, x1, y2, x2 = windows[0]
    assert (y1, x1) == (0, 29)
    np.testing.assert_array_equal(found["rois"] - [y1, x1, y1, x1], expected["rois"])
    np.testing.assert_array_equal(found["masks"][y1:y2, x1:x2], expected["masks"])
    np.testing.assert_allclose(found["scores"], expected["scores"])


@pytest.mark.parametrize("call", ["detect", "detect_crops", "mold_inputs"])
def test_no_image(trained, call):
    with pytest.raises(InputError, match="no image to detect in"):
        getattr(trained[1], call)([])


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


def test_log_dir_follows_the_checkpoint(trained, stopped):
    model, path = stopped
    model.set_log_dir(str(path))
    assert model.epoch == 1 and model.log_dir == path.parent
    model.set_log_dir()
    assert model.epoch == 0 and model.log_dir != path.parent and model.log_dir.parent == model.model_dir


def test_find_last_without_a_checkpoint(trained, tmp_path):
    (tmp_path / "tinyother20200101T000000").mkdir()
    (tmp_path / "tinyother20200101T000000" / "mask_rcnn_tinyother_0009.h5").touch()
    model = MaskRCNN("inference", InferenceConfig(), tmp_path, network=trained[0].network)
    with pytest.raises(FileNotFoundError, match="no checkpoint of tiny"):
        model.find_last()


@pytest.mark.parametrize("kind", ["grey", "RGBA", "16 bits"])
def test_images_of_other_kinds_are_seen_as_the_picture_they_show(trained, kind):
    image = OneImage().image
    grey = np.repeat(image[..., :1], 3, axis=-1)
    shown, given = {
        "grey": (grey, image[..., 0]),
        "RGBA": (image, np.dstack([image, np.full_like(image[..., 0], 255)])),
        "16 bits": (image, image.astype(np.uint16) * 257),
    }[kind]
    expected, found = (trained[1].detect([picture])[0] for picture in (shown, given))
    np.testing.assert_array_equal(found["rois"], expected["rois"])
    np.testing.assert_array_equal(found["scores"], expected["scores"])


def test_what_is_no_image_is_refused_by_its_place(trained):
    with pytest.raises(InputError, match="image 1: shape"):
        trained[1].detect([OneImage().image, np.zeros((8, 8, 5), np.uint8)])


def test_the_finest_level_may_go_without_anchors(image):
    fewer = {"BACKBONE_STRIDES": [8, 16, 32, 64], "RPN_ANCHOR_SCALES": (16, 32, 64, 128)}
    training = MaskRCNN("training", type("Coarse", (TinyConfig,), fewer)())
    history = training.train(OneImage(), None, learning_rate=0.01, epochs=1)
    assert np.isfinite(history.history["loss"]).all()
    inference = MaskRCNN("inference", type("Coarse", (InferenceConfig,), fewer)(), network=training.network)
    molded, metas, _ = inference.mold_inputs([image])
    anchors = inference.get_anchors(molded[0].shape)
    count = sum((64 // stride) * (128 // stride) * 3 for stride in (8, 16, 32, 64))
    assert molded.shape[1:3] == (64, 128) and anchors.shape == (count, 4)
    output = inference.keras_model.predict_on_batch([molded, metas, anchors[None]])
    assert output[5].shape == (1, count, 2) and output[6].shape == (1, count, 4)
    # The boxes found on the way that skips the graph above are the same.
    boxes, _ = inference.predict_boxes(molded, metas)
    np.testing.assert_allclose(boxes[0], output[0][0], atol=1e-4)
