"""Where the time of a training step and of a detection goes, with the arithmetic limit of each stage beside it.

Each stage is run alone, compiled, on inputs of the size it has in the whole; of a detection's stages the fastest call
counts, of a training step's the median. The limit is its multiplications and
additions at the rate that the same machine reaches in a large float32 matrix product: the time no convolution by
multiplication can beat. `ratio` is time over limit; stages without matrix arithmetic have none.
"""

import argparse
import time

import numpy as np

from benchmarks.ours import TissueImage, calm, configuration, use_precision
from benchmarks.workers import limit_threads


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--detections", type=int, default=150)
    parser.add_argument("--repeats", type=int, default=4, help="calls of each stage")


def run(arguments: argparse.Namespace) -> list[dict]:
    limit_threads()
    settings = {"side": arguments.side, "detections": arguments.detections, "precision": "float32"}
    use_precision(settings)
    from benchmarks.training_stages import TrainingStages

    stages = DetectionStages(settings, arguments.repeats)
    rate = stages.matrix_rate()
    rows = [("matrix product of 4096 x 2304 x 512", 2 * 4096 * 2304 * 512, stages.matrix_seconds)]
    rows += stages.forward(arguments.detections)
    rows += [(f"training: {stage}", *rest) for stage, *rest in TrainingStages(settings, arguments.repeats).rows()]
    return [
        {
            "case": case,
            "ours_s": taken,
            "peer": "arithmetic limit" if work else None,
            "peer_s": work / rate if work else None,
            "ratio": taken * rate / work if work else None,
            "gflop": work / 1e9 if work else None,
        }
        for case, work, taken in rows
    ]


class DetectionStages:
    """The stages of a detection; `forward` returns `(case, floating-point operations or None, seconds)` rows."""

    def __init__(self, settings: dict, repeats: int):
        from cyclic.mrcnn.model import MaskRCNN

        self.repeats, self.config = repeats, configuration(settings)
        model = MaskRCNN("inference", self.config)
        self.network = model.network
        calm(self.network)
        self.image = model.mold_inputs([TissueImage(settings["side"], 0).image])[0]

    def matrix_rate(self) -> float:
        """Return floating-point operations a second of a large matrix product."""
        import keras

        rng = np.random.default_rng(0)
        a = keras.ops.convert_to_tensor(rng.normal(size=(4096, 2304)).astype("float32"))
        b = keras.ops.convert_to_tensor(rng.normal(size=(2304, 512)).astype("float32"))
        self.matrix_seconds = self._fastest(lambda: keras.ops.convert_to_numpy(keras.ops.matmul(a, b)))
        return 2 * 4096 * 2304 * 512 / self.matrix_seconds

    def forward(self, detections: int) -> list[tuple]:
        """Return the stages of a detection."""
        from benchmarks.work import operations
        from cyclic.mrcnn.layers.network import detection_model, mask_model

        network, config = self.network, self.config
        features = network.backbone.predict_on_batch(self.image)
        pyramid = network.fpn.predict_on_batch(features)
        rois = np.float32(np.random.default_rng(0).random((1, config.POST_NMS_ROIS_INFERENCE, 4)) * 0.1)
        rois[..., 2:] += rois[..., :2] + 0.02
        pooled = np.zeros((rois.shape[1], config.POOL_SIZE, config.POOL_SIZE, pyramid[0].shape[-1]), "float32")
        masked = np.zeros((detections, config.MASK_POOL_SIZE, config.MASK_POOL_SIZE, pyramid[0].shape[-1]), "float32")
        boxes = rois[:, :detections]
        whole, masks = detection_model(network), mask_model(network)
        levels = {f"p{level}": value for level, value in enumerate(pyramid[:4], 2)}
        inputs = {"image": self.image, "window": np.float32([[0, 0, 1, 1]])}
        parts = {
            "backbone": ((network.backbone, self.image),),
            "FPN": ((network.fpn, features),),
            "RPN": tuple((network.rpn, level) for level in pyramid),
            "box head": ((network.box_head, pooled),),
            "mask head": ((network.mask_head, masked),),
        }
        rows = []
        for name, calls in parts.items():
            taken = sum(self._fastest(lambda call=call: call[0].predict_on_batch(call[1])) for call in calls)
            rows.append((f"detection: {name}", sum(operations(model, x) for model, x in calls), taken))
        total = self._fastest(lambda: whole.predict_on_batch(inputs))
        total_masks = self._fastest(lambda: masks.predict_on_batch({"boxes": boxes, **levels}))
        rest = total + total_masks - sum(row[2] for row in rows)
        rows.append(("detection: proposals, ROIAlign, suppression, copies", None, max(rest, 0.0)))
        rows.append(("detection: whole network", sum(row[1] for row in rows[:5]), total + total_masks))
        return rows

    def _fastest(self, call) -> float:
        call()
        times = []
        for _ in range(self.repeats):
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
        return min(times)
