"""Classes of masks that the network does not tell apart are named before they reach a loss."""

import numpy as np
import pytest
from tiny_model import SIDE, TinyConfig, small_network

from cyclic.errors import InputError
from cyclic.mrcnn.data.dataset import Dataset
from cyclic.mrcnn.data.sample import load_image_gt
from cyclic.mrcnn.model import MaskRCNN


class Nuclei(Dataset):
    """One square of a class."""

    def __init__(self, class_id, classes=1):
        super().__init__()
        self.class_id = class_id
        for number in range(1, classes + 1):
            self.add_class("nuclei", number, str(number))
        self.add_image("nuclei", "a", "slide_7.png")
        self.prepare()

    def load_image(self, image_id):
        return np.full((SIDE, SIDE, 3), 200, np.uint8)

    def load_mask(self, image_id):
        mask = np.zeros((SIDE, SIDE, 1), bool)
        mask[20:40, 20:40] = True
        return mask, np.array([self.class_id])


@pytest.mark.parametrize("class_id", [2, 7, -7])
def test_a_class_beyond_num_classes_is_named(class_id):
    with pytest.raises(InputError, match=f"slide_7.png: class {class_id}, and NUM_CLASSES = 2 has 0 to 1"):
        load_image_gt(Nuclei(class_id), TinyConfig(), 0)


@pytest.mark.parametrize("shape", [(SIDE, SIDE), (SIDE, SIDE, 2)])
def test_masks_without_a_class_each_are_named(monkeypatch, shape):
    monkeypatch.setattr(Nuclei, "load_mask", lambda *_: (np.ones(shape, bool), np.array([1])))
    with pytest.raises(InputError, match="slide_7.png: masks of shape .* for 1 class ids"):
        load_image_gt(Nuclei(1), TinyConfig(), 0)


def test_so_is_a_data_set_with_more_classes_than_the_network():
    with pytest.raises(InputError, match="class 2, and NUM_CLASSES = 2"):
        load_image_gt(Nuclei(1, classes=3), TinyConfig(), 0)


@pytest.mark.parametrize("class_id", [1, -1])
def test_a_known_class_and_a_crowd_of_it_are_fine(class_id):
    assert load_image_gt(Nuclei(class_id), TinyConfig(), 0)[2].tolist() == [class_id]


def test_training_stops_with_the_name():
    config = TinyConfig()
    model = MaskRCNN("training", config, network=small_network(config))
    with pytest.raises(InputError, match="slide_7.png: class 7"):
        model.train(Nuclei(7), None, 1e-3, 1, verbose=0)
