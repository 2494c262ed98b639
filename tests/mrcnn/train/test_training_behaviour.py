"""A step of the whole network: background images, normalisation, low precision, and going on after a stop."""

import shutil

import keras
import numpy as np
import pytest
from tiny_model import OneImage, TinyConfig, small_network

from cyclic.mrcnn.data.loader import DataGenerator
from cyclic.mrcnn.layers.losses import LOSS_NAMES
from cyclic.mrcnn.model import MaskRCNN
from cyclic.mrcnn.weights import h5 as weights
from cyclic.mrcnn.weights.h5 import leaf_layers

# What an image without positive ROIs trains.
BACKGROUND_LOSSES = ("rpn_class_loss", "mrcnn_class_loss")


@pytest.fixture
def policy():
    """Set Keras' dtype policy for one test."""
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy("float32")


@pytest.fixture(autouse=True)
def eager(monkeypatch):
    """Run TensorFlow's few steps one operation at a time: that takes less time than building their graph."""
    compile_as_usual = MaskRCNN.compile

    def compile_eager(self, *arguments):
        compile_as_usual(self, *arguments)
        self.keras_model.run_eagerly = keras.backend.backend() == "tensorflow"

    monkeypatch.setattr(MaskRCNN, "compile", compile_eager)


def compiled(**settings):
    """Return a model ready to train."""
    keras.utils.set_random_seed(0)
    config = type("SettingsConfig", (TinyConfig,), settings)()
    model = MaskRCNN("training", config, network=small_network(config))
    model.set_trainable("all")
    model.compile(0.01, 0.9, 10)
    return model


def batch_of(config, empty=False):
    return DataGenerator(OneImage(empty=empty), config, seed=0)[0]


def step(model, batch):
    return model.keras_model.train_on_batch(*batch, return_dict=True)


def arrays(layers):
    return {layer.name: [weight.numpy() for weight in layer.weights] for layer in layers}


def same(first, second):
    return all((one == other).all() for name in first for one, other in zip(first[name], second[name], strict=True))


# --- images and batches without positives ---


@pytest.mark.parametrize("kind", ["empty image", "no positive ROI"])
def test_a_step_without_positives_trains_background_alone(kind):
    model = compiled(WEIGHT_DECAY=0.0, USE_GT_PROPOSALS=False)
    (batch,) = batch_of(model.config, empty=kind == "empty image")
    if kind == "no positive ROI":
        # Instances of a tenth of a pixel, which no proposal overlaps by half.
        batch["gt_boxes"] = np.where(batch["gt_class_ids"][..., None] > 0, np.float32([9, 9, 9.1, 9.1]), 0)
        batch["gt_boxes"] = batch["gt_boxes"].astype("float32")
        assert (batch["gt_class_ids"] > 0).any()
    network = model.network
    masks, others = arrays([network.mask_head]), arrays([network.box_head, network.rpn])
    logs = step(model, (batch,))
    assert logs["mrcnn_mask_loss"] == logs["mrcnn_bbox_loss"] == 0
    assert all(logs[name] > 0 for name in BACKGROUND_LOSSES) and np.isfinite(logs["loss"])
    # Gradients of 0, not of NaN: the mask head stays bit by bit as it was while the others learn.
    assert same(masks, arrays([network.mask_head]))
    after = arrays([network.box_head, network.rpn, network.backbone, network.fpn])
    assert not same(others, after) and all(np.isfinite(value).all() for part in after.values() for value in part)


# --- training again ---


def test_a_restarted_model_trains_like_a_new_one():
    """The same choice of ROIs, the same first step of the optimizer, epoch 0."""
    config = TinyConfig()
    used = MaskRCNN("training", config, network=small_network(config))
    start = arrays(leaf_layers(used.network).values())

    def train(seed):
        for name, layer in leaf_layers(used.network).items():
            layer.set_weights(start[name])
        used.restart(seed)
        assert used.epoch == 0
        return used.train(OneImage(), None, 0.01, 2, verbose=0).history

    first, optimizer = train(3), used.keras_model.optimizer
    second, other = train(3), train(4)
    assert used.epoch == 2 and used.keras_model.optimizer is optimizer
    assert first.keys() == second.keys()
    for name, losses in first.items():
        assert second[name] == pytest.approx(losses, rel=1e-5)
    assert other["loss"] != pytest.approx(second["loss"], rel=1e-5)


# --- normalisation ---


@pytest.mark.parametrize(
    "settings, trained, moving",
    [
        ({"NORM": None, "TRAIN_BN": False}, False, False),
        ({"NORM": "frozen", "TRAIN_BN": None}, False, False),
        ({"NORM": None, "TRAIN_BN": None}, True, True),
        ({"NORM": "batch"}, True, True),
        ({"NORM": "group"}, True, None),
    ],
)
def test_normalisation_is_frozen_or_trained(settings, trained, moving):
    model = compiled(**settings)
    norms = [model.network.box_head.get_layer("mrcnn_class_bn1"), model.network.mask_head.get_layer("mrcnn_mask_bn1")]
    before = arrays(norms)
    logs = step(model, batch_of(model.config))
    assert np.isfinite(logs["loss"])
    for layer in norms:
        now = dict(zip([weight.name for weight in layer.weights], layer.weights, strict=True))
        was = dict(zip(now, before[layer.name], strict=True))
        changes = {name for name in now if (now[name].numpy() != was[name]).any()}
        assert set(now) == {"gamma", "beta", *([] if moving is None else ["moving_mean", "moving_variance"])}
        assert (changes & {"gamma", "beta"} == {"gamma", "beta"}) if trained else not changes
        assert not moving or {"moving_mean", "moving_variance"} <= changes


# --- precision ---


# Rounding lets suppression choose other proposals; on the ground-truth boxes the heads' losses can be compared.
FIXED_ROIS = {"POST_NMS_ROIS_TRAINING": 1, "ROI_POSITIVE_RATIO": 0.9}


@pytest.fixture(scope="module")
def reference_losses():
    """The losses of one batch in float32."""
    model = compiled(**FIXED_ROIS)
    return model.keras_model.predict_on_batch(*batch_of(model.config))


@pytest.mark.parametrize("name", ["mixed_bfloat16", "mixed_float16"])
def test_low_precision_has_the_losses_of_float32(policy, reference_losses, name):
    policy(name)
    model = compiled(**FIXED_ROIS)
    assert model.network.backbone.get_layer("conv1").compute_dtype == name.removeprefix("mixed_")
    found = model.keras_model.predict_on_batch(*batch_of(model.config))
    for loss in LOSS_NAMES:
        assert found[loss] == pytest.approx(reference_losses[loss], rel=0.05), loss


def test_bfloat16_trains_float32_weights_without_a_scale(policy):
    policy("mixed_bfloat16")
    model = compiled()
    assert isinstance(model.keras_model.optimizer, keras.optimizers.SGD)
    before = arrays(model.network.layers)
    logs = step(model, batch_of(model.config))
    after = arrays(model.network.layers)
    assert np.isfinite(list(logs.values())).all()
    assert all(not same({name: before[name]}, after) for name in before)
    assert all(value.dtype == np.float32 for part in after.values() for value in part)


def test_float16_skips_a_step_that_overflows_and_halves_the_scale(policy):
    policy("mixed_float16")
    model = compiled()
    optimizer, batch = model.keras_model.optimizer, batch_of(model.config)
    assert type(optimizer) is keras.optimizers.LossScaleOptimizer
    assert isinstance(optimizer.inner_optimizer, keras.optimizers.SGD) and optimizer.inner_optimizer.weight_decay
    before = arrays(model.network.layers)
    optimizer.dynamic_scale.assign(2.0**60)
    logs = step(model, batch)
    assert np.isfinite(list(logs.values())).all() and logs["loss"] < 1000
    assert same(before, arrays(model.network.layers)) and int(optimizer.iterations) == 0
    assert float(optimizer.dynamic_scale.numpy()) == 2.0**59
    optimizer.dynamic_scale.assign(2.0**8)
    logs, after = step(model, batch), arrays(model.network.layers)
    assert all(not same({name: before[name]}, after) for name in before) and int(optimizer.iterations) == 1
    assert float(optimizer.dynamic_scale.numpy()) == 2.0**8 and np.isfinite(list(logs.values())).all()


# --- compilation ---


@pytest.mark.parametrize("setting", [True, False, "auto"])
def test_the_setting_of_compilation_reaches_keras(setting, monkeypatch):
    given, compile_model = [], keras.Model.compile

    def note(model, **settings):
        given.append(settings["jit_compile"])
        compile_model(model, **settings)

    monkeypatch.setattr(keras.Model, "compile", note)
    compiled(JIT_COMPILE=setting)
    assert given == [keras.backend.backend() == "jax" if setting == "auto" else setting]


# --- going on after a stop ---


class EverythingConfig(TinyConfig):
    """Four batches an epoch, one skipped, and two a step: a stop after an epoch leaves half a step's gradients."""

    OPTIMIZER = "adamw"
    GRADIENT_ACCUMULATION_STEPS = 2
    STEPS_PER_EPOCH = 4
    WARMUP_STEPS = 2
    LR_SCHEDULE = "cosine"


def overflowing_at_first(optimizer, loss):
    """Scale the loss as Keras does, but out of range at the first scale."""
    scale = keras.ops.convert_to_tensor(optimizer.dynamic_scale)
    return loss * keras.ops.where(scale > 2.0**4, 1e30, scale)


def fresh(model_dir, seed=0):
    keras.utils.set_random_seed(seed)
    return MaskRCNN("training", EverythingConfig(), model_dir, network=small_network(EverythingConfig()))


def test_everything_goes_on_after_a_stop(policy, tmp_path, monkeypatch):
    """AdamW, accumulated gradients, schedule and the scale of the loss, which one step has halved."""
    policy("mixed_float16")
    whole = fresh(tmp_path / "whole")
    scaling = keras.optimizers.LossScaleOptimizer
    monkeypatch.setattr(scaling.__init__, "__defaults__", (2.0**5, 2000, None))  # the first scale
    monkeypatch.setattr(scaling, "scale_loss", overflowing_at_first)
    curve = whole.train(OneImage(), None, 0.01, 2, verbose=0).history
    first = whole.log_dir / "mask_rcnn_tiny_0001.h5"
    state = weights.read_group(first, "optimizer_weights")
    gathered = [value for name, value in state.items() if name.endswith("gradient_accumulator")]
    assert state["dynamic_scale"] == 2.0**4 and state["iteration"] == 3 and any(map(np.any, gathered))

    copy = tmp_path / "stopped" / "tiny20200101T000000" / first.name
    copy.parent.mkdir(parents=True)
    shutil.copy(first, copy)
    resumed = fresh(tmp_path / "stopped", seed=1)
    resumed.load_weights(resumed.find_last())
    history = resumed.train(OneImage(), None, 0.01, 2, verbose=0)
    assert history.epoch == [1]
    for name in ("loss", *LOSS_NAMES):
        assert history.history[name] == pytest.approx(curve[name][1:], rel=1e-3), name
    ours, theirs = (weights.read_group(model.last_checkpoint, "optimizer_weights") for model in (resumed, whole))
    assert ours.keys() == theirs.keys()
    assert all(np.allclose(ours[name], theirs[name], rtol=1e-2, atol=1e-3) for name in ours)
