"""Names, arguments and defaults are those of Matterport's `mrcnn`, so that old calls fit."""

import inspect
import random

import matplotlib.pyplot as plt
import numpy as np
import pytest
from keras import ops
from tiny_model import OneImage, TinyConfig

from cyclic.mrcnn import model as modellib
from cyclic.mrcnn import parallel_model, utils, visualize
from cyclic.mrcnn.config import Config
from cyclic.mrcnn.geometry.boxes_numpy import apply_box_deltas


class PaddedConfig(TinyConfig):
    IMAGE_RESIZE_MODE = "pad64"


INSTANCES = "gt_boxes gt_class_ids gt_masks pred_boxes pred_class_ids pred_scores pred_masks"
RANGE = "gt_box gt_class_id gt_mask pred_box pred_class_id pred_score pred_mask"
SIGNATURES = {
    utils: {
        "extract_bboxes": "mask",
        "compute_iou": "box boxes box_area boxes_area",
        "compute_overlaps": "boxes1 boxes2",
        "compute_overlaps_masks": "masks1 masks2",
        "non_max_suppression": "boxes scores threshold",
        "apply_box_deltas": "boxes deltas",
        "box_refinement": "box gt_box",
        "box_refinement_graph": "box gt_box",
        "resize_image": "image min_dim=None max_dim=None min_scale=None mode='square'",
        "resize_mask": "mask scale padding crop=None",
        "minimize_mask": "bbox mask mini_shape",
        "expand_mask": "bbox mini_mask image_shape",
        "mold_mask": "mask config",
        "unmold_mask": "mask bbox image_shape",
        "generate_anchors": "scales ratios shape feature_stride anchor_stride",
        "generate_pyramid_anchors": "scales ratios feature_shapes feature_strides anchor_stride",
        "trim_zeros": "x",
        "compute_matches": f"{INSTANCES} iou_threshold=0.5 score_threshold=0.0",
        "compute_ap": f"{INSTANCES} iou_threshold=0.5",
        "compute_ap_range": f"{RANGE} iou_thresholds=None verbose=1",
        "compute_recall": "pred_boxes gt_boxes iou",
        "batch_slice": "inputs graph_fn batch_size names=None",
        "download_trained_weights": "coco_model_path verbose=1",
        "norm_boxes": "boxes shape",
        "denorm_boxes": "boxes shape",
        "resize": "image output_shape order=1 mode='constant' cval=0 clip=True preserve_range=False "
        "anti_aliasing=False anti_aliasing_sigma=None",
    },
    utils.Dataset: {
        "__init__": "self class_map=None",
        "add_class": "self source class_id class_name",
        "add_image": "self source image_id path kwargs",
        "image_reference": "self image_id",
        "prepare": "self class_map=None",
        "map_source_class_id": "self source_class_id",
        "get_source_class_id": "self class_id source",
        "source_image_link": "self image_id",
        "load_image": "self image_id",
        "load_mask": "self image_id",
    },
    modellib: {
        "log": "text array=None",
        "compute_backbone_shapes": "config image_shape",
        "load_image_gt": "dataset config image_id augment=False augmentation=None use_mini_mask=False",
        "build_rpn_targets": "image_shape anchors gt_class_ids gt_boxes config",
        "compose_image_meta": "image_id original_image_shape image_shape window scale active_class_ids",
        "parse_image_meta": "meta",
        "mold_image": "images config",
        "unmold_image": "normalized_images config",
        "data_generator": "dataset config shuffle=True augment=False augmentation=None random_rois=0 batch_size=1 "
        "detection_targets=False no_augmentation_sources=None",
        "generate_random_rois": "image_shape count gt_class_ids gt_boxes",
        "build_detection_targets": "rpn_rois gt_class_ids gt_boxes gt_masks config",
        "identity_block": "input_tensor kernel_size filters stage block use_bias=True train_bn=True",
        "conv_block": "input_tensor kernel_size filters stage block strides=(2,2) use_bias=True train_bn=True",
        "resnet_graph": "input_image architecture stage5=False train_bn=True",
        "apply_box_deltas_graph": "boxes deltas",
        "clip_boxes_graph": "boxes window",
        "log2_graph": "x",
        "overlaps_graph": "boxes1 boxes2",
        "detection_targets_graph": "proposals gt_class_ids gt_boxes gt_masks config",
        "refine_detections_graph": "rois probs deltas window config",
        "rpn_graph": "feature_map anchors_per_location anchor_stride",
        "build_rpn_model": "anchor_stride anchors_per_location depth",
        "fpn_classifier_graph": "rois feature_maps image_meta pool_size num_classes train_bn=True fc_layers_size=1024",
        "build_fpn_mask_graph": "rois feature_maps image_meta pool_size num_classes train_bn=True",
        "smooth_l1_loss": "y_true y_pred",
        "rpn_class_loss_graph": "rpn_match rpn_class_logits",
        "rpn_bbox_loss_graph": "config target_bbox rpn_match rpn_bbox",
        "mrcnn_class_loss_graph": "target_class_ids pred_class_logits active_class_ids",
        "mrcnn_bbox_loss_graph": "target_bbox target_class_ids pred_bbox",
        "mrcnn_mask_loss_graph": "target_masks target_class_ids pred_masks",
        "parse_image_meta_graph": "meta",
        "trim_zeros_graph": "boxes name='trim_zeros'",
        "batch_pack_graph": "x counts num_rows",
        "norm_boxes_graph": "boxes shape",
        "denorm_boxes_graph": "boxes shape",
    },
    modellib.BatchNorm: {"call": "self inputs training=None"},
    modellib.ProposalLayer: {
        "__init__": "self proposal_count nms_threshold config=None kwargs",
        "call": "self inputs",
    },
    modellib.PyramidROIAlign: {"__init__": "self pool_shape kwargs", "call": "self inputs"},
    modellib.DetectionTargetLayer: {"__init__": "self config kwargs", "call": "self inputs"},
    modellib.DetectionLayer: {"__init__": "self config=None kwargs", "call": "self inputs"},
    parallel_model.ParallelModel: {"__init__": "self keras_model gpu_count"},
    modellib.DataGenerator: {"__init__": "self dataset config shuffle=True augmentation=None"},
    modellib.MaskRCNN: {
        "__init__": "self mode config model_dir=None",
        "find_last": "self",
        "load_weights": "self filepath by_name=True exclude=None",
        "get_imagenet_weights": "self",
        "compile": "self learning_rate momentum",
        "set_trainable": "self layer_regex",
        "set_log_dir": "self model_path=None",
        "train": "self train_dataset val_dataset learning_rate epochs layers='all' augmentation=None "
        "custom_callbacks=None no_augmentation_sources=None",
        "mold_inputs": "self images",
        "unmold_detections": "self detections mrcnn_mask original_image_shape image_shape window",
        "detect": "self images verbose=0",
        "detect_molded": "self molded_images image_metas verbose=0",
        "get_anchors": "self image_shape",
        "ancestor": "self tensor name checked=None",
        "find_trainable_layer": "self layer",
        "get_trainable_layers": "self",
        "run_graph": "self images outputs image_metas=None",
    },
    visualize: {
        "display_images": "images titles=None cols=4 cmap=None norm=None interpolation=None",
        "random_colors": "N bright=True",
        "apply_mask": "image mask color alpha=0.5",
        "display_instances": "image boxes masks class_ids class_names scores=None title='' figsize=(16,16) ax=None "
        "show_mask=True show_bbox=True colors=None captions=None",
        "display_differences": f"image {RANGE} class_names title='' ax=None show_mask=True show_box=True "
        "iou_threshold=0.5 score_threshold=0.5",
        "draw_rois": "image rois refined_rois mask class_ids class_names limit=10",
        "draw_box": "image box color",
        "display_top_masks": "image mask class_ids class_names limit=4",
        "plot_precision_recall": "AP precisions recalls",
        "plot_overlaps": "gt_class_ids pred_class_ids pred_scores overlaps class_names threshold=0.5",
        "draw_boxes": "image boxes=None refined_boxes=None masks=None captions=None visibilities=None title='' ax=None",
        "display_table": "table",
        "display_weight_stats": "model",
    },
}
CALLS = [(owner, name, text) for owner, names in SIGNATURES.items() for name, text in names.items()]


@pytest.mark.parametrize("owner, name, text", CALLS, ids=[f"{o.__name__.split('.')[-1]}.{n}" for o, n, _ in CALLS])
def test_signature(owner, name, text):
    """Ours begins with Matterport's parameters and defaults; what it has beyond them is optional."""
    found = list(inspect.signature(getattr(owner, name)).parameters.values())
    wanted = text.split()
    for parameter, expected in zip(found, wanted, strict=False):
        default = "" if parameter.default is inspect.Parameter.empty else f"={parameter.default!r}".replace(" ", "")
        assert parameter.name + default == expected
    assert len(found) >= len(wanted)
    named = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    assert all(extra.default is not inspect.Parameter.empty or extra.kind in named for extra in found[len(wanted) :])


DEFAULTS = {
    "NAME": None,
    "GPU_COUNT": 1,
    "IMAGES_PER_GPU": 2,
    "STEPS_PER_EPOCH": 1000,
    "VALIDATION_STEPS": 50,
    "BACKBONE": "resnet101",
    "COMPUTE_BACKBONE_SHAPE": None,
    "BACKBONE_STRIDES": [4, 8, 16, 32, 64],
    "FPN_CLASSIF_FC_LAYERS_SIZE": 1024,
    "TOP_DOWN_PYRAMID_SIZE": 256,
    "NUM_CLASSES": 1,
    "RPN_ANCHOR_SCALES": (32, 64, 128, 256, 512),
    "RPN_ANCHOR_RATIOS": [0.5, 1, 2],
    "RPN_ANCHOR_STRIDE": 1,
    "RPN_NMS_THRESHOLD": 0.7,
    "RPN_TRAIN_ANCHORS_PER_IMAGE": 256,
    "PRE_NMS_LIMIT": 6000,
    "POST_NMS_ROIS_TRAINING": 2000,
    "POST_NMS_ROIS_INFERENCE": 1000,
    "USE_MINI_MASK": True,
    "MINI_MASK_SHAPE": (56, 56),
    "IMAGE_RESIZE_MODE": "square",
    "IMAGE_MIN_DIM": 800,
    "IMAGE_MAX_DIM": 1024,
    "IMAGE_MIN_SCALE": 0,
    "IMAGE_CHANNEL_COUNT": 3,
    "MEAN_PIXEL": [123.7, 116.8, 103.9],
    "TRAIN_ROIS_PER_IMAGE": 200,
    "ROI_POSITIVE_RATIO": 0.33,
    "POOL_SIZE": 7,
    "MASK_POOL_SIZE": 14,
    "MASK_SHAPE": [28, 28],
    "MAX_GT_INSTANCES": 100,
    "RPN_BBOX_STD_DEV": [0.1, 0.1, 0.2, 0.2],
    "BBOX_STD_DEV": [0.1, 0.1, 0.2, 0.2],
    "DETECTION_MAX_INSTANCES": 100,
    "DETECTION_MIN_CONFIDENCE": 0.7,
    "DETECTION_NMS_THRESHOLD": 0.3,
    "LEARNING_RATE": 0.001,
    "LEARNING_MOMENTUM": 0.9,
    "WEIGHT_DECAY": 0.0001,
    "LOSS_WEIGHTS": dict.fromkeys(
        ("rpn_class_loss", "rpn_bbox_loss", "mrcnn_class_loss", "mrcnn_bbox_loss", "mrcnn_mask_loss"), 1.0
    ),
    "USE_RPN_ROIS": True,
    "TRAIN_BN": False,
    "GRADIENT_CLIP_NORM": 5.0,
    "BATCH_SIZE": 2,
    "IMAGE_SHAPE": [1024, 1024, 3],
    "IMAGE_META_SIZE": 13,
}


@pytest.mark.parametrize("name, expected", DEFAULTS.items(), ids=DEFAULTS)
def test_default(name, expected):
    value = getattr(Config(), name)
    assert (value.tolist() if isinstance(value, np.ndarray) else value) == expected


def test_settings_of_our_own_change_nothing_by_default():
    extra = set(Config().to_dict()) - set(DEFAULTS)
    assert {"NORM", "OPTIMIZER", "GRADIENT_ACCUMULATION_STEPS", "JIT_COMPILE", "USE_IGNORE"} <= extra
    assert Config.OPTIMIZER == "sgd" and Config.GRADIENT_ACCUMULATION_STEPS == 1 and Config().norm() == "frozen"


# --- what the notebooks call beside the rest ---


def test_ground_truth_with_full_masks_or_mini_masks():
    """Matterport's inspection notebooks pass use_mini_mask, whatever the configuration says."""
    config = TinyConfig()

    def truth(*positional):
        rng = np.random.default_rng(0)
        return modellib.load_image_gt(OneImage(), config, 0, *positional, rng=rng)[3:]

    assert config.USE_MINI_MASK
    (boxes, full), (_, also_full), (_, mini) = truth(), truth(False, None, False), truth(False, None, True)
    assert full.shape == (64, 64, len(boxes)) and mini.shape == (14, 14, len(boxes))
    assert full.dtype == mini.dtype == bool
    np.testing.assert_array_equal(utils.extract_bboxes(full), boxes)
    np.testing.assert_array_equal(also_full, full)


def test_full_masks_fit_the_functions_that_take_ground_truth():
    image, _, class_ids, boxes, masks = modellib.load_image_gt(OneImage(), PaddedConfig(), 0)
    assert image.shape[:2] == masks.shape[:2] == (128, 128)
    truth = (boxes, class_ids, masks)
    assert utils.compute_ap(*truth, boxes, class_ids, np.ones(len(boxes)), masks)[0] == 1
    axes = plt.subplots()[1]
    visualize.display_instances(image, boxes, masks, class_ids, ["BG", "disk"], ax=axes)
    plt.close()


def test_ground_truth_follows_the_seed_of_pythons_random():
    def truth(seed):
        random.seed(seed)
        return modellib.load_image_gt(OneImage(), TinyConfig(), 0)[0]

    np.testing.assert_array_equal(truth(3), truth(3))
    assert (truth(3) != truth(4)).any()


def test_old_augmentation_mirrors_half_of_the_images():
    config = PaddedConfig()
    plain, _, _, _, masks = modellib.load_image_gt(OneImage(), config, 0)
    mirrored = 0
    for seed in range(8):
        rng = np.random.default_rng(seed)
        image, _, _, new_boxes, new_masks = modellib.load_image_gt(OneImage(), config, 0, True, rng=rng)
        if (image == plain).all():
            continue
        mirrored += 1
        np.testing.assert_array_equal(new_masks.any(axis=-1), masks.any(axis=-1)[:, ::-1])
        np.testing.assert_array_equal(utils.extract_bboxes(new_masks), new_boxes)
    assert 0 < mirrored < 8


def test_old_augmentation_leaves_the_new_one_in_place():
    black = lambda image, labels, ignore, rng: (image * 0, labels, ignore)  # noqa: E731
    generators = map(np.random.default_rng, range(12))
    found = [modellib.load_image_gt(OneImage(), PaddedConfig(), 0, True, black, rng=rng) for rng in generators]
    assert not any(image.any() for image, *_ in found)
    assert len({tuple(boxes.ravel()) for _, _, _, boxes, _ in found}) == 2


def test_box_refinement_inside_the_network():
    boxes = np.float32([[0, 0, 10, 20], [5, 5, 9, 30]])
    deltas = ops.convert_to_numpy(utils.box_refinement_graph(boxes, boxes[::-1].copy()))
    np.testing.assert_allclose(apply_box_deltas(boxes, deltas), boxes[::-1], atol=1e-4)


def test_batch_slice_runs_each_image_alone():
    first, second = np.arange(6.0).reshape(3, 2), np.array([10.0, 20.0, 30.0])
    one = utils.batch_slice(first, lambda row: ops.sum(row), 3)
    np.testing.assert_allclose(ops.convert_to_numpy(one), [1, 5, 9])
    total, least = utils.batch_slice([first, second], lambda row, x: (row + x, ops.min(row)), 3, names=["a", "b"])
    np.testing.assert_allclose(ops.convert_to_numpy(total), first + second[:, None])
    np.testing.assert_allclose(ops.convert_to_numpy(least), [0, 2, 4])


def test_address_of_the_coco_weights():
    assert utils.COCO_MODEL_URL.endswith("/mask_rcnn_coco.h5")
