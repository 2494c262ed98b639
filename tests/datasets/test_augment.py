"""Augmentation: geometry moves image and labels alike, colour the image alone, and the seed decides."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from cyclic.datasets.augment import (
    augment,
    flip_turn,
    load_imgaug,
    mirror_half,
    other_lab,
    shear_zoom,
    stain_jitter,
    vary_as_paper,
)
from cyclic.errors import InputError
from cyclic.stain import STAIN_VECTORS


@pytest.fixture(scope="module")
def iaa():
    pytest.importorskip("shapely")
    try:
        return load_imgaug()
    except InputError as error:
        pytest.skip(str(error))


@pytest.fixture
def pair():
    """A dark image in which each nucleus has its own red value: image and labels can be compared after a move."""
    labels = np.zeros((64, 64), np.int32)
    labels[8:30, 10:28] = 7
    labels[30:44, 28:50] = 70000
    image = np.zeros((64, 64, 3), np.uint8)
    image[labels == 7] = (100, 0, 0)
    image[labels == 70000] = (200, 0, 0)
    return image, labels


def agreement(image: np.ndarray, labels: np.ndarray) -> float:
    """Share of pixels whose colour fits their label, edges (where the image is interpolated) left out."""
    expected = np.select([labels == 7, labels == 70000], [100, 200], 0)
    inside = ndimage.maximum_filter(labels, 3) == ndimage.minimum_filter(labels, 3)
    return (np.abs(image[..., 0].astype(int) - expected) < 40)[inside].mean()


def test_geometry_moves_image_and_labels_alike(iaa, pair):
    turn = iaa.Affine(rotate=(-90, 90), translate_px=(-9, 9))
    augmenter = iaa.Sequential([iaa.Fliplr(0.5), turn, iaa.Crop(px=(0, 9))])
    moved = 0
    for seed in range(8):
        image, labels = augment(*pair, augmenter, seed)
        assert agreement(image, labels) > 0.99
        assert set(np.unique(labels)) <= {0, 7, 70000} and labels.dtype == np.int32
        moved += (labels != pair[1]).any()
    assert moved == 8


def test_elastic_transformation_works_on_numpy_2(iaa, pair):
    image, labels = augment(*pair, iaa.ElasticTransformation(alpha=30, sigma=5), 3)
    assert (labels != pair[1]).any() and agreement(image, labels) > 0.99


@pytest.mark.parametrize(
    "noise", [lambda iaa: iaa.FrequencyNoiseAlpha(first=iaa.Add(50)), lambda iaa: iaa.Fog(), lambda iaa: iaa.Clouds()]
)
def test_noise_of_frequencies_works_on_numpy_2(iaa, pair, noise):
    image, labels = augment(*pair, noise(iaa), 3)
    assert (image != pair[0]).any() and np.array_equal(labels, pair[1])


def test_numpy_stays_as_it_is_and_a_plain_import_of_imgaug_works(iaa):
    code = """
import numpy as np
before = set(dir(np))
from cyclic.datasets.augment import imgaug
import imgaug as plain
from imgaug import augmenters as iaa
print(set(dir(np)) == before, hasattr(np, "complex"), plain is imgaug, iaa.Fliplr(1.0).augment_image(np.eye(2))[0])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True False True [0. 1.]"


def test_the_module_has_no_other_late_names():
    from cyclic.datasets import augment as module

    with pytest.raises(AttributeError, match="no attribute 'imgaugs'"):
        _ = module.imgaugs


def test_load_imgaug_patches_once(iaa, pair):
    before = iaa.ElasticTransformation._map_coordinates.__func__
    assert load_imgaug().ElasticTransformation._map_coordinates.__func__ is before


def test_colour_leaves_labels_alone(iaa, pair):
    augmenter = iaa.Sequential([iaa.Add(20), iaa.GaussianBlur(1.5), iaa.AdditiveGaussianNoise(scale=9)])
    image, labels = augment(*pair, augmenter, 0)
    assert np.array_equal(labels, pair[1]) and not np.array_equal(image, pair[0])


def test_choice_augmenters_stay_aligned(iaa, pair):
    augmenter = iaa.SomeOf((1, 2), [iaa.Flipud(1.0), iaa.Rot90((1, 3)), iaa.Sometimes(0.5, iaa.Affine(rotate=30))])
    assert all(agreement(*augment(*pair, augmenter, seed)) > 0.99 for seed in range(10))


def test_seed_decides_alone(iaa, pair):
    augmenter = iaa.Affine(rotate=(-90, 90))
    first = augment(*pair, augmenter, 5)
    augment(*pair, augmenter, 6)
    again = augment(*pair, augmenter, np.random.default_rng(5))
    other = augment(*pair, augmenter, 6)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[1], other[1])


def test_generator_moves_on(iaa, pair):
    rng = np.random.default_rng(0)
    results = [augment(*pair, iaa.Affine(rotate=(-90, 90)), rng)[1] for _ in range(2)]
    assert not np.array_equal(*results)


def test_inputs_are_not_changed(iaa, pair):
    image, labels = pair[0].copy(), pair[1].copy()
    augment(image, labels, iaa.Sequential([iaa.Flipud(1.0), iaa.Add(9)]), 0)
    assert np.array_equal(image, pair[0]) and np.array_equal(labels, pair[1])


def test_size_change_is_refused(iaa, pair):
    with pytest.raises(InputError, match=r"turns \(64, 64, 3\) into \(32, 32, 3\)"):
        augment(*pair, iaa.Resize(32), 0)


def test_not_an_augmenter(iaa, pair):
    with pytest.raises(InputError, match="no imgaug augmenter"):
        augment(*pair, "fliplr", 0)


def test_imgaug_missing(monkeypatch, pair):
    monkeypatch.setitem(sys.modules, "imgaug", None)
    monkeypatch.setitem(sys.modules, "imgaug.augmenters", None)
    with pytest.raises(InputError, match="pip install imgaug"):
        augment(*pair, None, 0)


def test_importing_the_module_loads_neither_keras_nor_imgaug():
    code = "import sys, cyclic.datasets.augment; print([m for m in ('keras', 'imgaug') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@given(seed=st.integers(0, 10**6), height=st.integers(1, 9), width=st.integers(1, 9))
@settings(deadline=None, max_examples=50)
def test_flip_turn_moves_all_arrays_alike(seed, height, width):
    labels = np.arange(height * width, dtype=np.int32).reshape(height, width)
    image = np.stack([labels, labels * 2, labels * 3], axis=-1)
    moved, moved_labels = flip_turn(np.random.default_rng(seed), image, labels)
    assert np.array_equal(moved, np.stack([moved_labels * k for k in (1, 2, 3)], axis=-1))
    assert sorted(moved_labels.ravel()) == sorted(labels.ravel()) and moved_labels.flags.c_contiguous


def test_flip_turn_reaches_all_eight_symmetries():
    rng = np.random.default_rng(0)
    square = np.arange(4).reshape(2, 2)
    assert len({flip_turn(rng, square)[0].tobytes() for _ in range(200)}) == 8


def test_stain_jitter_changes_colour_within_bounds():
    image = np.random.default_rng(1).integers(30, 250, (40, 50, 3), np.uint8)
    jittered = [stain_jitter(image, np.random.default_rng(seed), 0.05) for seed in (0, 0, 1)]
    assert np.array_equal(jittered[0], jittered[1]) and not np.array_equal(jittered[0], jittered[2])
    assert jittered[0].shape == image.shape and jittered[0].dtype == np.uint8
    change = np.abs(jittered[0].astype(int) - image).mean()
    assert 0.5 < change < 25


def test_stain_jitter_without_strength_is_identity():
    image = np.random.default_rng(1).integers(0, 256, (40, 50, 3), np.uint8)
    assert np.array_equal(stain_jitter(image, np.random.default_rng(0), 0.0), image)


def test_stain_jitter_is_tellez_in_hed_space():
    """The fused matrix gives what separation, scaling, shifting and recombination give one after the other."""
    image = np.random.default_rng(1).integers(0, 256, (30, 30, 3), np.uint8)
    rng = np.random.default_rng(4)
    scale, shift = rng.uniform(0.8, 1.2, 3), rng.uniform(-0.2, 0.2, 3)
    hed = -np.log((image + 1.0) / 256) @ np.linalg.inv(STAIN_VECTORS)
    expected = np.clip(256 * np.exp(-(hed * scale + shift) @ STAIN_VECTORS) - 1, 0, 255)
    jittered = stain_jitter(image, np.random.default_rng(4), 0.2)
    assert np.abs(jittered - expected).max() <= 0.51


def test_other_labs_differ_in_colour_and_leave_nuclei_where_they_are():
    image = np.full((48, 48, 3), (200, 150, 190), np.uint8)
    image[16:32, 16:32] = (90, 60, 140)
    seen = [other_lab(image, np.random.default_rng(seed)) for seed in range(40)]
    assert np.array_equal(seen[0], other_lab(image, np.random.default_rng(0)))
    assert all(each.shape == image.shape and each.dtype == np.uint8 for each in seen)
    nuclei, tissue = (np.array([each[place, place] for each in seen], float) for place in (24, 4))
    assert (nuclei.mean(axis=-1) < tissue.mean(axis=-1)).all()
    # As far apart as labs are: tens of grey levels in each colour, not a few.
    assert np.ptp(tissue, axis=0).min() > 30


def test_shear_zoom_moves_but_keeps_centre_and_size():
    image = np.zeros((41, 61, 3), np.uint8)
    image[18:23, 28:33] = 255
    image[4:8, 4:8] = 128
    for seed in range(5):
        labels = (image[..., 0] > 0).astype(np.int16) - 1
        moved, moved_labels = shear_zoom(np.random.default_rng(seed), 0.3, 0.3, image, labels)
        assert set(np.unique(moved_labels)) == {-1, 0} and ((moved_labels == 0) == (moved[..., 0] > 60)).mean() > 0.98
        assert moved.shape == image.shape and moved.dtype == np.uint8
        assert (moved[20, 30] == 255).all() and not np.array_equal(moved, image)
    assert np.array_equal(shear_zoom(np.random.default_rng(0), 0.0, 0.0, image)[0], image)


def test_the_papers_variation_moves_labels_with_the_image(pair):
    image, labels = pair
    outcomes = {"same": 0, "moved": 0, "brighter": 0, "blurred": 0}
    for seed in range(200):
        varied, moved = vary_as_paper(np.random.default_rng(seed), image, labels)
        assert varied.shape == image.shape and varied.dtype == np.uint8 and moved.dtype == labels.dtype
        assert np.bincount(moved.ravel() % 9).tolist() == np.bincount(labels.ravel() % 9).tolist()
        colours, plain = np.unique(varied[..., 0]), np.array_equal(np.unique(varied[..., 0]), [0, 100, 200])
        outcomes["moved"] += not np.array_equal(moved, labels)
        outcomes["blurred"] += len(colours) > 3
        outcomes["brighter"] += len(colours) == 3 and not plain
        outcomes["same"] += plain and np.array_equal(moved, labels)
        if plain:  # every pixel went where its label went
            assert agreement(varied, moved) == 1
        elif len(colours) == 3:  # brightness alone: one factor for all
            assert 0.8 <= colours[1] / 100 <= 1.5 and (colours[2] == 255 or abs(colours[2] / colours[1] - 2) < 0.03)
    assert all(outcomes.values()) and outcomes["same"] > 60


def test_half_of_the_tiles_are_mirrored(pair):
    image, labels = pair
    moved = [mirror_half(np.random.default_rng(seed), image, labels) for seed in range(40)]
    kinds = [np.array_equal(tile, image[:, ::-1]) for tile, _ in moved]
    assert 8 < sum(kinds) < 32 and all(
        kind or np.array_equal(tile, image) for kind, (tile, _) in zip(kinds, moved, strict=True)
    )
    assert all(agreement(tile, label) == 1 for tile, label in moved)
