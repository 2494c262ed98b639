"""What the classifier does not see is no pseudo mask, and background rather than ignored."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy import ndimage

from cyclic.config import load_config
from cyclic.cycle import stages
from cyclic.datasets.synthetic import draw_tissue
from cyclic.errors import InputError
from cyclic.files import write_image
from cyclic.pseudo.background import clear_background, ignore_rest, trust_background
from cyclic.pseudo.candidates import pseudo_masks, scored_components, select_components
from cyclic.pseudo.select import PseudoMasks
from cyclic.semi.self_training import RING


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


def test_what_the_classifier_does_not_see_is_no_pseudo_mask():
    image, _ = draw_tissue(np.random.default_rng(0), 128)
    activation = np.zeros(image.shape[:2], np.float32)
    activation[:64] = 0.4  # nuclei in the upper half only
    every, seen, none = (
        pseudo_masks(activation, image, load_config(None, ("pseudo.share=1", f"pseudo.min_activation={level}")))
        for level in (0.0, 0.3, 0.5)
    )
    assert (every.labels[80:] > 0).any() and (every.labels[:48] > 0).any()
    assert not (seen.labels[80:] > 0).any()
    assert ((seen.labels > 0) == (every.labels > 0))[:48].all()
    assert (seen.labels.max(), len(seen.confidence)) == (len(np.unique(seen.labels)) - 1, seen.labels.max())
    assert seen.ignore[80:].sum() >= (every.labels[80:] > 0).sum()  # unseen is not background yet
    assert none.labels.max() == 0


def test_a_detection_the_classifier_does_not_see_does_not_join(tmp_path):
    image, _ = draw_tissue(np.random.default_rng(0), 128)
    detections = np.zeros(image.shape[:2], np.int32)
    detections[90:110, 20:40], detections[20:40, 20:40] = 1, 2
    stages.save_detections(tmp_path / "detections", "tissue", detections, np.array([0.95, 0.9], np.float32))
    activation = np.zeros(image.shape[:2], np.float32)
    activation[:64] = 0.4
    nothing = PseudoMasks(np.zeros_like(detections), np.zeros(0, np.float32), np.zeros(detections.shape, bool))
    for level, joining in ((0.0, [1, 2]), (0.3, [2]), (0.5, [])):
        context = SimpleNamespace(
            config=load_config(None, (f"pseudo.min_activation={level}", "rounds.count=null")),
            images={"tissue": image},
            background={},
        )
        joined = stages._joined(context, nothing, tmp_path, "tissue", activation)
        np.testing.assert_array_equal(joined.labels > 0, np.isin(detections, joining))


def test_nothing_lies_in_a_negative_tile():
    image, _ = draw_tissue(np.random.default_rng(0), 128)
    config, activation = load_config(None, ("pseudo.share=1",)), np.ones(image.shape[:2], np.float32)
    negative = np.zeros(image.shape[:2], bool)
    negative[64:] = True
    every, some = (
        select_components(*scored_components(activation, image, config, background), config)
        for background in (None, negative)
    )
    assert (every.labels[80:] > 0).any() and not (some.labels[80:] > 0).any()
    assert ((some.labels > 0) == (every.labels > 0))[:48].all()
    assert some.ignore[80:].any()
    cleared = clear_background(some, negative)
    assert not cleared.ignore[64:].any() and (cleared.ignore[:64] == some.ignore[:64]).all()
    np.testing.assert_array_equal(cleared.labels, some.labels)


def test_a_detection_in_a_negative_tile_does_not_join(tmp_path):
    image, _ = draw_tissue(np.random.default_rng(0), 128)
    detections = np.zeros(image.shape[:2], np.int32)
    detections[90:110, 20:40], detections[20:40, 20:40] = 1, 2
    stages.save_detections(tmp_path / "detections", "tissue", detections, np.array([0.95, 0.9], np.float32))
    negative = np.zeros(image.shape[:2], bool)
    negative[95:] = True  # three quarters of the first
    context = SimpleNamespace(
        config=load_config(None, ("rounds.count=null",)), images={"tissue": image}, background={"tissue": negative}
    )
    nothing = PseudoMasks(np.zeros_like(detections), np.zeros(0, np.float32), np.ones(detections.shape, bool))
    joined = stages._joined(context, nothing, tmp_path, "tissue", np.ones(image.shape[:2], np.float32))
    np.testing.assert_array_equal(joined.labels > 0, detections == 2)
    assert not joined.ignore[95:].any() and joined.ignore[60:90].all()


def test_without_a_classifier_there_is_no_map_to_trust():
    with pytest.raises(InputError, match=r"pseudo\.background 0"):
        load_config(None, ("supervision=none", "pseudo.agreement=false", "pseudo.background=0.1"))
    with pytest.raises(InputError, match=r"pseudo\.min_activation 0"):
        load_config(None, ("supervision=none", "pseudo.agreement=false", "pseudo.min_activation=0.1"))
    for supervision in ("none", "instance"):
        with pytest.raises(InputError, match=r"pseudo\.negative_tiles false"):
            load_config(
                None, (f"supervision={supervision}", "pseudo.agreement=false", "pseudo.negative_tiles=true", "cycles=1")
            )


def test_what_no_negative_tile_and_no_mask_tells_is_ignored():
    labels = np.zeros((40, 40), np.int32)
    labels[10:20, 10:20] = 1
    background = np.zeros((40, 40), bool)
    background[:, 30:] = True
    ignore = np.zeros((40, 40), bool)
    ignore[0, 0] = ignore[0, 39] = True
    found = ignore_rest(PseudoMasks(labels, np.ones(1, np.float32), ignore), background).ignore
    np.testing.assert_array_equal(found[:, 30:], ignore[:, 30:])
    distance = ndimage.distance_transform_edt(labels == 0)[:, :30]
    assert not found[:, :30][distance <= RING].any() and found[:, :30][distance > RING + 1].all()
    assert found.sum() > 700 and ignore.sum() == 2  # the argument is left alone


@pytest.mark.parametrize("ignored", [False, True])
def test_the_setting_decides_what_becomes_of_the_rest(ignored):
    pseudo = PseudoMasks(np.zeros((20, 20), np.int32), np.zeros(0, np.float32), np.zeros((20, 20), bool))
    background = np.zeros((20, 20), bool)
    background[:5] = True
    settings = ("pseudo.negative_tiles=true", f"pseudo.ignore_rest={ignored}")
    context = SimpleNamespace(config=load_config(None, settings), background={"tissue": background})
    found = stages._with_background(context, pseudo, "tissue", np.ones((20, 20), np.float32))
    np.testing.assert_array_equal(found.ignore, ignored & ~background)
    # Of an image without tiles of its own (val) nothing is known.
    assert not stages._with_background(context, pseudo, "other", np.ones((20, 20), np.float32)).ignore.any()


def test_to_ignore_the_rest_takes_negative_tiles():
    with pytest.raises(InputError, match=r"pseudo\.ignore_rest needs pseudo\.negative_tiles"):
        load_config(None, ("pseudo.ignore_rest=true",))


def test_tiles_of_unknown_place_are_no_background_to_rely_on(tmp_path):
    image, _ = draw_tissue(np.random.default_rng(0), 64)
    for name in ("negative/blank.png", "positive/full.png"):
        write_image(tmp_path / name, image)
    settings = (f"tiles.folder={tmp_path}", "pseudo.negative_tiles=true", "pseudo.ignore_rest=true")
    train = SimpleNamespace(ids=["tissue"], image=lambda name: image)
    context = stages.Context(load_config(None, settings), tmp_path, None, None, train, None, None)
    with pytest.raises(InputError, match=r"no negative tile is named .* set pseudo\.ignore_rest .* to false"):
        context.background  # noqa: B018
    write_image(tmp_path / "negative/tissue_0_0.png", image[:32, :32])
    again = stages.Context(context.config, tmp_path, None, None, train, None, None)
    assert again.background["tissue"].sum() == 32 * 32
