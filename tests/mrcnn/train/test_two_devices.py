"""Training on two devices computes what one device does with the whole batch; JAX makes two of one processor.

JAX divides one computation of the whole batch. TensorFlow's MirroredStrategy would be another method, and is refused:
each replica takes the mean over the ROIs of its own images, and the mean of such means is another loss.
"""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[2]
TRAIN = """if True:
    import json
    import keras
    from tiny_model import OneImage, TinyConfig, small_network
    from cyclic.mrcnn.model import MaskRCNN

    class TwoImages(TinyConfig):
        IMAGES_PER_GPU = 2

    def losses():
        keras.utils.set_random_seed(0)
        config = TwoImages()
        model = MaskRCNN("training", config, network=small_network(config))
        history = model.train(OneImage(), None, 1e-3, epochs=2, verbose=0).history
        placed = {device for weight in model.keras_model.weights for device in weight.value.devices()}
        return len(placed), history

    one = losses()
    devices = keras.distribution.list_devices("cpu")
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=devices))
    print(json.dumps([one, losses()]))
"""
REFUSED = """if True:
    import tensorflow as tf
    from tiny_model import OneImage, TinyConfig, small_network
    from cyclic.errors import InputError
    from cyclic.mrcnn.model import MaskRCNN

    processor = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * 2)
    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
        model = MaskRCNN("training", TinyConfig(), network=small_network(TinyConfig()))
    try:
        model.train(OneImage(), None, 1e-3, epochs=1, verbose=0)
    except InputError as error:
        print(error)
"""


def run(script, environment):
    """Run a script with the modules of `tests/mrcnn`, and return what it printed."""
    paths = os.pathsep.join([str(TESTS / "mrcnn"), str(TESTS.parent), *sys.path])
    given = os.environ | {"PYTHONPATH": paths} | environment
    done = subprocess.run([sys.executable, "-c", script], env=given, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_several_devices_are_refused_on_tensorflow():
    said = run(REFUSED, {"KERAS_BACKEND": "tensorflow"})
    assert said.startswith("2 devices on TensorFlow") and "KERAS_BACKEND=jax" in said


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed")
def test_losses_on_two_devices_are_those_of_one_with_the_doubled_batch():
    said = run(TRAIN, {"KERAS_BACKEND": "jax", "XLA_FLAGS": "--xla_force_host_platform_device_count=2"})
    (few, alone), (more, shared) = json.loads(said.splitlines()[-1])
    assert (few, more) == (1, 2) and alone["loss"][0] > 0
    for name, values in alone.items():
        assert shared[name] == pytest.approx(values, rel=1e-4, abs=1e-6), name
