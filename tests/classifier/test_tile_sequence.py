"""Batches of tiles: full, balanced, reproducible in training; in order and untouched otherwise."""

import numpy as np
import pytest

from cyclic.classifier.tile_sequence import TileSequence
from cyclic.datasets.tile_folder import load_tiles, read_tiles
from cyclic.errors import InputError
from cyclic.files import write_image
from cyclic.images import read_image


@pytest.fixture
def folder(tmp_path):
    """Ten negative tiles (values 0..9) and four positive ones (100..103), each with a mark that augmentation moves."""
    for name, values in (("negative", range(10)), ("positive", range(100, 104))):
        for value in values:
            tile = np.full((16, 16, 3), value, np.uint8)
            tile[:4, :6] = 200
            write_image(tmp_path / name / f"{value:03d}.png", tile)
    return load_tiles(tmp_path)


def test_sequence_without_training_is_in_order_and_untouched(folder):
    sequence = TileSequence(read_tiles(folder.paths), folder.labels, batch_size=4, train=False)
    batches = [sequence[k] for k in range(len(sequence))]
    assert [len(labels) for _, labels in batches] == [4, 4, 4, 2]
    images, labels = (np.concatenate(part) for part in zip(*batches, strict=True))
    assert images.dtype == np.float32 and labels.dtype == np.int32 and images.shape == (14, 16, 16, 3)
    assert np.array_equal(labels, folder.labels)
    assert np.array_equal(images, [read_image(path) for path in folder.paths])


def test_training_batches_are_full_balanced_and_show_everything(folder):
    sequence = TileSequence(read_tiles(folder.paths), folder.labels, batch_size=6)
    batches = [sequence[k] for k in range(len(sequence))]
    assert all(images.shape == (6, 16, 16, 3) and labels.sum() == 3 for images, labels in batches)
    assert all(((images[:, 8, 8, 0] >= 100) == labels).all() for images, labels in batches)
    assert len({images[k, 8, 8, 0] for images, _ in batches for k in range(6)}) == 14


def test_odd_batch_size(folder):
    sequence = TileSequence(read_tiles(folder.paths), folder.labels, batch_size=5)
    assert all(len(sequence[k][1]) == 5 for k in range(len(sequence)))


def test_sequence_is_reproducible_and_differs_between_epochs(folder):
    first, again = (
        TileSequence(read_tiles(folder.paths), folder.labels, 4, seed=3, zoom=0.2, shear=0.2) for _ in range(2)
    )
    again[1]  # batches may be asked for in any order
    assert np.array_equal(first[0][0], again[0][0])
    before = first[0][0]
    first.on_epoch_end()
    assert not np.array_equal(first[0][0], before)
    assert not np.array_equal(TileSequence(read_tiles(folder.paths), folder.labels, 4, seed=4)[0][0], before)


def test_training_flips_and_calls_augment(folder):
    corners = set()
    sequence = TileSequence(read_tiles(folder.paths), folder.labels, 8, augment=lambda image, rng: 255 - image)
    for images, _ in (sequence[k] for k in range(len(sequence))):
        corners |= {tuple(np.argwhere(image[..., 0] == 55).min(0)) for image in images}
    assert len(corners) > 3


@pytest.mark.parametrize(("scale", "side"), [(1, 16), (1.5, 24), (2, 32)])
def test_scale_enlarges(folder, scale, side):
    images, _ = TileSequence(read_tiles(folder.paths), folder.labels, 4, train=False, scale=scale)[0]
    assert images.shape == (4, side, side, 3) and images.min() >= 0 and images.max() <= 255


def test_sequence_wrong_use(folder, tmp_path):
    with pytest.raises(InputError, match="positive"):
        TileSequence(read_tiles(folder.paths[:3]), folder.labels[:3], 4)
    with pytest.raises(InputError, match="no tile"):
        read_tiles([])
    write_image(tmp_path / "odd.png", np.zeros((17, 16, 3), np.uint8))
    with pytest.raises(InputError, match=r"odd\.png: shape \(17, 16\)"):
        read_tiles([folder.paths[0], tmp_path / "odd.png"])


def marked_tiles(count=12):
    """Tiles whose dark corner is a nucleus in the targets; the last third has no answer."""
    tiles = np.full((count, 16, 16, 3), 200, np.uint8)
    targets = np.full((count, 16, 16), -1, np.int8)
    tiles[:, :8, :8] = 20
    targets[:, :8, :8] = 1
    return tiles, np.repeat([0, 1, -1], count // 3), targets


def test_targets_move_with_their_tile_and_take_the_size_of_the_level():
    tiles, labels, targets = marked_tiles()
    sequence = TileSequence(tiles, labels, 6, targets, zoom=0.3, shear=0.2, scale=2, stride=4)
    corners = set()
    for images, told in (sequence[k] for k in range(len(sequence))):
        assert images.shape == (6, 32, 32, 3) and told["evidence"].shape == (6, 8, 8)
        dark = images[:, 2::4, 2::4, 0] < 110
        assert ((told["evidence"] == 1) == dark).mean() > 0.9
        corners |= {tuple(np.argwhere(each == 1).mean(0).round()) for each in told["evidence"]}
    assert len(corners) > 3


# The fifth middle of scale 1.5 lies between pixels 11 and 12; versions of OpenCV take one or the other.
@pytest.mark.parametrize(("scale", "middle"), [(1, [2, 6, 10, 14]), (1.5, [1, 4, 6, 9, (11, 12), 14])])
def test_targets_are_those_of_the_middle_of_each_position(scale, middle):
    targets = np.tile(np.arange(16, dtype=np.int8), (2, 16, 1))
    sequence = TileSequence(np.zeros((2, 16, 16, 3), np.uint8), [0, 1], 2, targets, train=False, scale=scale)
    found = sequence[0][1]["evidence"]
    assert found.shape == (2, len(middle), len(middle))
    for column, expected in enumerate(middle):
        assert np.isin(found[:, :, column], expected).all() and len(np.unique(found[:, :, column])) == 1


def test_tiles_without_an_answer_are_a_class_of_their_own():
    tiles, labels, targets = marked_tiles()
    sequence = TileSequence(tiles, np.where(np.arange(12) < 9, labels, -1), 6, targets)
    for _, told in (sequence[k] for k in range(len(sequence))):
        assert sorted(told["answer"]) == [-1, -1, 0, 0, 1, 1]
