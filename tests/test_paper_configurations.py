"""The configurations of the paper hold the numbers that were published; docs/paper.md says where they come from."""

import operator
import pathlib

import numpy as np
import pytest
import yaml

from cyclic.config import load_config
from cyclic.cycle.schedule import Schedule
from cyclic.cycle.tile_training import training_batches
from cyclic.networks import mask_rcnn_config
from cyclic.pseudo.masks import COUNT_AREA
from cyclic.pseudo.recipe import recipe_of

ROOT = pathlib.Path(__file__).resolve().parents[1]
NAMES = ("monusac", "ccrcc", "consep")
# A setting of the run, of its Mask R-CNN or of its recipe for pseudo masks: the value for all, or for each of NAMES.
PUBLISHED = {
    "run.backbone.name": {"monusac": "resnet50", "ccrcc": "resnet101", "consep": "resnet101"},
    "run.backbone.norm": "frozen",
    "run.backbone.weights": "coco",
    "run.cycles": {"monusac": 5, "ccrcc": 1, "consep": 5},
    "run.scale": 2,
    "run.augmentation": "paper",
    "run.classifier.levels": ["C5"],
    "run.classifier.share": 1,
    "run.classifier.hidden": 1024,
    "run.classifier.optimizer": "sgd",
    "run.classifier.batch": 10,
    "run.classifier.shear": 0.2,
    "run.classifier.zoom": 0.2,
    "run.classifier.stain_jitter": 0,
    "run.classifier.feedback": False,
    "run.maps.method": "lrp_composite",
    "run.maps.level": "C5",
    "recipe.source": "activation",
    "recipe.threshold": 0.1,
    "recipe.split": False,
    "recipe.rank_by": "solidity",
    "recipe.hull": True,
    "run.pseudo.factors": [1.0],
    "run.pseudo.min_area": 100,
    "run.pseudo.max_area": 1000,
    "run.pseudo.share": None,
    "mask_rcnn.BACKBONE": {"monusac": "resnet50", "ccrcc": "resnet101", "consep": "resnet101"},
    "mask_rcnn.NORM": "frozen",
    "mask_rcnn.TOP_DOWN_PYRAMID_SIZE": 256,
    "mask_rcnn.FPN_CLASSIF_FC_LAYERS_SIZE": 1024,
    "mask_rcnn.RPN_ANCHOR_SCALES": [8, 16, 32, 64, 128],
    "mask_rcnn.RPN_TRAIN_ANCHORS_PER_IMAGE": 64,
    "mask_rcnn.TRAIN_ROIS_PER_IMAGE": 128,
    "mask_rcnn.RPN_NMS_THRESHOLD": 0.7,
    "mask_rcnn.RPN_NMS_THRESHOLD_TRAINING": 0.9,
    "mask_rcnn.POST_NMS_ROIS_TRAINING": 1000,
    "mask_rcnn.POST_NMS_ROIS_INFERENCE": 2000,
    "mask_rcnn.USE_GT_PROPOSALS": False,
    "mask_rcnn.MAX_GT_INSTANCES": 200,
    "mask_rcnn.DETECTION_MAX_INSTANCES": 400,
    "mask_rcnn.DETECTION_NMS_THRESHOLD": 0.3,
    "mask_rcnn.DETECTION_MASK_MARGIN": 0,
    "mask_rcnn.MINI_MASK_SHAPE": [56, 56],
    "mask_rcnn.BATCH_SIZE": 1,
    "mask_rcnn.IMAGE_RESIZE_MODE": "crop",
    "mask_rcnn.IMAGE_SHAPE": [512, 512, 3],
    "mask_rcnn.IMAGE_MIN_SCALE": 2,
    "mask_rcnn.OPTIMIZER": "sgd",
    "mask_rcnn.LEARNING_MOMENTUM": 0.9,
    "mask_rcnn.LR_SCHEDULE": "constant",
    "mask_rcnn.WARMUP_STEPS": 0,
    # The classes compete, so the least score of a nucleus is a half; and so is the least probability of its pixels.
    "run.detection.score": 0.5,
    "run.detection.mask_threshold": 0.5,
    "run.detection.verdict": False,
    "run.rounds.score": 0.85,
    # Students and detections that are fed back are written in the program, and switched off.
    "run.rounds.students": 0,
    "run.rounds.count": 0,
}
# Steps of loops 1 to 3, and the rate.
CLASSIFIER = {"monusac": [4000] * 3, "ccrcc": [4000] * 3, "consep": [4000, 8000, 12000]}, 1e-4
MASK_RCNN = {"monusac": 5 * 320, "ccrcc": 300 * 700, "consep": 25 * 50}, 1e-3
CROP = {"monusac": 250, "ccrcc": 256, "consep": 250}


def paper(name):
    return load_config(ROOT / f"configs/{name}_paper.yaml")


def plain(value):
    return np.array(value).tolist()


@pytest.mark.parametrize("name", NAMES)
def test_settings_are_what_was_published(name):
    config = paper(name)
    parts = {"run": config, "mask_rcnn": mask_rcnn_config(config), "recipe": recipe_of(config)}
    expected = {key: value[name] if isinstance(value, dict) else value for key, value in PUBLISHED.items()}
    found = {key: operator.attrgetter(key.partition(".")[2])(parts[key.partition(".")[0]]) for key in PUBLISHED}
    assert {key: plain(value) for key, value in found.items()} == {key: plain(value) for key, value in expected.items()}


@pytest.mark.parametrize("name", NAMES)
def test_trainings_are_as_long_and_as_fast_as_published(name):
    schedule, (classifier, rate) = Schedule(paper(name)), CLASSIFIER
    loops = [schedule.classifier(loop) for loop in (1, 2, 3)]
    assert [each.steps for each in loops] == classifier[name] and {each.learning_rate for each in loops} == {rate}
    steps, rate = MASK_RCNN
    loops = [schedule.mask_rcnn(loop, 0) for loop in range(1, paper(name).cycles + 1)]
    assert {each.steps for each in loops} == {steps[name]} and {each.learning_rate for each in loops} == {rate}


@pytest.mark.parametrize("name", NAMES)
def test_twenty_pseudo_masks_a_crop_and_tiles_of_224_pixels_mirrored_alone(name):
    config = paper(name)
    assert round(config.pseudo.count * CROP[name] ** 2 / COUNT_AREA) == 20
    tiles = np.zeros((4, config.tiles.size, config.tiles.size, 3), np.uint8)
    batches = training_batches(config, tiles, np.array([0, 1, 0, 1]), np.zeros(4), seed=0)
    assert batches[0][0].shape == (10, 224, 224, 3) and not batches.turns


def test_the_short_runs_have_a_tenth_of_the_steps():
    short = ("classifier.steps", "classifier.later_steps", "mask_rcnn.steps", "mask_rcnn.later_steps")
    entries = yaml.safe_load((ROOT / "studies/lists/paper_tenth.yaml").read_text())
    assert {pathlib.Path(entry["config"]).stem for entry in entries} == {f"{name}_paper" for name in NAMES}
    for entry in entries:
        whole, tenth = load_config(ROOT / entry["config"]), load_config(ROOT / entry["config"], entry["set"])
        assert tenth.cycles == whole.cycles
        for key in short if whole.cycles > 1 else short[::2]:
            steps = operator.attrgetter(key)
            assert steps(tenth) == (steps(whole) and steps(whole) // 10), (entry["name"], key)
