"""`inspect_model.ipynb`: anchors, RPN targets, proposals, ROI targets, detections and weights of a run's Mask R-CNN.

Shape shorthand: A anchors, R ROIs, P positive ROIs, M mask side.
"""

from dataclasses import dataclass

import keras
import matplotlib.pyplot as plt
import numpy as np

from cyclic.draw.overlays import contour_overlay
from cyclic.evaluation.metrics import evaluate_pair
from cyclic.inference.detect import detect, drop_unsure
from cyclic.inspect.drawing import crop_middle, draw_errors, show_histograms, show_pictures
from cyclic.inspect.run import Run
from cyclic.mrcnn import visualize
from cyclic.mrcnn.data.loader import DataGenerator
from cyclic.mrcnn.geometry.anchors_numpy import compute_backbone_shapes, pyramid_anchors
from cyclic.mrcnn.model import MaskRCNN
from cyclic.mrcnn.utils import apply_box_deltas, compute_overlaps, denorm_boxes, unmold_image
from cyclic.networks import Models
from cyclic.pseudo.masks import load_pseudo_masks
from cyclic.semi.dataset import PseudoDataset, crop_augmentation

CLASS_NAMES = ["background", "nucleus"]
SIZE = (8, 8)  # of a picture, inches
DRAWN_WEIGHTS = 50_000  # of a kernel in a histogram; more of them look the same and take seconds


@dataclass
class Inspected:
    """A Mask R-CNN and one training sample of it.

    Attributes:
        model: the Mask R-CNN in inference mode.
        training: the same weights in training mode.
        inputs: one batch, see `DataGenerator`. Only its first image is shown.
    """

    model: MaskRCNN
    training: MaskRCNN
    inputs: dict[str, np.ndarray]

    @property
    def image(self) -> np.ndarray:
        """The sample as a picture, `[H, W, 3]` uint8."""
        return unmold_image(self.inputs["image"][0], self.model.config)

    @property
    def anchors(self) -> np.ndarray:
        """Anchors of the sample, `[A, 4]` in pixels."""
        return pyramid_anchors(self.model.config, self.image.shape)

    @property
    def boxes(self) -> np.ndarray:
        """Boxes of the sample's pseudo masks, `[N, 4]` in pixels."""
        return self.inputs["gt_boxes"][0][self.inputs["gt_class_ids"][0] > 0]


def open_model(run: Run, cycle: int, round_: int = 0) -> Inspected:
    """Return the Mask R-CNN of a round and a sample of the pseudo masks that its cycle began with."""
    paths = run.paths.cycle(cycle)
    models = Models(run.config)
    models.load(paths.round(round_).weights)
    model, training = models.detector, models.trainer(run.config.seed, steps_per_epoch=1)
    pseudo = {name: load_pseudo_masks(paths.pseudo(), name) for name in run.train.ids[:4]}
    images = {name: run.train.image(name) for name in pseudo}
    augmentation = crop_augmentation(run.config)
    generator = DataGenerator(PseudoDataset(images, pseudo), model.config, augmentation=augmentation, seed=0)
    # The sample with the most pseudo masks has the most to show.
    samples = [generator[index][0] for index in range(4)]
    best = max(samples, key=lambda inputs: np.count_nonzero(inputs["gt_class_ids"][0]))
    return Inspected(model, training, best)


# --- anchors and RPN ---


def anchor_rows(look: Inspected) -> list[dict]:
    """Return a row for each pyramid level: its anchors, and how many boxes an anchor of this level fits best."""
    config, shape = look.model.config, look.image.shape
    best = compute_overlaps(look.anchors, look.boxes.astype(np.float64)).argmax(axis=0) if len(look.boxes) else []
    rows, first = [], 0
    levels = zip(compute_backbone_shapes(config, shape), config.RPN_ANCHOR_SCALES, config.BACKBONE_STRIDES, strict=True)
    for grid, scale, stride in levels:
        cells = [-(-int(side) // config.RPN_ANCHOR_STRIDE) for side in grid]
        count = cells[0] * cells[1] * len(config.RPN_ANCHOR_RATIOS)
        boxes = int(np.sum((first <= np.asarray(best)) & (np.asarray(best) < first + count)))
        level = f"P{stride.bit_length() - 1}"
        rows.append({"level": level, "side, px": scale, "stride, px": stride, "anchors": count, "boxes": boxes})
        first += count
    return rows


def show_anchors(look: Inspected) -> plt.Axes:
    """Draw the anchors of the middle cell of every pyramid level, each level in its own colour."""
    config, shape, anchors = look.model.config, look.image.shape, look.anchors
    ax = plt.subplots(figsize=SIZE)[1]
    ax.imshow(look.image)
    ax.axis("off")
    first, ratios = 0, len(config.RPN_ANCHOR_RATIOS)
    for level, grid in enumerate(compute_backbone_shapes(config, shape)):
        rows, columns = (-(-int(side) // config.RPN_ANCHOR_STRIDE) for side in grid)
        cell = first + (rows // 2 * columns + columns // 2) * ratios
        for y1, x1, y2, x2 in anchors[cell : cell + ratios]:
            ax.add_patch(plt.Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, color=f"C{level}", linewidth=2))
        first += rows * columns * ratios
    return ax


def show_rpn_targets(look: Inspected, shown: int = 100) -> plt.Axes:
    """Draw positive anchors (dotted) and the pseudo masks' boxes that they are refined to (solid)."""
    match = look.inputs["rpn_match"][0][:, 0]
    positive = np.flatnonzero(match == 1)
    print(f"{len(positive)} positive, {np.sum(match == -1)} negative and {np.sum(match == 0)} neutral anchors")
    deltas = look.inputs["rpn_target_bbox"][0][: len(positive)] * look.model.config.RPN_BBOX_STD_DEV
    anchors = look.anchors[positive]
    ax = plt.subplots(figsize=SIZE)[1]
    title = "positive anchors (dotted), refined (solid)"
    refined = apply_box_deltas(anchors, deltas)[:shown]
    return visualize.draw_boxes(look.image, anchors[:shown], refined, title=title, ax=ax)


def run_rpn(look: Inspected) -> dict[str, np.ndarray]:
    """Run the RPN on the sample.

    Returns:
        scores `[A]`, refined `[A, 4]` (anchors moved by the RPN) and proposals `[R, 4]`; boxes in pixels.
    """
    outputs = [("rpn_class", "rpn_class"), ("rpn_bbox", "rpn_bbox"), ("proposals", "rpn_rois")]
    values = look.model.run_graph(look.inputs["image"], outputs, look.inputs["image_meta"])
    deltas = values["rpn_bbox"][0] * look.model.config.RPN_BBOX_STD_DEV
    proposals = denorm_boxes(values["proposals"][0], look.image.shape[:2])
    proposals = proposals[(proposals[:, 2:] > proposals[:, :2]).all(axis=1)]
    refined = apply_box_deltas(look.anchors, deltas)
    return {"scores": values["rpn_class"][0, :, 1], "refined": refined, "proposals": proposals}


def show_proposals(look: Inspected, rpn: dict[str, np.ndarray], shown: int = 50) -> plt.Figure:
    """Draw the best anchors as they are and refined, and the first proposals, which have no near duplicates."""
    best = np.argsort(-rpn["scores"], kind="stable")[:shown]
    figure, (left, right) = plt.subplots(1, 2, figsize=(15, 7.5), layout="constrained")
    title = f"the {len(best)} best anchors (dotted), refined (solid)"
    visualize.draw_boxes(look.image, look.anchors[best], rpn["refined"][best], title=title, ax=left)
    proposals = rpn["proposals"][:shown]
    visualize.draw_boxes(look.image, refined_boxes=proposals, title=f"the first {len(proposals)} proposals", ax=right)
    return figure


def recall_rows(look: Inspected, rpn: dict[str, np.ndarray]) -> list[dict]:
    """Return the share of the sample's boxes that the first proposals cover, by number of proposals and IoU."""
    overlaps = compute_overlaps(rpn["proposals"].astype(np.float64), look.boxes.astype(np.float64))
    counts = [count for count in (20, 50, 100, 200, 500, 1000) if count < len(overlaps)] + [len(overlaps)]
    return [
        {"proposals": count} | {f"IoU {iou}": float(np.mean(overlaps[:count].max(axis=0) >= iou)) for iou in (0.5, 0.7)}
        for count in (counts if overlaps.size else ())
    ]


# --- heads ---


def roi_targets(look: Inspected) -> dict[str, np.ndarray]:
    """Return what the heads are trained on in the sample. ROIs without weight are left out.

    Returns:
        rois `[R, 4]` in pixels, class_ids `[R]`, refined `[R, 4]` (positive ROIs moved by their target) and masks
        `[R, M, M]` (zeros for negative ROIs).
    """
    graph = look.training.keras_model
    layer = keras.Model(graph.input, graph.get_layer("proposal_targets").output)
    outputs = [keras.ops.convert_to_numpy(value)[0] for value in layer(look.inputs, training=False)]
    rois, class_ids, weights, deltas, masks = outputs[:5]
    deltas = np.pad(deltas * look.model.config.BBOX_STD_DEV, ((0, len(rois) - len(deltas)), (0, 0)))
    masks = np.pad(masks, ((0, len(rois) - len(masks)), (0, 0), (0, 0)))
    rois, real = denorm_boxes(rois, look.image.shape[:2]), weights > 0
    refined = apply_box_deltas(rois.astype(np.float64), deltas)
    return {"rois": rois[real], "class_ids": class_ids[real], "refined": refined[real], "masks": masks[real]}


def show_roi_targets(look: Inspected, targets: dict[str, np.ndarray], shown: int = 30) -> plt.Axes:
    """Draw ROIs (dashed; negative ones grey), the targets of positive ones (solid), and their masks."""
    rois, refined, masks, class_ids = (targets[name] for name in ("rois", "refined", "masks", "class_ids"))
    return visualize.draw_rois(look.image, rois, refined, masks, class_ids, CLASS_NAMES, limit=shown)


def show_mask_targets(targets: dict[str, np.ndarray], shown: int = 14) -> plt.Figure | None:
    """Show the mask targets of positive ROIs as the mask head sees them; None without a positive ROI."""
    masks = targets["masks"][targets["class_ids"] > 0][:shown]
    return show_pictures([("", mask) for mask in masks], columns=shown) if len(masks) else None


def show_detections(look: Inspected) -> plt.Axes:
    """Draw what Mask R-CNN detects in the sample: masks, boxes, scores."""
    (detected,) = look.model.detect_molded(look.inputs["image"][:1], look.inputs["image_meta"][:1])
    rois, masks, class_ids = detected["rois"], detected["masks"], detected["class_ids"]
    ax = plt.subplots(figsize=SIZE)[1]
    return visualize.display_instances(look.image, rois, masks, class_ids, CLASS_NAMES, detected["scores"], ax=ax)


def detection_rows(look: Inspected) -> list[dict]:
    """Return how many boxes of the sample are left after each step of detection."""
    outputs = [("classes", "mrcnn_class"), ("detections", "detections")]
    values = look.model.run_graph(look.inputs["image"], outputs, look.inputs["image_meta"])
    scores, lowest = values["classes"][0, :, 1], look.model.config.DETECTION_MIN_CONFIDENCE
    return [
        {"step": "proposals", "boxes": len(scores)},
        {"step": f"score of {lowest} or more", "boxes": int((scores >= lowest).sum())},
        {"step": "without duplicates", "boxes": int((values["detections"][0, :, 4] > 0).sum())},
    ]


def show_prediction(look: Inspected, run: Run, name: str) -> plt.Figure:
    """Outline the detected nuclei in the middle of an image.

    With a ground truth, show the errors in the whole image and print the scores.
    """
    image, true = run.images.image(name), run.truth(name)
    labels, scores = detect(look.model, image, run.config.detection, run.config.scale)
    labels, _ = drop_unsure(labels, scores, run.config.detection.score)
    outlines = contour_overlay(crop_middle(image), crop_middle(labels))
    pictures = [("the middle", crop_middle(image)), (f"{labels.max()} nuclei in the whole image", outlines)]
    if true is not None:
        pictures.append(("errors, the whole image", draw_errors(image, true, labels)))
        metrics = evaluate_pair(true, labels)
        print("  ".join(f"{metric} {metrics[metric]:.3f}" for metric in ("aji", "dice", "pq", "f1")))
    return show_pictures(pictures, columns=3, width=16)


# --- weights ---


def show_weights(look: Inspected, columns: int = 4) -> plt.Figure:
    """Draw histograms of kernels, a row for each part of the network, from its first layer to its last."""
    values = {}
    for part in look.model.network.layers:
        kernels = [weight for weight in part.trainable_weights if len(weight.shape) > 1]
        for index in np.unique(np.linspace(0, len(kernels) - 1, columns).round().astype(int)):
            name = "/".join(kernels[index].path.split("/")[-2:])
            kernel = keras.ops.convert_to_numpy(kernels[index]).ravel().astype(np.float32)
            values[name] = kernel[:: max(1, len(kernel) // DRAWN_WEIGHTS)]
    return show_histograms(values, columns, bins=60)
