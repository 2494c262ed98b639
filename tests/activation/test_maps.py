"""Activation maps of whole images: any size, no seams, near 0 without evidence."""

import keras
import numpy as np
import pytest

from cyclic.activation import METHODS, activation_map
from cyclic.activation import maps as maps_module
from cyclic.classifier import build_classifier, head_layers
from cyclic.errors import InputError

MEAN_PIXEL = (200, 200, 200)
BACKGROUND, NUCLEUS = 220, 60


def dark_spot_classifier(bias=0.0, hidden=None, share=1.0):
    """A classifier made by hand: channel 0 is darkness below the mean pixel, channel 1 brightness above it."""
    image = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(2, 1, activation="relu", name="tone")(image)
    pyramid = [keras.layers.AveragePooling2D(4)(x)]
    for _ in range(3):
        pyramid.append(keras.layers.AveragePooling2D(2)(pyramid[-1]))
    backbone = keras.Model(image, pyramid, name="backbone")
    backbone.get_layer("tone").set_weights([np.array([[-1, 1]] * 3, "float32").reshape(1, 1, 3, 2) / 300, np.zeros(2)])
    classifier = build_classifier(backbone, ("C3", "C5"), hidden, share=share)
    # Darkness speaks for class 1, brightness a little against it.
    head_layers(classifier, "C3")[1].set_weights([np.array([[-50, 50], [10, -10]], "float32"), np.array([-bias, bias])])
    return classifier


@pytest.fixture(scope="module")
def classifier():
    return dark_spot_classifier()


def cam(classifier, image, method="gradcam", **options):
    return activation_map(classifier, image, MEAN_PIXEL, method, **{"level": "C3", "tile": 64, "overlap": 32} | options)


def spots(height=150, width=170, positions=((40, 50), (100, 120), (110, 30))):
    image = np.full((height, width, 3), BACKGROUND, np.uint8)
    inside = np.zeros((height, width), bool)
    for y, x in positions:
        inside[y - 8 : y + 8, x - 8 : x + 8] = True
    image[inside] = NUCLEUS
    return image, inside


@pytest.mark.parametrize("share", [1.0, 0.15])
@pytest.mark.parametrize("method", METHODS)
def test_map_is_high_on_the_spots_only(method, share):
    image, inside = spots()
    result = cam(dark_spot_classifier(share=share), image, method, scale=2)
    assert result.shape == inside.shape and result.dtype == np.float32
    assert result.min() >= 0 and 0.95 < result.max() <= 1
    assert result[inside].mean() > 0.7
    assert result[~inside].mean() < (0.35 if method == "evidence" else 0.1)  # its logits are divided


@pytest.mark.parametrize("size", [(20, 31), (64, 64), (65, 200), (1, 40)])
def test_any_image_size(classifier, size):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    result = cam(classifier, image, overlap=16, scale=1)
    assert result.shape == size
    assert np.isfinite(result).all() and result.max() > 0


def test_blank_image_is_not_stretched(classifier):
    image, inside = spots()
    image[inside] = 190
    result = cam(classifier, image)
    assert result.max() < 0.3
    assert cam(classifier, np.full_like(image, 255)).max() == 0


def test_evidence_is_a_probability_of_its_own_at_each_position():
    """What else the image shows does not count."""
    classifier = dark_spot_classifier(bias=-1.0, share=0.15)
    image, inside = spots()
    pale = image.copy()
    pale[:75] = BACKGROUND  # the first of the three spots is gone
    full, less = (cam(classifier, each, "evidence") for each in (image, pale))
    np.testing.assert_allclose(full[96:], less[96:], atol=1e-5)
    blank = cam(classifier, np.full_like(image, BACKGROUND), "evidence")
    assert blank.max() < 0.5 < full[inside].mean()


def test_evidence_needs_logits_of_positions():
    with pytest.raises(InputError, match="hidden layer"):
        cam(dark_spot_classifier(hidden=2), spots()[0], "evidence")


def test_region_without_nuclei_stays_dark(classifier):
    image, inside = spots(96, 400, ((40, 50),))
    image[30:50, 300:320] = 190
    result = cam(classifier, image)
    assert result[inside].mean() > 0.7
    assert result[:, 200:].max() < 0.05


def test_negative_head_bias_silences_weak_evidence():
    image, _ = spots()
    loud, silent = (cam(dark_spot_classifier(bias), image) for bias in (5, -20))
    assert loud.max() > 0.9
    assert silent.max() < 0.05


def test_seams_do_not_show(classifier):
    image, _ = spots(192, 192)
    tiled = cam(classifier, image)
    whole = cam(classifier, image, tile=224)
    assert np.abs(tiled - whole).mean() < 0.02
    assert np.corrcoef(tiled.ravel(), whole.ravel())[0, 1] > 0.98


def test_stitch_returns_a_pointwise_function_unchanged():
    image = np.random.default_rng(0).integers(0, 256, (70, 45, 3), dtype=np.uint8)
    sizes = []

    def function(tiles):
        sizes.append(tiles.shape)
        return tiles.astype(np.float32)

    np.testing.assert_allclose(maps_module._stitch(image, function, 3, 32, 8, 3), image, atol=1e-3)
    assert all(shape[0] <= 3 and shape[1:] == (32, 32, 3) for shape in sizes)


def test_values_asked_for_are_those_of_the_whole_map_and_take_fewer_tiles():
    model = dark_spot_classifier(share=0.15)
    image, inside = spots()
    image[inside] -= np.random.default_rng(0).integers(0, 60, (inside.sum(), 3), dtype=np.uint8)
    where = np.zeros_like(inside)
    where[30:50, 40:60] = where[149, 169] = True
    whole, some = (cam(model, image, "evidence", where=each) for each in (None, where))
    np.testing.assert_allclose(some[where], whole[where], atol=1e-6)
    assert some.dtype == np.float32 and not some[~where].any()
    assert not cam(model, image, "evidence", where=np.zeros_like(inside)).any()

    tiles = []
    maps_module._stitch(image, lambda batch: tiles.extend(batch) or batch, 3, 64, 32, 4, where)
    assert 0 < len(tiles) < 0.5 * len(maps_module.window_corners(*inside.shape, 64, 32))


@pytest.mark.parametrize("size", [(20, 31), (64, 64), (65, 200), (300, 90)])
def test_windows_cover_the_image_and_its_margin(size):
    corners = maps_module.window_corners(*size, tile=64, overlap=16)
    sides = [sum(maps_module._margins(side, 64, 16)) + side for side in size]
    seen = np.zeros(sides, bool)
    for y, x in corners:
        assert 0 <= y <= sides[0] - 64 and 0 <= x <= sides[1] - 64
        seen[y : y + 64, x : x + 64] = True
    assert seen.all() and len(set(corners)) == len(corners)


@pytest.mark.parametrize("scale", [1, 1.25, 1.5, 2])
def test_enlarged_tiles_of_evidence_fit_the_network(scale):
    for side in range(1, 1200, 7):
        tile, _ = maps_module.tiling("evidence", "C2", side, side, scale)
        assert tile <= 384 and tile * scale % 32 == 0 and 256 * scale % 32 == 0


@pytest.mark.parametrize("size", [(1, 40), (352, 200), (353, 353), (1000, 1000), (705, 3000)])
def test_evidence_of_c2_takes_few_tiles_of_the_least_side(size):
    tile, overlap = maps_module.tiling("evidence", "C2", *size)
    count = -(-max(size) // 352)
    assert tile % 32 == 0 and tile <= 384 and count * (tile - overlap) >= max(size) > count * (tile - overlap - 32)
    assert len({x for _, x in maps_module.window_corners(max(size), max(size), tile, overlap)}) == count
    assert maps_module.tiling("evidence", "C3", *size) == maps_module.tiling("gradcam", "C2", *size) == (256, 64)


def test_usual_tiles_of_evidence_show_no_seams():
    backbone = keras.Sequential([keras.Input((None, None, 3)), keras.layers.AveragePooling2D(4)])
    model = build_classifier(keras.Model(backbone.inputs, [backbone.outputs[0]], name="backbone"), share=0.15)
    head_layers(model, "C2")[1].set_weights([np.array([[0.1, -0.1]] * 3, "float32"), np.zeros(2)])
    image, _ = spots(400, 90)
    usual = activation_map(model, image, MEAN_PIXEL)
    np.testing.assert_allclose(usual, activation_map(model, image, MEAN_PIXEL, tile=512), atol=1e-3)


def test_map_follows_the_weights_in_place(classifier):
    """The compiled network is kept between calls; it must see weights that were trained since."""
    image, _ = spots()
    own = dark_spot_classifier()
    before = cam(own, image)
    tone = own.get_layer("backbone").get_layer("tone")
    tone.set_weights([-tone.get_weights()[0], np.zeros(2)])
    after = cam(own, image)
    assert np.corrcoef(before.ravel(), after.ravel())[0, 1] < 0


def test_hidden_head(classifier):
    model = dark_spot_classifier(hidden=2)
    hidden, logits = head_layers(model, "C3")
    hidden.set_weights([np.eye(2, dtype="float32"), np.zeros(2)])
    image, _ = spots()
    np.testing.assert_allclose(
        cam(model, image),
        cam(classifier, image),
        atol=0.05,
    )


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"method": "cam"}, "layercam"),
        ({"level": "C4"}, "heads on C3, C5"),
        ({"tile": 50}, "divisible by 32"),
        ({"overlap": 256}, "overlap"),
        ({"method": "lrp_epsilon", "where": np.ones((150, 170), bool)}, "evidence alone"),
        ({"where": np.ones((150, 171), bool)}, "150, 171"),
    ],
)
def test_wrong_arguments(classifier, arguments, message):
    with pytest.raises(InputError, match=message):
        activation_map(classifier, spots()[0], MEAN_PIXEL, **{"level": "C3"} | arguments)


def test_wrong_images(classifier):
    with pytest.raises(InputError, match="uint8 RGB"):
        activation_map(classifier, np.zeros((4, 4, 3), np.float32), MEAN_PIXEL)
