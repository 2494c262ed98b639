"""Matterport's `utils`: all its names for import; the code is in the rooms that the imports below name."""

from cyclic.mrcnn.data.dataset import Dataset
from cyclic.mrcnn.data.molding import compose_image_meta, mold_image, parse_image_meta, unmold_image
from cyclic.mrcnn.geometry.anchors_numpy import generate_anchors, generate_pyramid_anchors
from cyclic.mrcnn.geometry.boxes_numpy import (
    apply_box_deltas,
    box_refinement,
    compute_iou,
    compute_overlaps,
    denorm_boxes,
    non_max_suppression,
    norm_boxes,
)
from cyclic.mrcnn.geometry.masks_numpy import (
    compute_overlaps_masks,
    expand_mask,
    extract_bboxes,
    minimize_mask,
    unmold_mask,
)
from cyclic.mrcnn.geometry.resizing import resize, resize_image, resize_mask
from cyclic.mrcnn.matterport.average_precision import (
    compute_ap,
    compute_ap_range,
    compute_matches,
    compute_recall,
    trim_zeros,
)
from cyclic.mrcnn.matterport.graphs import batch_slice, box_refinement_graph
from cyclic.mrcnn.matterport.refused import mold_mask
from cyclic.mrcnn.weights.downloads import FILES, download_trained_weights

# Address of Matterport's COCO weights.
COCO_MODEL_URL = FILES["coco"].url

__all__ = [
    "COCO_MODEL_URL",
    "Dataset",
    "apply_box_deltas",
    "batch_slice",
    "box_refinement",
    "box_refinement_graph",
    "compose_image_meta",
    "compute_ap",
    "compute_ap_range",
    "compute_iou",
    "compute_matches",
    "compute_overlaps",
    "compute_overlaps_masks",
    "compute_recall",
    "denorm_boxes",
    "download_trained_weights",
    "expand_mask",
    "extract_bboxes",
    "generate_anchors",
    "generate_pyramid_anchors",
    "minimize_mask",
    "mold_image",
    "mold_mask",
    "non_max_suppression",
    "norm_boxes",
    "parse_image_meta",
    "resize",
    "resize_image",
    "resize_mask",
    "trim_zeros",
    "unmold_image",
    "unmold_mask",
]
