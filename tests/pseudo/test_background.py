"""Where a negative tile lies there is no pseudo mask, and nothing to ignore."""

import numpy as np

from cyclic.config import load_config
from cyclic.datasets.synthetic import draw_tissue
from cyclic.pseudo.background import clear_background, outside_background
from cyclic.pseudo.candidates import find_candidates
from cyclic.pseudo.masks import PseudoMasks
from cyclic.pseudo.select import pseudo_masks_of_one_image, select_pseudo_masks
from cyclic.semi.self_training import join_detections


def test_a_label_counts_as_background_from_more_than_half_of_its_pixels_on():
    labels = np.array([[1, 1, 2, 2, 3, 3, 3, 0]])
    background = np.array([[1, 1, 1, 0, 1, 0, 0, 1]], bool)
    assert outside_background(labels, background).tolist() == [False, True, True]


def test_nothing_lies_in_a_negative_tile():
    image, _ = draw_tissue(np.random.default_rng(0), 128)
    config = load_config((), ("pseudo.share=1", "pseudo.recipe=stain"))
    negative = np.zeros(image.shape[:2], bool)
    negative[64:] = True
    every, some = (
        select_pseudo_masks(find_candidates(image, None, config, background), config) for background in (None, negative)
    )
    assert (every.labels[80:] > 0).any() and not (some.labels[80:] > 0).any()
    assert ((some.labels > 0) == (every.labels > 0))[:48].all()
    assert some.ignore[80:].any()
    cleared = clear_background(some, negative)
    assert not cleared.ignore[64:].any() and (cleared.ignore[:64] == some.ignore[:64]).all()
    np.testing.assert_array_equal(cleared.labels, some.labels)
    both = pseudo_masks_of_one_image(image, None, config, negative)
    np.testing.assert_array_equal(both.labels, cleared.labels)
    np.testing.assert_array_equal(both.ignore, cleared.ignore)


def test_a_detection_in_a_negative_tile_does_not_join():
    image, _ = draw_tissue(np.random.default_rng(0), 128)
    detections = np.zeros(image.shape[:2], np.int32)
    detections[90:110, 20:40], detections[20:40, 20:40] = 1, 2
    negative = np.zeros(image.shape[:2], bool)
    negative[95:] = True  # three quarters of the first
    nothing = PseudoMasks(np.zeros_like(detections), np.zeros(0, np.float32), np.ones(detections.shape, bool))
    config, scores = load_config((), ("rounds.count=null",)), np.array([0.95, 0.9], np.float32)
    both = join_detections(nothing, detections, scores, image, config)
    np.testing.assert_array_equal(both.labels > 0, detections > 0)
    joined = join_detections(nothing, detections, scores, image, config, negative)
    np.testing.assert_array_equal(joined.labels > 0, detections == 2)
    assert not joined.ignore[95:].any() and joined.ignore[60:90].all()


def test_tiles_are_trusted_by_the_recipe_of_the_stain_with_answers_alone():
    def trusts(*settings):
        return load_config((), settings).trusts_negative_tiles

    assert trusts() and not trusts("supervision=none") and not trusts("pseudo.recipe=paper")
