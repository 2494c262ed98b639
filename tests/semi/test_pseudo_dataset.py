"""Pseudo masks as batches for Mask R-CNN."""

import numpy as np
import pytest

from cyclic.mrcnn.config import Config
from cyclic.mrcnn.data.loader import DataGenerator
from cyclic.pseudo.masks import PseudoMasks
from cyclic.semi.dataset import CropAugmentation, PseudoDataset


class TinyConfig(Config):
    NAME = "tiny"
    NUM_CLASSES = 2
    IMAGES_PER_GPU = 2
    IMAGE_RESIZE_MODE = "crop"
    IMAGE_MIN_DIM = IMAGE_MAX_DIM = 64
    IMAGE_MIN_SCALE = 2
    MINI_MASK_SHAPE = (14, 14)
    MAX_GT_INSTANCES = 8
    RPN_ANCHOR_SCALES = (8, 16, 32, 64, 128)
    USE_IGNORE = True
    SEED = 0


@pytest.fixture
def dataset():
    """One image with two nuclei and an ignored strip, one with nothing at all."""
    image = np.full((32, 32, 3), 200, np.uint8)
    labels, ignore = np.zeros((32, 32), np.int32), np.zeros((32, 32), bool)
    labels[4:12, 4:12], labels[20:28, 18:28] = 1, 2
    ignore[:, 30:] = True
    image[labels > 0] = (90, 40, 120)
    full = PseudoMasks(labels, np.array([0.9, 0.8], np.float32), ignore)
    empty = PseudoMasks(np.zeros_like(labels), np.zeros(0, np.float32), np.zeros_like(ignore))
    return PseudoDataset({"other": image, "full": image, "empty": image}, {"full": full, "empty": empty})


def test_images_follow_the_pseudo_masks(dataset):
    assert [info["id"] for info in dataset.image_info] == ["full", "empty"]
    assert dataset.load_label_map(0).max() == 2 and dataset.load_label_map(1).max() == 0
    assert dataset.load_ignore(0)[:, 30:].all() and dataset.load_image(1).shape == (32, 32, 3)


def test_batches_hold_masks_and_ignore(dataset):
    data = DataGenerator(dataset, TinyConfig(), shuffle=False)
    (inputs,) = data[0]
    assert inputs["image"].shape == (2, 64, 64, 3)
    counts = (inputs["gt_class_ids"] == 1).sum(axis=1)
    np.testing.assert_array_equal(counts, [2, 0])
    np.testing.assert_array_equal(inputs["gt_boxes"][0, :2], [[8, 8, 24, 24], [40, 36, 56, 56]])
    assert inputs["ignore"][0, :, 60:].all() and not inputs["ignore"][0, :, :58].any()
    assert not inputs["ignore"][1].any()
    assert (inputs["rpn_match"][0] == 1).any() and not (inputs["rpn_match"][1] == 1).any()


def test_augmented_batches_depend_on_the_seed_alone(dataset):
    def batch(seed):
        return DataGenerator(dataset, TinyConfig(), augmentation=CropAugmentation(0.1), seed=seed)[3][0]

    first, again, other = batch(1), batch(1), batch(2)
    for name in first:
        np.testing.assert_array_equal(first[name], again[name])
    assert (first["image"] != other["image"]).any()


def test_augmentation_moves_image_labels_and_ignore_together():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 7, (20, 20), np.int32)
    image = np.repeat(labels[..., None].astype(np.uint8) * 30, 3, axis=-1)
    turned = set()
    for _ in range(100):
        new_image, new_labels, new_ignore = CropAugmentation(0)(image, labels, labels == 3, rng)
        np.testing.assert_array_equal(new_image[..., 0], new_labels * 30)
        np.testing.assert_array_equal(new_ignore, new_labels == 3)
        turned.add(new_labels.tobytes())
    assert len(turned) == 8


def test_images_may_be_drawn_several_times():
    images = {name: np.full((8, 8, 3), value, np.uint8) for name, value in (("a", 1), ("b", 2))}
    masks = PseudoMasks(np.zeros((8, 8), np.int32), np.zeros(0, np.float32), np.zeros((8, 8), bool))
    dataset = PseudoDataset(images, dict.fromkeys(images, masks), drawn=["b", "a", "b"])
    assert [int(dataset.load_image(i)[0, 0, 0]) for i in dataset.image_ids] == [2, 1, 2]
    assert list(PseudoDataset(images, dict.fromkeys(images, masks)).image_ids) == [0, 1]


def test_many_labs_change_the_image_alone():
    image, labels = np.full((8, 8, 3), 150, np.uint8), np.eye(8, dtype=np.int32)
    changed, same, ignore = CropAugmentation(0, many_labs=True)(image, labels, labels > 0, np.random.default_rng(0))
    assert changed.dtype == np.uint8 and (changed != image).any()
    assert same.sum() == 8 and (ignore == (same > 0)).all()


def test_stain_jitter_changes_the_image_alone():
    image, labels = np.full((8, 8, 3), 150, np.uint8), np.zeros((8, 8), np.int32)
    changed, same, ignore = CropAugmentation(0.2)(image, labels, labels > 0, np.random.default_rng(0))
    assert changed.dtype == np.uint8 and (changed != image).any()
    assert not same.any() and not ignore.any()
