"""Ignored pixels become background where the classifier sees no nucleus; masks stay."""

import numpy as np
import pytest

from cyclic.config import load_config
from cyclic.cycle.stages import pseudo_masks
from cyclic.datasets.synthetic import draw_tissue
from cyclic.errors import InputError
from cyclic.pseudo.select import PseudoMasks
from cyclic.semi.ignore import trust_background


def test_only_ignored_pixels_of_low_activation_change():
    labels = np.zeros((4, 4), np.int32)
    labels[0] = 1
    ignore = np.zeros((4, 4), bool)
    ignore[1:3] = True
    activation = np.array([[0.0], [0.05], [0.2], [0.0]]) * np.ones((1, 4))
    pseudo = trust_background(PseudoMasks(labels, np.ones(1, np.float32), ignore), activation, 0.1)
    np.testing.assert_array_equal(pseudo.labels, labels)
    np.testing.assert_array_equal(pseudo.ignore.any(axis=1), [False, False, True, False])
    assert ignore[1].all()  # the argument is left alone


def test_level_0_changes_nothing():
    ignore = np.ones((3, 3), bool)
    pseudo = PseudoMasks(np.zeros((3, 3), np.int32), np.zeros(0, np.float32), ignore)
    assert trust_background(pseudo, np.zeros((3, 3), np.float32), 0.0).ignore.all()


def test_the_setting_reaches_the_pseudo_masks():
    image, _ = draw_tissue(np.random.default_rng(0), 128)
    low = np.full(image.shape[:2], 0.2, np.float32)
    ignored = {
        level: pseudo_masks(low, image, load_config(None, (f"pseudo.background={level}",))).ignore.sum()
        for level in (0.0, 0.1, 0.3)
    }
    assert ignored[0.0] == ignored[0.1] > 0 == ignored[0.3]


def test_without_a_classifier_there_is_no_map_to_trust():
    with pytest.raises(InputError, match=r"pseudo\.background 0"):
        load_config(None, ("supervision=none", "pseudo.agreement=false", "pseudo.background=0.1"))
