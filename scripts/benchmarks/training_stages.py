"""The stages of a training step: each compiled alone, on the inputs that it has within the step."""

import statistics
import time

import keras
import numpy as np

from benchmarks import accelerator
from benchmarks.gradients import loss_and_gradients
from benchmarks.ours import LEARNING_RATE, TissueImage, calm, configuration, use_precision
from benchmarks.work import backward_operations, step_operations, training_operations
from cyclic.mrcnn.data.loader import DataGenerator
from cyclic.mrcnn.kernels.on_device import on_device
from cyclic.mrcnn.model import MaskRCNN

# Side of the matrices whose product tells the rate that a card reaches.
MATRIX_SIDE = 8192
WARM_UP = 3


class TrainingStages:
    """The stages of one training step; `rows` returns `(case, floating-point operations or None, seconds)` of each.

    Args:
        settings: those of `ours.TrainingStep`.
        repeats: the median of so many calls counts.
    """

    def __init__(self, settings: dict, repeats: int):
        self.backend, self.repeats = keras.backend.backend(), repeats
        accelerator.set_precision(self.backend, settings["precision"])
        self.wait = accelerator.waiter(self.backend)
        use_precision(settings)
        config = configuration(settings)
        model = MaskRCNN("training", config)
        calm(model.network)
        model.compile(LEARNING_RATE, config.LEARNING_MOMENTUM)
        self.keras_model, self.network = model.keras_model, model.network
        self.data = DataGenerator(TissueImage(settings["side"], 0), config)
        (self.batch,) = self.data[0]
        self.work = training_operations(self.network)

    def rows(self) -> list[tuple]:
        parts = self._parts()
        loss, gradients = loss_and_gradients(self.keras_model)
        batch = self._on_device(self.batch)
        copied = self._seconds(lambda: self._on_device(self.batch))
        forward = self._seconds(lambda: loss(batch))
        both = self._seconds(lambda: gradients(batch))
        optimizer = self._seconds(self._optimizer())
        step = self._seconds(lambda: self.keras_model.train_on_batch(self.batch))
        host = self._seconds(lambda: self.data[0])
        return [
            *parts,
            ("forward with losses", sum(self.work.values()), forward),
            ("backward", backward_operations(self.work), both - forward),
            ("optimizer with clipping", None, optimizer),
            ("batch to the device", None, copied),
            ("rest of the step: metrics, Keras", None, max(step - both - optimizer - copied, 0.0)),
            ("whole step", step_operations(self.work), step),
            ("host makes the next batch, beside the step", None, host),
        ]

    def matrix_product(self, dtype: str, side: int = MATRIX_SIDE) -> tuple[float, float]:
        """Return operations and seconds of one product of two square matrices."""
        values = np.random.default_rng(0).normal(size=(side, side)).astype("float32")
        a = keras.ops.cast(keras.ops.convert_to_tensor(values), dtype)
        return 2.0 * side**3, self._seconds(lambda: keras.ops.matmul(a, a))

    def _parts(self) -> list[tuple]:
        network, layer = self.network, self.keras_model.get_layer
        names = {
            "proposals": "ROI",
            "targets": "proposal_targets",
            "RPN, sampled anchors": "sampled_anchors",
            "ROIAlign, box head": "roi_align_classifier",
            "ROIAlign, mask head": "roi_align_mask",
            "losses": "losses",
        }
        layers = {part: layer(name) for part, name in names.items()}
        given = {part: each.input for part, each in layers.items()}
        heads = {head: layers[f"ROIAlign, {head}"].output for head in ("box head", "mask head")}
        models = {part: keras.Model(each.input, each.output) for part, each in layers.items()}
        models |= {"box head": network.box_head, "mask head": network.mask_head}
        inputs = on_device(keras.Model(self.keras_model.input, given | heads))(self._on_device(self.batch))
        image = self._on_device(self.batch["image"])
        backbone, fpn = on_device(network.backbone), on_device(network.fpn)
        features = backbone(image)
        pyramid = fpn(features)
        symbols = [keras.Input(level.shape[1:]) for level in pyramid]
        models["RPN"] = keras.Model(symbols, [network.rpn(level) for level in symbols])
        inputs["RPN"] = pyramid
        order = ("RPN", "RPN, sampled anchors", "proposals", "targets")
        order += ("ROIAlign, box head", "box head", "ROIAlign, mask head", "mask head", "losses")
        rows = [
            ("backbone", self.work["backbone"], self._seconds(lambda: backbone(image))),
            ("FPN", self.work["FPN"], self._seconds(lambda: fpn(features))),
        ]
        for part in order:
            call = on_device(models[part])
            seconds = self._seconds(lambda call=call, part=part: call(inputs[part]))
            rows.append((part, self.work.get(part), seconds))
        return rows

    def _optimizer(self):
        """Return a function that applies gradients of zero, compiled."""
        optimizer, variables = self.keras_model.optimizer, self.keras_model.trainable_variables
        gradients = [keras.ops.zeros(weight.shape, weight.dtype) for weight in variables]
        if self.backend == "tensorflow":
            import tensorflow as tf

            return tf.function(lambda: optimizer.apply(gradients, variables))
        if self.backend == "jax":
            import jax

            apply = jax.jit(optimizer.stateless_apply, donate_argnums=(0, 2))
            state = [[v.value + 0 for v in each] for each in (optimizer.variables, variables)]

            def step():
                weights, own = apply(state[0], gradients, state[1])
                state[:] = own, weights
                return state

            return step
        import torch

        return torch.no_grad()(lambda: optimizer.apply(gradients, variables))

    def _on_device(self, values):
        return keras.tree.map_structure(keras.ops.convert_to_tensor, values)

    def _seconds(self, call) -> float:
        times = []
        for _ in range(WARM_UP + self.repeats):
            start = time.perf_counter()
            self.wait(call())
            times.append(time.perf_counter() - start)
        return statistics.median(times[WARM_UP:])
