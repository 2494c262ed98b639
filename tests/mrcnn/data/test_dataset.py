"""`Dataset`: how classes and images are numbered, and where masks come from."""

import numpy as np
import pytest

from cyclic.errors import InputError
from cyclic.mrcnn import utils


@pytest.fixture
def dataset():
    made = utils.Dataset()
    made.add_class("coco", 12, "bench, seat")
    made.add_class("nuclei", 1, "nucleus")
    made.add_class("nuclei", 1, "nucleus")
    made.add_image("nuclei", "a", "a.png", organ="kidney")
    made.prepare()
    return made


def test_dataset_numbers_classes_and_images(dataset):
    assert dataset.class_names == ["BG", "bench", "nucleus"] and dataset.num_classes == 3
    assert dataset.image_ids.tolist() == [0] and dataset.image_info[0]["organ"] == "kidney"
    assert dataset.map_source_class_id("coco.12") == 1 and dataset.get_source_class_id(1, "coco") == 12
    assert dataset.source_class_ids == {"": [0], "coco": [0, 1], "nuclei": [0, 2]}
    assert dataset.source_image_link(0) == "a.png" and dataset.image_from_source_map == {"nuclei.a": 0}


def test_dataset_refuses_wrong_sources(dataset):
    with pytest.raises(ValueError, match="source 'coco'"):
        dataset.get_source_class_id(1, "nuclei")
    with pytest.raises(ValueError, match="dot"):
        dataset.add_class("a.b", 1, "x")


def test_dataset_names_the_missing_image(dataset):
    with pytest.raises(InputError, match="a.png"):
        dataset.load_image(0)


def test_masks_follow_from_a_label_map(dataset):
    assert dataset.load_mask(0)[0].shape == (0, 0, 0)
    dataset.load_label_map = lambda image_id: np.array([[0, 5], [2, 5]])
    masks, class_ids = dataset.load_mask(0)
    assert masks.shape == (2, 2, 2) and class_ids.tolist() == [1, 1]
    assert masks[..., 0].tolist() == [[False, False], [True, False]]


def test_a_data_set_without_load_mask_has_no_instances():
    masks, class_ids = utils.Dataset().load_mask(0)
    assert masks.shape == (0, 0, 0) and class_ids.shape == (0,) and class_ids.dtype == np.int32
