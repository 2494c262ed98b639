"""Smaller weights files: how near the weights are, how small the file is, and that damage is still seen."""

import h5py
import keras
import numpy as np
import pytest

from cyclic.errors import InputError
from cyclic.mrcnn.weights import h5
from cyclic.mrcnn.weights.compact import write_compact


def network(seed=0):
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(32, 3, name="first", bias_initializer="normal"),
            keras.layers.Conv2D(256, 3, name="second"),
        ]
    )


@pytest.fixture
def full(tmp_path):
    h5.save_weights(tmp_path / "full.h5", network(), {"run_config": "{}"})
    h5.save_weights(tmp_path / "part.h5", network(1))
    h5.add_part(tmp_path / "full.h5", "other", tmp_path / "part.h5")
    return tmp_path / "full.h5"


@pytest.mark.parametrize(("kind", "near", "share"), [("half", 2**-11, 0.6), ("int8", 1 / 254, 0.5)])
def test_weights_come_back_nearly_as_they_were(full, tmp_path, kind, near, share):
    small = tmp_path / f"{kind}.h5"
    write_compact(full, small, kind)
    for part, seed in ((None, 0), ("other", 1)):
        loaded, expected = network(7), network(seed)
        assert not h5.load_weights(small, loaded, part=part).missing
        for got, weight in zip(loaded.weights, expected.weights, strict=True):
            largest = np.abs(weight.numpy()).max()
            assert got.dtype == "float32"
            assert np.abs(got.numpy() - weight.numpy()).max() <= near * max(largest, 1e-9)
    assert h5.read_attributes(small)["run_config"] == "{}" and small.stat().st_size < share * full.stat().st_size


def test_small_weights_stay_half_and_a_dead_channel_stays_zero(full, tmp_path):
    model = network()
    kernel = model.layers[1].kernel.numpy()
    kernel[..., 5] = 0
    model.layers[1].kernel.assign(kernel)
    h5.save_weights(full, model)
    write_compact(full, tmp_path / "small.h5", "int8")
    with h5py.File(tmp_path / "small.h5") as file:
        assert file["first/first/kernel:0"].dtype == np.float16 and file["second/second/kernel:0"].dtype == np.int8
    loaded = network(7)
    h5.load_weights(tmp_path / "small.h5", loaded)
    assert (loaded.layers[1].kernel.numpy()[..., 5] == 0).all()


@pytest.mark.parametrize("name", ["second/second/kernel:0", "second/second/kernel:0_scale", "first/first/bias:0"])
def test_a_changed_number_is_seen(full, tmp_path, name):
    write_compact(full, tmp_path / "small.h5", "int8")
    with h5py.File(tmp_path / "small.h5", "r+") as file:
        values = file[name][()]
        values.flat[0] += 1
        file[name][...] = values
    with pytest.raises(InputError, match="is not what was written there"):
        h5.load_weights(tmp_path / "small.h5", network())


def test_a_number_that_float16_does_not_hold_is_refused(full, tmp_path):
    model = network()
    model.layers[0].bias.assign(np.full(32, 1e6, np.float32))
    h5.save_weights(full, model)
    with pytest.raises(InputError, match="too large for float16"):
        write_compact(full, tmp_path / "small.h5", "half")
    assert not (tmp_path / "small.h5").exists()
