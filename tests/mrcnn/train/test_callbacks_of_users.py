"""Callbacks that users bring along: they see the epoch's checkpoint, and may change the learning rate."""

import keras
import numpy as np
import pytest
from tiny_model import OneImage, TinyConfig, small_network

from cyclic.mrcnn.model import MaskRCNN
from cyclic.mrcnn.train.run_folder import RunFolder


@pytest.fixture(scope="module")
def compiled():
    """One model for all tests, since TensorFlow traces its step only once."""
    config = TinyConfig()
    return MaskRCNN("training", config, network=small_network(config))


@pytest.fixture
def model(compiled, tmp_path):
    compiled.restart(seed=0)
    compiled.folder = RunFolder(str(tmp_path), compiled.config.NAME)
    return compiled


def train(model, *callbacks, epochs=2):
    return model.train(OneImage(), None, 1e-3, epochs, custom_callbacks=list(callbacks), verbose=0)


def test_the_checkpoint_of_an_epoch_is_there_when_they_run(model):
    last = []
    train(model, keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: last.append(model.find_last()[-7:])))
    assert last == ["0001.h5", "0002.h5"]


def test_a_scheduler_sets_the_rate_of_each_epoch(model):
    rates = []
    seen = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: rates.append(float(model.keras_model.optimizer.learning_rate))
    )
    train(model, keras.callbacks.LearningRateScheduler(lambda epoch: 1e-3 / (epoch + 1)), seen)
    np.testing.assert_allclose(rates, [1e-3, 5e-4])


def test_a_plateau_reduces_the_rate(model):
    callback = keras.callbacks.ReduceLROnPlateau(monitor="loss", factor=0.1, patience=0, min_delta=1e6, min_lr=0.0)
    train(model, callback, epochs=3)
    assert float(model.keras_model.optimizer.learning_rate) < 1e-3


@pytest.mark.parametrize("setting", [{"LR_SCHEDULE": "cosine"}, {"WARMUP_STEPS": 3}])
@pytest.mark.parametrize(
    "callback", [keras.callbacks.LearningRateScheduler(lambda epoch: 1e-5), keras.callbacks.ReduceLROnPlateau()]
)
def test_a_callback_and_a_schedule_do_not_both_set_the_rate(model, callback, setting, monkeypatch):
    """Keras would raise at the callback's first change, which may be hours later."""
    for name, value in setting.items():
        monkeypatch.setattr(model.config, name, value)
    with pytest.raises(ValueError, match=f"{type(callback).__name__} and the schedule .*WARMUP_STEPS = 0"):
        train(model, callback)
    assert model.epoch == 0


def test_keras_own_checkpoint_of_weights_needs_its_ending_and_loads(model, tmp_path):
    checkpoint = keras.callbacks.ModelCheckpoint
    with pytest.raises(ValueError, match=r"\.weights\.h5"):
        checkpoint(str(tmp_path / "mine.h5"), save_weights_only=True)
    train(model, checkpoint(str(tmp_path / "mine.weights.h5"), save_weights_only=True), epochs=1)
    config = TinyConfig()
    other = MaskRCNN("inference", config, network=small_network(config))
    assert not other.load_weights(tmp_path / "mine.weights.h5").missing and other.epoch == 0


def test_training_goes_on_from_a_checkpoint_at_the_rate_asked_for(model, tmp_path):
    train(model, keras.callbacks.LearningRateScheduler(lambda epoch: 1e-5))
    config = TinyConfig()
    resumed = MaskRCNN("training", config, str(tmp_path), network=small_network(config))
    resumed.load_weights(resumed.find_last())
    train(resumed, epochs=3)
    assert resumed.epoch == 3 and float(resumed.keras_model.optimizer.learning_rate) == pytest.approx(1e-3)
