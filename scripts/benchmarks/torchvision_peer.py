"""torchvision's `maskrcnn_resnet50_fpn` as a contender, with random weights and frozen batch norm, as ours has."""

import numpy as np

from benchmarks.ours import LEARNING_RATE, RESIDUAL_GAMMA, TissueImage
from benchmarks.workers import THREADS


def build(settings: dict, **options):
    """Return the model for images of `settings["side"]`, on `settings["device"]` ("cpu" if it is missing).

    `options` go to torchvision.
    """
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
    return model.to(device(settings))


def device(settings: dict) -> str:
    return settings.get("device", "cpu")


def autocast(settings: dict):
    """Return the context that computes in the precision of `settings`."""
    import torch

    enabled = settings.get("precision") == "mixed_bfloat16"
    return torch.autocast(device(settings), torch.bfloat16, enabled=enabled)


def tensor(image: np.ndarray):
    import torch

    return torch.from_numpy(image.astype(np.float32).transpose(2, 0, 1) / 255)


def loaded(value, settings: dict):
    """Return a tensor as a data loader gives it: pinned, where it goes on to a GPU."""
    return value if device(settings) == "cpu" else value.pin_memory()


class TrainingStep:
    """Forward, losses, backward and SGD step on images that lie in the host's memory."""

    def __init__(self, settings: dict):
        import torch

        self.device = device(settings)
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
        target = {name: loaded(value, settings) for name, value in target.items()}
        batch = settings.get("batch", 1)
        self.images, self.targets = [loaded(tensor(data.image), settings)] * batch, [target] * batch
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.SGD(parameters, LEARNING_RATE, momentum=0.9, weight_decay=1e-4)
        self.autocast = autocast(settings)
        self.facts = {"nuclei": len(ids), "rois": settings.get("rois", 128)}

    def __call__(self):
        images = [self._moved(image) for image in self.images]
        targets = [{name: self._moved(value) for name, value in target.items()} for target in self.targets]
        with self.autocast:
            losses = self.model(images, targets)
        self.optimizer.zero_grad()
        sum(losses.values()).backward()
        self.optimizer.step()

    def _moved(self, value):
        return value.to(self.device, non_blocking=True)


class Detect:
    """Detection in `settings["batch"]` images (one, if it is missing), masks pasted into the image included.

    The masks end in the host's memory, as ours do.
    """

    def __init__(self, settings: dict):
        self.model = build(
            settings, box_detections_per_img=settings["detections"], box_score_thresh=0.0, box_nms_thresh=0.9
        ).eval()
        self.device, self.autocast = device(settings), autocast(settings)
        image = loaded(tensor(TissueImage(settings["side"], 0).image), settings)
        self.images = [image] * settings.get("batch", 1)
        self.proposals = 0
        self.model.roi_heads.register_forward_pre_hook(self._count)
        self.facts = {"detections": self(), "proposals": self.proposals}

    def _count(self, module, inputs):
        self.proposals = len(inputs[1][0])

    def __call__(self):
        import torch

        with torch.inference_mode(), self.autocast:
            found = self.model([image.to(self.device, non_blocking=True) for image in self.images])
            if self.device != "cpu":
                for each in found:
                    (each["masks"] > 0.5).cpu()
            return len(found[0]["scores"])


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
