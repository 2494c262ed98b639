"""Synthetic tissue: reproducible, connected nuclei, and neither too easy nor too hard for stain alone."""

import cv2
import numpy as np
import pytest
from scipy import ndimage
from skimage.color import rgb2hed
from skimage.feature import peak_local_max
from skimage.filters import threshold_otsu
from skimage.segmentation import watershed

from cyclic.datasets.monusac import MonusacDataset
from cyclic.datasets.synthetic import draw_tissue, write_tissue_set
from cyclic.datasets.tile_cutting import tile_coverage


@pytest.fixture(scope="module")
def fields():
    return [draw_tissue(np.random.default_rng([5, k])) for k in range(6)]


def baseline(image: np.ndarray) -> np.ndarray:
    """Segment without any label: hematoxylin, Otsu's threshold, distance-transform watershed."""
    hematoxylin = cv2.GaussianBlur(rgb2hed(image)[..., 0].astype(np.float32), (0, 0), 1.0)
    mask = ndimage.binary_fill_holes(hematoxylin > threshold_otsu(hematoxylin))
    mask = ndimage.binary_opening(mask, iterations=2)
    distance = cv2.GaussianBlur(ndimage.distance_transform_edt(mask).astype(np.float32), (0, 0), 1.5)
    peaks = peak_local_max(distance, min_distance=7, labels=ndimage.label(mask)[0])
    markers = np.zeros(mask.shape, np.int32)
    markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    return watershed(-distance, markers, mask=mask)


def aji_and_dice(truth: np.ndarray, predicted: np.ndarray) -> tuple[float, float]:
    overlap = np.zeros((truth.max() + 1, predicted.max() + 1))
    np.add.at(overlap, (truth, predicted), 1)
    union = overlap.sum(1, keepdims=True) + overlap.sum(0, keepdims=True) - overlap
    inner, outer = overlap[1:, 1:], union[1:, 1:]
    best = (inner / outer).argmax(axis=1)
    rows = np.arange(len(best))
    unused = np.setdiff1d(np.arange(inner.shape[1]), best)
    aji = inner[rows, best].sum() / (outer[rows, best].sum() + overlap[:, 1:].sum(0)[unused].sum())
    return aji, 2 * ((truth > 0) & (predicted > 0)).sum() / ((truth > 0).sum() + (predicted > 0).sum())


def test_shapes_and_types(fields):
    for image, labels in fields:
        assert image.shape == (256, 256, 3) and image.dtype == np.uint8
        assert labels.shape == (256, 256) and labels.dtype == np.int32


def test_nuclei_are_like_monuseg_at_40x(fields):
    areas = np.concatenate([np.bincount(labels.ravel())[1:] for _, labels in fields])
    assert 20 <= np.sqrt(4 * areas / np.pi).mean() <= 27 and areas.std() > 100
    assert all(15 <= labels.max() <= 60 and 0.1 <= (labels > 0).mean() <= 0.35 for _, labels in fields)


def test_ids_are_dense_and_each_nucleus_is_one_piece(fields):
    for _, labels in fields:
        assert np.array_equal(np.unique(labels), np.arange(labels.max() + 1))
        assert all(ndimage.label(labels == nucleus)[1] == 1 for nucleus in range(1, labels.max() + 1))


def test_nuclei_touch(fields):
    for _, labels in fields:
        assert ndimage.label(labels > 0)[1] < labels.max()


def test_every_image_has_positive_and_negative_tiles(fields):
    for _, labels in fields:
        _, coverage = tile_coverage(labels > 0, size=64, stride=12)
        assert (coverage == 0).any() and (coverage > 0.2).any()


def test_hard_for_a_threshold_yet_the_signal_is_there(fields):
    scores = np.mean([aji_and_dice(labels, baseline(image)) for image, labels in fields], axis=0)
    assert 0.25 < scores[0] < 0.55
    assert 0.6 < scores[1] < 0.85
    for image, labels in fields:
        assert image[labels > 0].mean() < image[labels == 0].mean() - 15


def test_stain_varies_between_images(fields):
    assert np.std([image.reshape(-1, 3).mean(0) for image, _ in fields], axis=0).min() > 2


def test_same_seed_same_image():
    first, again, other = (draw_tissue(np.random.default_rng(seed), 128) for seed in (3, 3, 4))
    assert np.array_equal(first[0], again[0]) and np.array_equal(first[1], again[1])
    assert not np.array_equal(first[0], other[0])


@pytest.mark.parametrize("size", [96, 130, 400])
def test_other_sizes(size):
    image, labels = draw_tissue(np.random.default_rng(0), size)
    assert image.shape == (size, size, 3) and labels.shape == (size, size) and labels.max() >= 1


def test_written_set_reads_back(tmp_path):
    write_tissue_set(tmp_path, n_train=2, n_val=1, size=128, seed=9)
    train, val = MonusacDataset(tmp_path, "train"), MonusacDataset(tmp_path, "val")
    assert train.ids == ["train_000", "train_001"] and val.ids == ["val_000"]
    image, labels = draw_tissue(np.random.default_rng([9, 0, 1]), 128)
    assert np.array_equal(train.image("train_001"), image)
    assert np.array_equal(train.label_map("train_001"), labels)
    assert not np.array_equal(train.image("train_000"), val.image("val_000"))


def test_larger_set_begins_with_the_smaller_one(tmp_path):
    write_tissue_set(tmp_path / "a", n_train=1, n_val=1, size=96)
    write_tissue_set(tmp_path / "b", n_train=2, n_val=1, size=96)
    small, large = MonusacDataset(tmp_path / "a"), MonusacDataset(tmp_path / "b")
    assert all(np.array_equal(small.image(i), large.image(i)) for i in small.ids)
