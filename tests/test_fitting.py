"""Optimizers spare biases and norms, and a loss that is no number stops the training."""

import keras
import numpy as np
import pytest

from cyclic.errors import InputError
from cyclic.fitting import OPTIMIZERS, LossGuard, build_optimizer


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_only_kernels_decay(name):
    weights = [keras.Variable(np.ones(2), name=part) for part in ("kernel", "bias", "gamma", "beta")]
    optimizer = build_optimizer(name, 0.5, 0.1, momentum=0.9)
    optimizer.apply([np.zeros(2, "float32")] * 4, weights)
    np.testing.assert_allclose([weight.numpy()[0] for weight in weights], [0.95, 1, 1, 1], rtol=1e-6)


def test_without_decay_and_gradients_nothing_moves():
    kernel = keras.Variable(np.ones(2), name="kernel")
    build_optimizer("sgd", 0.5, None, momentum=0.9).apply([np.zeros(2, "float32")], [kernel])
    np.testing.assert_array_equal(kernel.numpy(), [1, 1])


def test_options_reach_the_optimizer():
    optimizer = build_optimizer("sgd", 0.1, 0.0, momentum=0.9, nesterov=True, global_clipnorm=2.0)
    assert optimizer.momentum == 0.9 and optimizer.nesterov and optimizer.global_clipnorm == 2.0


def test_unknown_optimizer():
    with pytest.raises(InputError, match="unknown optimizer 'adam': use one of adamw, sgd"):
        build_optimizer("adam", 0.1, None, momentum=0.9)


@pytest.mark.parametrize("loss", [np.nan, np.inf, -np.inf])
def test_a_loss_that_is_not_finite_stops(loss):
    guard = LossGuard()
    guard.on_train_batch_end(0, {"loss": 1.0})
    guard.on_train_batch_end(1, None)
    with pytest.raises(FloatingPointError, match=f"{loss} in step 3 of the epoch"):
        guard.on_train_batch_end(2, {"loss": loss})
