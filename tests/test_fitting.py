"""Optimizers spare biases and norms, and a loss that is no number stops the training."""

import keras
import numpy as np
import pytest

from cyclic.errors import InputError
from cyclic.fitting import OPTIMIZERS, RATES, LossGuard, WarmupSchedule, build_optimizer, compile_once, restart


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_only_kernels_decay(name):
    weights = [keras.Variable(np.ones(2), name=part) for part in ("kernel", "bias", "gamma", "beta")]
    optimizer = build_optimizer(name, 0.5, 0.1, momentum=0.9)
    optimizer.apply([keras.ops.zeros(2)] * 4, weights)
    np.testing.assert_allclose(
        [keras.ops.convert_to_numpy(weight)[0] for weight in weights], [0.95, 1, 1, 1], rtol=1e-6
    )


def test_without_decay_and_gradients_nothing_moves():
    kernel = keras.Variable(np.ones(2), name="kernel")
    build_optimizer("sgd", 0.5, None, momentum=0.9).apply([keras.ops.zeros(2)], [kernel])
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(kernel), [1, 1])


def test_options_reach_the_optimizer():
    optimizer = build_optimizer("sgd", 0.1, 0.0, momentum=0.9, nesterov=True, global_clipnorm=2.0)
    assert optimizer.momentum == 0.9 and optimizer.nesterov and optimizer.global_clipnorm == 2.0


def test_unknown_optimizer():
    with pytest.raises(InputError, match="unknown optimizer 'adam': use one of adamw, sgd"):
        build_optimizer("adam", 0.1, None, momentum=0.9)


def linear_model():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, kernel_initializer="ones")])
    return model


def train(model, name, peak, steps, **rate):
    """Compile as the trainings do, make some steps on the same data, and return the weights."""
    compile_once(
        model,
        name,
        lambda rate: build_optimizer(name, rate, 0.01, momentum=0.9),
        peak,
        loss="mse",
        jit_compile="auto",
        **rate,
    )
    rng = np.random.default_rng(0)
    model.fit(rng.normal(size=(4 * steps, 3)), rng.normal(size=(4 * steps, 2)), 4, 1, shuffle=False, verbose=0)
    return [weight.copy() for weight in model.get_weights()]


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("rate", [{}, {"warmup_steps": 2}, {"warmup_steps": 2, "total_steps": 9, "floor": 0.1}])
def test_a_second_training_is_that_of_a_new_model(name, rate):
    """Momentum, step count and rate of the first training are gone; the compiled step stays."""
    used, start = linear_model(), linear_model().get_weights()
    train(used, name, 0.1, 6, **rate)
    compiled, optimizer = used.train_function, used.optimizer
    used.set_weights(start)
    second = {**rate, **({"total_steps": 5} if "total_steps" in rate else {})}
    found, expected = train(used, name, 0.03, 5, **second), train(linear_model(), name, 0.03, 5, **second)
    assert used.train_function is compiled and used.optimizer is optimizer
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)
        assert not np.allclose(one, start[0] if one.ndim == 2 else start[1])


def test_the_step_is_traced_once():
    calls = []

    class Counting(keras.layers.Dense):
        def call(self, inputs):
            calls.append(1)
            return super().call(inputs)

    model = keras.Sequential([keras.Input((3,)), Counting(2)])
    train(model, "adamw", 0.1, 3, total_steps=3)
    if keras.backend.backend() == "torch":
        return
    before = len(calls)
    train(model, "adamw", 0.01, 3, total_steps=3)
    assert len(calls) == before


@pytest.mark.parametrize("change", ["settings", "trainable", "schedule", "compiled by the user"])
def test_what_differs_is_compiled_anew(change):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2), keras.layers.Dense(2)])
    train(model, "sgd", 0.1, 2)
    optimizer = model.optimizer
    if change == "trainable":
        model.layers[0].trainable = False
    if change == "compiled by the user":
        model.compile("sgd", "mse")
    train(model, "adamw" if change == "settings" else "sgd", 0.1, 2, warmup_steps=int(change == "schedule"))
    assert model.optimizer is not optimizer
    assert len(model.optimizer._trainable_variables) == len(model.trainable_variables)


def test_a_restart_resets_the_scale_of_the_loss():
    inner = build_optimizer("adamw", WarmupSchedule(0.1, 2), 0.01, momentum=0.9)
    scaled = keras.optimizers.LossScaleOptimizer(inner, initial_scale=8.0)
    scaled.build([keras.Variable(np.ones(2, "float32"), name="kernel")])
    before = [np.array(keras.ops.convert_to_numpy(variable)) for variable in scaled.variables]
    for variable in scaled.variables:
        if variable.name not in RATES:
            variable.assign(keras.ops.full(variable.shape, 3, variable.dtype))
    restart(scaled)
    for variable, value in zip(scaled.variables, before, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), value, variable.name)


def test_a_constant_schedule_does_not_become_a_cosine():
    with pytest.raises(ValueError, match="stays what it is"):
        WarmupSchedule(0.1, 2).set(0.1, 2, 10)


@pytest.mark.parametrize("loss", [np.nan, np.inf, -np.inf])
def test_a_loss_that_is_not_finite_stops(loss):
    guard = LossGuard()
    guard.on_train_batch_end(0, {"loss": 1.0})
    guard.on_train_batch_end(1, None)
    with pytest.raises(FloatingPointError, match=f"{loss} in step 3 of the epoch"):
        guard.on_train_batch_end(2, {"loss": loss})
