"""Sums of gradients on TensorFlow. The mode holds for a whole process, so some tests have one of their own."""

import json
import os
import subprocess
import sys

import keras
import pytest
from tiny_model import OneImage, TinyConfig

from cyclic.config import RunConfig
from cyclic.mrcnn.kernels.determinism import add_in_one_order
from cyclic.mrcnn.model import MaskRCNN
from cyclic.networks import Models

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="a mode of TensorFlow")

# Each box is the whole map, sampled once a position. So each position has a gradient of one a box, on any processor.
CODE = """
import json
import numpy as np
import tensorflow as tf
from cyclic.mrcnn.kernels.crops import crop_pyramid
from cyclic.mrcnn.kernels.determinism import add_in_one_order

add_in_one_order()
boxes = 256
first, whole = np.zeros(boxes, "int32"), tf.constant([[0.0, 0.0, 1.0, 1.0]] * boxes)
maps, seen = tf.zeros((1, 16, 16, 64)), set()
for _ in range(20):
    with tf.GradientTape() as tape:
        tape.watch(maps)
        total = tf.reduce_sum(crop_pyramid([maps], whole, first, first, 16))
    seen.update(np.unique(tape.gradient(total, maps)).tolist())
print(json.dumps({"gradients": sorted(seen), "random": float(tf.random.uniform(()))}))
"""


@pytest.fixture(scope="module")
def two_processes():
    alone = {"CUDA_VISIBLE_DEVICES": "", "TF_DETERMINISTIC_OPS": "0", "PYTHONPATH": os.pathsep.join(sys.path)}
    call = [sys.executable, "-c", CODE]
    return [json.loads(subprocess.check_output(call, env=os.environ | alone)) for _ in range(2)]


def test_gradients_of_crops_lose_nothing(two_processes):
    assert two_processes[0]["gradients"] == [256]


def test_numbers_without_a_seed_stay_random(two_processes):
    assert two_processes[0]["random"] != two_processes[1]["random"]


def test_a_seed_stays():
    import tensorflow as tf

    keras.utils.set_random_seed(3)
    add_in_one_order()
    assert tf.compat.v1.get_seed(None)[0] == 3


@pytest.mark.parametrize("door", ["models of a run", "Matterport's train"])
def test_trainings_add_in_one_order(door, monkeypatch):
    class AskedError(Exception):
        pass

    def ask():
        raise AskedError

    monkeypatch.setattr("cyclic.networks.add_in_one_order", ask)
    monkeypatch.setattr("cyclic.mrcnn.model.add_in_one_order", ask)
    with pytest.raises(AskedError):
        if door == "models of a run":
            Models(RunConfig())
        else:
            MaskRCNN("training", TinyConfig()).train(OneImage(), None, 0.01, 1)
