"""Training on two devices computes what one device does with the whole batch; one processor stands for both."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[2]
DEVICES = """if True:
    import json
    import os
    import keras

    if os.environ["KERAS_BACKEND"] == "tensorflow":
        import tensorflow as tf

        processor = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * 2)
"""
TRAIN = """
    from tiny_model import OneImage, TinyConfig, small_network
    from cyclic.mrcnn.kernels.devices import shared_by
    from cyclic.mrcnn.model import MaskRCNN

    def losses(devices):
        class Shared(TinyConfig):
            GPU_COUNT, IMAGES_PER_GPU = devices, 2 // devices

        keras.utils.set_random_seed(0)
        with shared_by(devices):
            network = small_network(Shared())
        model = MaskRCNN("training", Shared(), network=network)
        return model.train(OneImage(), None, 1e-3, epochs=2, verbose=0).history

    print(json.dumps([losses(1), losses(2)]))
"""
RUN = """
    import numpy as np
    from cyclic.config import load_config
    from cyclic.networks import Models

    small = ("backbone.name=resnet18", "mask_rcnn.width=tiny", "mask_rcnn.crop=64", "mask_rcnn.devices=2")
    models = Models(load_config([], small))
    trainer = models.trainer(0, steps_per_epoch=1)

    def weights(network):
        return [weight for layer in network.layers for weight in layer.get_weights()]

    def equal():
        return all(map(np.array_equal, weights(models.network), weights(trainer.network)))

    found = [len(weights(models.network)), trainer.network is models.network, equal()]
    for layer in trainer.network.layers:
        layer.set_weights([weight + 1 for weight in layer.get_weights()])
    found.append(equal())
    models.take_trained(trainer)
    print(json.dumps([*found, equal(), trainer.config.BATCH_SIZE]))
"""
REFUSED = """
    from tiny_model import TinyConfig
    from cyclic.errors import InputError
    from cyclic.mrcnn.kernels.devices import shared_by

    try:
        shared_by(3)
    except InputError as error:
        print(error)
"""
BACKENDS = [
    "tensorflow",
    pytest.param(
        "jax", marks=pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed")
    ),
]


def run(script, backend):
    """Run a script where a backend has two devices, with the modules of `tests/mrcnn`; return what it printed."""
    paths = os.pathsep.join([str(TESTS / "mrcnn"), str(TESTS.parent), *sys.path])
    given = {"KERAS_BACKEND": backend, "PYTHONPATH": paths, "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    command = [sys.executable, "-c", DEVICES + script]
    done = subprocess.run(command, env=os.environ | given, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize("backend", BACKENDS)
def test_losses_on_two_devices_are_those_of_one_with_the_doubled_batch(backend):
    alone, shared = json.loads(run(TRAIN, backend))
    assert alone["loss"][0] > 0
    for name, values in alone.items():
        assert shared[name] == pytest.approx(values, rel=1e-4, abs=1e-6), name


def test_the_weights_of_a_run_go_to_the_devices_and_come_back():
    count, one_object, *equal, batch = json.loads(run(RUN, "tensorflow"))
    assert count > 0 and not one_object and batch == 2
    assert equal == [True, False, True]


def test_more_devices_than_there_are():
    assert run(REFUSED, "tensorflow").startswith("3 devices asked for: tensorflow has 2, ")
