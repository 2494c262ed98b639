"""Tiles of images without labels, and a plain folder of images as a data set."""

import shutil

import numpy as np
import pytest

from cyclic.datasets.image_folder import ImageFolderDataset
from cyclic.datasets.layouts import open_dataset, open_splits
from cyclic.datasets.monusac import MonusacDataset
from cyclic.datasets.tile_folder import load_tiles
from cyclic.datasets.tile_grid import cut_unsorted, grid_tiles
from cyclic.errors import InputError
from cyclic.files import write_image, write_json
from cyclic.images import read_image


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for name, shape in (("a", (40, 56, 3)), ("b", (32, 32, 3))):
        write_image(tmp_path / "images" / f"{name}.png", rng.integers(0, 256, shape, np.uint8))
    (tmp_path / "images/notes.txt").write_text("x")
    return tmp_path / "images"


def test_a_folder_of_images_alone_is_a_data_set_without_labels(folder):
    dataset = open_dataset(folder)
    assert isinstance(dataset, ImageFolderDataset) and dataset.ids == ["a", "b"] and not dataset.has_labels("a")
    train, val = open_splits(folder)
    assert train.ids == ["a", "b"] and val is None
    write_json(folder / "split.json", {"train": ["b"], "val": ["a"]})
    train, val = open_splits(folder)
    assert (train.ids, val.ids) == (["b"], ["a"])


def test_the_known_layouts_come_before_a_stray_image(folder):
    (folder / "images").mkdir()
    shutil.copy(folder / "a.png", folder / "images/c.png")
    dataset = open_dataset(folder)
    assert isinstance(dataset, MonusacDataset) and dataset.ids == ["c"]


def test_a_grid_covers_every_image(folder):
    dataset = open_dataset(folder)
    covered = {name: np.zeros(dataset.image(name).shape[:2], bool) for name in dataset.ids}
    for tile in grid_tiles(dataset, 16, 16):
        covered[tile.image_id][tile.y : tile.y + 16, tile.x : tile.x + 16] = True
    assert all(area.all() for area in covered.values())
    with pytest.raises(InputError, match=r"b.png: 32 x 32 pixels, smaller than a tile; choose a smaller size"):
        grid_tiles(dataset, 33, 16)


def test_tiles_to_sort_train_once_they_are_moved(folder, tmp_path):
    dataset, out = open_dataset(folder), tmp_path / "tiles"
    counts = cut_unsorted(dataset, out, 16, 16)
    files = sorted((out / "unsorted").iterdir())
    assert counts.unsorted == len(files) == len(grid_tiles(dataset, 16, 16)) and not (out / "positive").exists()
    name, y, x = files[-1].stem.split("_")
    assert np.array_equal(read_image(files[-1]), dataset.image(name)[int(y) : int(y) + 16, int(x) : int(x) + 16])
    for kind, path in zip(("positive", "negative"), files, strict=False):
        (out / kind).mkdir()
        path.rename(out / kind / path.name)
    assert load_tiles(out).labels.tolist() == [0, 1]
    again = cut_unsorted(dataset, out, 16, 16)
    assert again.reused and (again.positive, again.negative, again.unsorted) == (1, 1, len(files) - 2)


def test_some_tiles_are_the_same_by_seed(folder, tmp_path):
    dataset, names = open_dataset(folder), {}
    for out, seed in (("a", 0), ("b", 0), ("c", 1)):
        assert cut_unsorted(dataset, tmp_path / out, 16, 16, count=5, seed=seed).unsorted == 5
        names[out] = {path.name for path in (tmp_path / out / "unsorted").iterdir()}
    assert names["a"] == names["b"] != names["c"]


def test_other_tiles_are_never_mixed_in(folder, tmp_path):
    dataset = open_dataset(folder)
    cut_unsorted(dataset, tmp_path / "tiles", 16, 16)
    with pytest.raises(InputError, match="tiles of other images or settings"):
        cut_unsorted(dataset, tmp_path / "tiles", 16, 8)
    (tmp_path / "tiles/tiles.json").unlink()
    with pytest.raises(InputError, match="tiles without tiles.json; remove unsorted/ or"):
        cut_unsorted(dataset, tmp_path / "tiles", 16, 16)
    # What a killed cut left is cut again.
    (tmp_path / "tiles/.partial").mkdir()
    assert not cut_unsorted(dataset, tmp_path / "tiles", 16, 16).reused
