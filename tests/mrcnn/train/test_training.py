"""Learning rate, optimizer, frozen layers and the guard against NaN."""

import re

import keras
import numpy as np
import pytest
from keras import ops

from cyclic.backbones.norm import FrozenBatchNormalization
from cyclic.fitting import WarmupSchedule, learning_rate
from cyclic.mrcnn.config import Config
from cyclic.mrcnn.train import optimizer as mrcnn_optimizer
from cyclic.mrcnn.train.callbacks import NaNGuard
from cyclic.mrcnn.train.optimizer import LAYER_GROUPS, jit_compile, set_trainable


def rate(schedule, step):
    return float(ops.convert_to_numpy(schedule(step)))


# --- learning rate ---


def test_constant_rate():
    assert [rate(WarmupSchedule(0.02), step) for step in (0, 10, 10**6)] == pytest.approx([0.02] * 3)


def test_warmup_rises_linearly_to_the_peak_and_stays():
    schedule = WarmupSchedule(0.1, warmup_steps=4)
    assert [rate(schedule, step) for step in range(6)] == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1, 0.1])


def test_cosine_falls_to_a_hundredth():
    schedule = WarmupSchedule(1.0, warmup_steps=10, total_steps=110, floor=0.01)
    assert rate(schedule, 10) == pytest.approx(1.0)
    assert rate(schedule, 60) == pytest.approx(0.505)
    assert rate(schedule, 110) == pytest.approx(0.01) == rate(schedule, 500)
    rates = [rate(schedule, step) for step in range(9, 111)]
    assert rates == sorted(rates, reverse=True)


def test_schedule_survives_its_config():
    schedule = WarmupSchedule(0.3, 5, 50)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(schedule))
    assert [rate(again, step) for step in (0, 20)] == [rate(schedule, step) for step in (0, 20)]


# --- optimizer ---


def build_optimizer(config, peak, momentum, total_steps):
    """Return the optimizer with the learning rate that training gives it."""
    total = total_steps if config.LR_SCHEDULE == "cosine" else None
    rate = learning_rate(peak, config.WARMUP_STEPS, total, mrcnn_optimizer.FLOOR)
    return mrcnn_optimizer.build_optimizer(config, rate, momentum)


class TrainConfig(Config):
    WEIGHT_DECAY = 0.1
    WARMUP_STEPS = 2


def small_model():
    image = keras.Input((6, 6, 4))
    x = keras.layers.Conv2D(4, 3, name="conv")(image)
    x = keras.layers.BatchNormalization(name="bn")(x)
    x = keras.layers.GroupNormalization(2, name="gn")(x)
    return keras.Model(image, keras.layers.Dense(2, name="fc")(keras.layers.GlobalAveragePooling2D()(x)))


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_weight_decay_spares_norm_and_bias(name):
    config = TrainConfig()
    config.OPTIMIZER = name
    model = small_model()
    for weight in model.trainable_weights:
        weight.assign(np.ones(weight.shape))
    optimizer = build_optimizer(config, 0.5, 0.9, total_steps=10)
    optimizer.apply([ops.zeros(weight.shape) for weight in model.trainable_weights], model.trainable_weights)
    decayed = {weight.path for weight in model.trainable_weights if (weight.numpy() != 1).any()}
    assert decayed == {"conv/kernel", "fc/kernel"}
    # The first of two warm-up steps has half the rate.
    np.testing.assert_allclose(model.get_layer("fc").kernel.numpy(), 1 - 0.1 * 0.25, rtol=1e-5)


def test_gradients_are_clipped_by_their_common_norm():
    config = TrainConfig()
    config.WEIGHT_DECAY, config.WARMUP_STEPS, config.GRADIENT_CLIP_NORM = 0.0, 0, 5.0
    weights = [keras.Variable(np.zeros(1, "float32")) for _ in range(2)]
    gradients = [ops.convert_to_tensor(np.float32([size])) for size in (30, 40)]
    build_optimizer(config, 1.0, 0.0, total_steps=10).apply(gradients, weights)
    assert [float(weight.numpy()[0]) for weight in weights] == pytest.approx([-3, -4], rel=1e-5)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_scaled_gradients_make_the_same_step(name):
    """Clipping and weight decay come after the loss's scale is taken out again, and spare the same weights."""
    config = TrainConfig()
    config.OPTIMIZER, config.GRADIENT_CLIP_NORM = name, 1.0
    plain, scaled = stepped(build_optimizer(config, 0.5, 0.9, 10), 3.0), build_optimizer(config, 0.5, 0.9, 10)
    scaled = stepped(keras.optimizers.LossScaleOptimizer(scaled, initial_scale=2.0**10), 3.0 * 2**10)
    for one, other in zip(plain, scaled, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)
    assert all((weight != 1).all() for weight in plain)


def stepped(optimizer, gradient):
    """Return the weights of the small model, all 1 before, after a step by a constant gradient."""
    weights = small_model().trainable_weights
    for weight in weights:
        weight.assign(np.ones(weight.shape))
    gradients = [ops.full(weight.shape, gradient) for weight in weights]
    if keras.backend.backend() != "jax":
        optimizer.apply(gradients, weights)
        return [ops.convert_to_numpy(weight) for weight in weights]
    # JAX scales losses in functions without side effects alone.
    optimizer.build(weights)
    state, values = ([variable.value for variable in variables] for variables in (optimizer.variables, weights))
    return [ops.convert_to_numpy(value) for value in optimizer.stateless_apply(state, gradients, values)[0]]


def test_schedule_follows_the_config():
    config = TrainConfig()
    config.OPTIMIZER = "adamw"
    for schedule, last in (("constant", 0.5), ("cosine", 0.005)):
        config.LR_SCHEDULE = schedule
        model = small_model()
        mrcnn_optimizer.compile_model(model, config, 0.5, 0.9, 100)
        assert rate(model.optimizer._learning_rate, 100) == pytest.approx(last)


def test_unknown_optimizer():
    config = TrainConfig()
    config.OPTIMIZER = "lion"
    with pytest.raises(ValueError, match="'lion': use sgd or adamw"):
        build_optimizer(config, 0.1, 0.9, 10)


# --- gradient accumulation ---


def after(optimizer, gradients):
    """Return the values of two weights after each gradient, `[steps, 2, 3]`."""
    weights = [keras.Variable(np.ones(3, "float32"), name=name) for name in ("kernel", "bias")]
    optimizer.build(weights)
    values = []
    for gradient in gradients:
        optimizer.apply([ops.convert_to_tensor(gradient), ops.convert_to_tensor(2 * gradient)], weights)
        values.append([ops.convert_to_numpy(weight) for weight in weights])
    return np.array(values)


def optimizer_of(name, accumulated, clip_norm=5.0):
    config = TrainConfig()
    config.OPTIMIZER, config.GRADIENT_ACCUMULATION_STEPS, config.GRADIENT_CLIP_NORM = name, accumulated, clip_norm
    config.WARMUP_STEPS = 0
    return build_optimizer(config, 0.1, 0.9, total_steps=10)


@pytest.mark.parametrize("clip_norm", [1.0, 1000.0])
@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_batches_accumulated_equal_one_batch_of_their_mean(name, clip_norm):
    """Two steps of three batches each; momentum, decay and clipping see the means alone."""
    gradients = np.random.default_rng(0).normal(2, 3, (2, 3, 3)).astype("float32")
    found = after(optimizer_of(name, 3, clip_norm), gradients.reshape(6, 3))
    expected = after(optimizer_of(name, 1, clip_norm), gradients.mean(axis=1))
    np.testing.assert_allclose(found[[2, 5]], expected, atol=1e-6)
    assert (found[[0, 1]] == 1).all() and (found[[3, 4]] == found[2]).all()


def test_schedule_counts_batches_not_steps():
    config = TrainConfig()
    config.WARMUP_STEPS, config.GRADIENT_ACCUMULATION_STEPS, config.WEIGHT_DECAY = 4, 2, 0.0
    values = after(build_optimizer(config, 1.0, 0.0, total_steps=10), np.ones((4, 3), "float32"))
    norm = np.sqrt(3 * (1 + 4))
    assert norm < config.GRADIENT_CLIP_NORM
    # The second batch is at half, the fourth at the end of the warm-up.
    np.testing.assert_allclose(values[[1, 3], 0, 0], [1 - 0.5, 1 - 0.5 - 1], rtol=1e-5)


@pytest.mark.parametrize("value", [0, -2, 1.5, None])
def test_impossible_accumulation(value):
    with pytest.raises(ValueError, match="GRADIENT_ACCUMULATION_STEPS = .*whole number, 1 or more"):
        optimizer_of("sgd", value)


# --- compilation ---


@pytest.mark.parametrize("setting, expected", [(True, True), (False, False), ("auto", None)])
def test_compilation_follows_the_setting(setting, expected):
    assert jit_compile(setting) == (keras.backend.backend() == "jax" if expected is None else expected)


@pytest.mark.parametrize("setting", [None, "yes", 1])
def test_unknown_compilation(setting):
    with pytest.raises(ValueError, match='JIT_COMPILE = .*use True, False or "auto"'):
        jit_compile(setting)


# --- which layers train ---

STAGES = ("conv1", "bn_conv1", "res2a_branch2a", "bn2a_branch2a", "block1_conv1", "block2_conv1")
STAGE_3 = ("res3a_branch2a", "bn3a_branch2a", "block3_conv1")
STAGE_4 = ("res4f_branch1", "bn4f_branch1", "block4_conv3", "block4_conv3_bn")
STAGE_5 = ("res5c_branch2c", "bn5c_branch2c", "block5_conv2")
HEADS = ("fpn_c5p5", "fpn_p2", "rpn_conv_shared", "rpn_class_raw", "mrcnn_class_conv1", "mrcnn_class_bn1", "mrcnn_mask")


def stack_of(names, name):
    return keras.Sequential([keras.Input((2,)), *(keras.layers.Dense(2, name=layer) for layer in names)], name=name)


@pytest.fixture
def staged():
    backbone, heads = stack_of((*STAGES, *STAGE_3, *STAGE_4, *STAGE_5), "backbone"), stack_of(HEADS, "heads")
    image = keras.Input((2,))
    return keras.Model(image, heads(backbone(image)))


def trained(model):
    return {weight.path.split("/")[-2] for weight in model.trainable_weights}


@pytest.mark.parametrize(
    "group, expected",
    [
        ("heads", HEADS),
        ("5+", (*STAGE_5, *HEADS)),
        ("4+", (*STAGE_4, *STAGE_5, *HEADS)),
        ("3+", (*STAGE_3, *STAGE_4, *STAGE_5, *HEADS)),
        ("all", (*STAGES, *STAGE_3, *STAGE_4, *STAGE_5, *HEADS)),
        (r"mrcnn\_class.*", ("mrcnn_class_conv1", "mrcnn_class_bn1")),
        ("conv1", ("conv1",)),
    ],
)
def test_each_group_trains_its_layers(staged, group, expected):
    set_trainable(staged, group)
    assert trained(staged) == set(expected)


def test_every_group_name_is_tested():
    assert set(LAYER_GROUPS) == {"heads", "5+", "4+", "3+", "all"}


def test_layers_frozen_before_train_again(staged):
    set_trainable(staged, "heads")
    staged.get_layer("backbone").trainable = False
    set_trainable(staged, "all")
    assert len(trained(staged)) == len((*STAGES, *STAGE_3, *STAGE_4, *STAGE_5, *HEADS))


def test_pattern_without_a_layer(staged):
    with pytest.raises(ValueError, match="layers = 'resnet' matches no layer; use heads, 3"):
        set_trainable(staged, "resnet")
    with pytest.raises(ValueError, match="no regular expression"):
        set_trainable(staged, "(")


def test_frozen_norm_stays_frozen():
    image = keras.Input((2,))
    inner = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(2, name="conv1"), FrozenBatchNormalization(name="bn1")]
    )
    model = keras.Model(image, inner(image))
    set_trainable(model, "all")
    assert trained(model) == {"conv1"}
    with pytest.raises(ValueError, match="matches no layer"):
        set_trainable(model, "bn1")


# --- NaN ---


class EpochCount(keras.callbacks.Callback):
    begun = 0

    def on_epoch_begin(self, epoch, logs=None):
        self.begun += 1


def fit(samples, callbacks, epochs=3):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(optimizer=keras.optimizers.SGD(1e-4), loss="mse", jit_compile=False)
    return model.fit(
        samples, samples[:, :1], batch_size=1, epochs=epochs, verbose=0, callbacks=callbacks, shuffle=False
    )


class Waiting(keras.callbacks.Callback):
    """Makes Keras wait for each step, as most callbacks of users do."""

    def on_train_batch_end(self, batch, logs=None):
        self.last = batch


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("step", [0, 13, 19])
@pytest.mark.parametrize("others", [[], [Waiting]])
def test_fit_stops_when_the_loss_is_not_finite(step, bad, others):
    samples = np.ones((20, 2), "float32")
    samples[step] = bad
    count = EpochCount()
    with pytest.raises(FloatingPointError, match="the loss is (nan|inf) in epoch 1, ") as error:
        fit(samples, [NaNGuard(), count, *(other() for other in others)])
    first, last = re.search(r" steps? (?:(\d+) to )?(\d+);", str(error.value)).groups()
    # Where nothing waits for the steps, a later one may be the first to tell.
    assert (int(first or last) <= step + 1 <= int(last)) if not others else (first is None and int(last) == step + 1)
    assert count.begun == 1


def test_guard_names_the_epoch_and_waits_for_no_step():
    guard = NaNGuard()
    assert guard.async_safe
    guard.on_epoch_begin(4)
    guard.on_train_batch_end(7, {"loss": 1.0})
    guard.on_train_batch_end(6, {"loss": 1.0})
    guard.on_train_batch_end(7, None)
    with pytest.raises(FloatingPointError, match="in epoch 5, step 9; lower"):
        guard.on_train_batch_end(8, {"loss": np.nan})
    with pytest.raises(FloatingPointError, match="in epoch 5, one of the steps 9 to 11; lower"):
        guard.on_train_batch_end(10, {"loss": np.nan})


def test_finite_losses_go_on():
    assert len(fit(np.ones((4, 2), "float32"), [NaNGuard()], epochs=2).epoch) == 2
