"""What is known of pixels: negative tiles, confident detections, and nothing else."""

import numpy as np

from cyclic.classifier.pixel_targets import BACKGROUND, NUCLEUS, SILENT, image_targets, tile_targets, unanswered_tiles


def two_detections():
    labels = np.zeros((40, 40), np.int32)
    labels[5:10, 5:10], labels[20:25, 20:25] = 1, 2
    return labels, np.array([0.9, 0.6], np.float32)


def test_only_sure_detections_are_nuclei_and_negative_tiles_have_the_last_word():
    background = np.zeros((40, 40), bool)
    background[:8] = True
    targets = image_targets(*two_detections(), 0.85, background)
    assert targets.dtype == np.int8
    assert (targets[8:10, 5:10] == NUCLEUS).all() and (targets[:8] == BACKGROUND).all()
    assert (targets[20:25, 20:25] == SILENT).all() and targets[30, 30] == SILENT


def test_targets_without_detections_and_without_background():
    targets = image_targets(np.zeros((9, 7), np.int32), np.zeros(0, np.float32), 0.85)
    assert targets.shape == (9, 7) and (targets == SILENT).all()


def test_negative_tiles_are_background_and_positive_ones_what_their_place_says():
    known = {"a": np.full((40, 40), SILENT, np.int8)}
    known["a"][10:14, 12:20] = NUCLEUS
    names = ["a_0_0", "a_8_10", "b_0_0", "of_no_place"]
    targets = tile_targets(names, np.array([0, 1, 1, 1]), 16, known)
    assert (targets[0] == BACKGROUND).all() and (targets[2:] == SILENT).all()
    assert np.array_equal(targets[1], known["a"][8:24, 10:26])
    assert (tile_targets(names, np.array([0, 1, 1, 1]), 16)[1:] == SILENT).all()


def test_unanswered_tiles_lie_where_a_nucleus_is_known():
    image = np.arange(40 * 40 * 3, dtype=np.uint16).reshape(40, 40, 3).astype(np.uint8)
    known = {"a": np.full((40, 40), SILENT, np.int8), "b": np.full((40, 40), BACKGROUND, np.int8)}
    known["a"][39, 39] = known["a"][0, 0] = NUCLEUS
    tiles, targets = unanswered_tiles({"a": image, "b": image}, known, 16)
    assert np.array_equal(tiles, [image[:16, :16], image[24:, 24:]])
    assert np.array_equal(targets, [known["a"][:16, :16], known["a"][24:, 24:]])
    none, _ = unanswered_tiles({"a": image}, {}, 16)
    assert none.shape == (0, 16, 16, 3)
