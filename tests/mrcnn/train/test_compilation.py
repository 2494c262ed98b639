"""A training step is compiled once, whatever the images hold."""

import keras
import numpy as np
import pytest
from tiny_model import OneImage, TinyConfig, small_network

from cyclic.mrcnn.data.loader import DataGenerator
from cyclic.mrcnn.kernels import nms
from cyclic.mrcnn.model import MaskRCNN


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="runs operation by operation")
def test_other_numbers_of_instances_compile_nothing(monkeypatch):
    # JAX as on a GPU.
    monkeypatch.setattr(nms, "_on_cpu", lambda: False)
    monkeypatch.setattr(nms, "TILE", 64)
    config = TinyConfig()
    model = MaskRCNN("training", config, network=small_network(config))
    model.set_trainable("all")
    model.compile(0.01, 0.9, 10)
    traced = []
    compute_loss = model.keras_model.compute_loss
    # Python runs it when the step is traced, and only then.
    monkeypatch.setattr(
        model.keras_model, "compute_loss", lambda *given, **named: traced.append(1) or compute_loss(*given, **named)
    )
    (full,), (empty,) = (DataGenerator(OneImage(empty=empty), config, seed=0)[0] for empty in (False, True))
    fewer = {**full, "gt_class_ids": np.where(np.arange(config.MAX_GT_INSTANCES) < 2, full["gt_class_ids"], 0)}
    counts = [int((batch["gt_class_ids"] > 0).sum()) for batch in (full, fewer, empty)]
    assert counts[0] > counts[1] > counts[2] == 0
    model.keras_model.train_on_batch(full)
    first = len(traced)
    for batch in (full, fewer, empty):
        model.keras_model.train_on_batch(batch)
    assert len(traced) == first > 0
