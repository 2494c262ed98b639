"""torchvision's `maskrcnn_resnet50_fpn` as a contender, with random weights and frozen batch norm, as ours has."""

import numpy as np

from benchmarks.ours import LEARNING_RATE, RESIDUAL_GAMMA, TissueImage
from benchmarks.workers import THREADS


def build(settings: dict, **options):
    """Return the model for images of `settings["side"]`; `options` go to torchvision."""
    import torch
    import torchvision

    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    model = torchvision.models.detection.maskrcnn_resnet50_fpn(
        weights=None,
        weights_backbone=None,
        num_classes=2,
        min_size=settings["side"],
        max_size=settings["side"],
        trainable_backbone_layers=5,
        rpn_anchor_generator=torchvision.models.detection.rpn.AnchorGenerator(
            tuple((size,) for size in (8, 16, 32, 64, 128)), ((0.5, 1.0, 2.0),) * 5
        ),
        rpn_pre_nms_top_n_train=settings.get("proposals", 2000),
        rpn_post_nms_top_n_train=settings.get("proposals", 2000),
        rpn_pre_nms_top_n_test=6000,
        rpn_post_nms_top_n_test=settings.get("proposals", 2000),
        rpn_nms_thresh=0.9,
        box_batch_size_per_image=settings.get("rois", 128),
        **options,
    )
    _freeze_batch_norm(model)
    return model


def tensor(image: np.ndarray):
    import torch

    return torch.from_numpy(image.astype(np.float32).transpose(2, 0, 1) / 255)


class TrainingStep:
    """Forward, losses, backward and SGD step on one image."""

    def __init__(self, settings: dict):
        import torch

        self.model = build(settings).train()
        data = TissueImage(settings["side"], 0)
        ids = np.unique(data.labels)[1:][:100]
        masks = data.labels == ids[:, None, None]
        spans = [(np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))) for mask in masks]
        boxes = np.float32([(x[0], y[0], x[-1] + 1, y[-1] + 1) for y, x in spans])
        target = {
            "boxes": torch.from_numpy(boxes),
            "labels": torch.ones(len(ids), dtype=torch.int64),
            "masks": torch.from_numpy(masks.astype(np.uint8)),
        }
        batch = settings.get("batch", 1)
        self.images, self.targets = [tensor(data.image)] * batch, [target] * batch
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.SGD(parameters, LEARNING_RATE, momentum=0.9, weight_decay=1e-4)
        self.autocast = torch.autocast("cpu", torch.bfloat16, enabled=settings.get("precision") == "mixed_bfloat16")
        self.facts = {"nuclei": len(ids), "rois": settings.get("rois", 128)}

    def __call__(self):
        with self.autocast:
            losses = self.model(self.images, self.targets)
        self.optimizer.zero_grad()
        sum(losses.values()).backward()
        self.optimizer.step()


class Detect:
    """Detection in one image, masks pasted into the image included."""

    def __init__(self, settings: dict):
        self.model = build(
            settings, box_detections_per_img=settings["detections"], box_score_thresh=0.0, box_nms_thresh=0.9
        ).eval()
        self.image = tensor(TissueImage(settings["side"], 0).image)
        self.proposals = 0
        self.model.roi_heads.register_forward_pre_hook(self._count)
        self.facts = {"detections": self(), "proposals": self.proposals}

    def _count(self, module, inputs):
        self.proposals = len(inputs[1][0])

    def __call__(self):
        import torch

        with torch.inference_mode():
            return len(self.model([self.image])[0]["scores"])


def _freeze_batch_norm(module) -> None:
    import torch
    from torchvision.ops import FrozenBatchNorm2d

    for name, child in module.named_children():
        if isinstance(child, torch.nn.BatchNorm2d):
            frozen = FrozenBatchNorm2d(child.num_features)
            frozen.weight *= RESIDUAL_GAMMA if name == "bn3" else 1.0
            setattr(module, name, frozen)
        else:
            _freeze_batch_norm(child)
