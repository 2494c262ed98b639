"""Folders of tiles: reading them, the areas without nuclei, and what is held out."""

import doctest
import pathlib

import numpy as np
import pytest
from labelled_images import field, fields

from cyclic.datasets import tile_folder as module
from cyclic.datasets.tile_cutting import cut_tiles
from cyclic.datasets.tile_folder import TileFolder, load_tiles, negative_areas, parse_tile_name, split_tiles
from cyclic.errors import InputError
from cyclic.files import write_image


def test_docstring_examples_run():
    result = doctest.testmod(module)
    assert result.attempted == 2 and result.failed == 0


def test_other_names_are_no_tile_names():
    assert [parse_tile_name(name) for name in ("kidney", "kidney_1", "_1_2", "kidney_1_b")] == [None] * 4
    assert parse_tile_name("a_1_2_3") == ("a_1", 2, 3)


def test_a_tile_is_positive_or_negative(tmp_path):
    for kind in ("positive", "negative"):
        for name in ("a_0_8", "mine"):  # two pictures called mine may be of different places
            write_image(tmp_path / kind / f"{name}.png", np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(InputError, match=r"a_0_8.png lies in positive/ and in negative/"):
        load_tiles(tmp_path)
    (tmp_path / "negative/a_0_8.png").unlink()
    assert len(load_tiles(tmp_path).paths) == 3


def test_negative_areas_are_the_negative_tiles(tmp_path):
    cut_tiles(fields(2), tmp_path, size=32, stride=16, balance=False)
    shapes = {"image_1": (160, 160), "another": (8, 9)}
    areas = negative_areas(tmp_path, shapes)
    assert {name: area.shape for name, area in areas.items()} == shapes
    assert not areas["another"].any()
    _, labels = field(1)
    assert not (areas["image_1"] & (labels > 0)).any()
    assert areas["image_1"][:, 64:].all()  # no nucleus there, and tiles 4 pixels apart
    names = {path.stem for path in (tmp_path / "negative").glob("image_1_*")}
    y, x = parse_tile_name(kept := names.pop())[1:]
    only = negative_areas(tmp_path, shapes, names)["image_1"]
    assert only[y : y + 32, x : x + 32].all() and only.sum() == 32 * 32, kept
    with pytest.raises(InputError, match=r"negative/image_1_\d+_\d+.png: lies outside"):
        negative_areas(tmp_path, {"image_1": (160, 150)})
    damaged = next((tmp_path / "negative").glob("image_1_*.png"))
    damaged.write_bytes(damaged.read_bytes()[:20])  # half of the header
    with pytest.raises(InputError, match=damaged.name):
        negative_areas(tmp_path, shapes)


def test_load_reads_what_cut_wrote(tmp_path):
    counts = cut_tiles(fields(), tmp_path, size=32, stride=16, balance=False)
    tiles = load_tiles(tmp_path)
    assert np.bincount(tiles.labels).tolist() == [counts.negative, counts.positive] and tiles.labels.dtype == np.int32
    assert all(path.parent.name == ("negative", "positive")[y] for path, y in zip(*vars(tiles).values(), strict=True))


def test_load_any_suffix_and_missing_class(tmp_path):
    write_image(tmp_path / "positive" / "a.jpg", field()[0])
    write_image(tmp_path / "positive" / "b.tif", field()[0])
    with pytest.raises(InputError, match="negative: no such folder"):
        load_tiles(tmp_path)
    (tmp_path / "negative").mkdir()
    with pytest.raises(InputError, match="negative: no images"):
        load_tiles(tmp_path)
    write_image(tmp_path / "negative" / "c.png", field()[0])
    assert load_tiles(tmp_path).labels.tolist() == [0, 1, 1]


def tile_folder(images: int, per_image: int = 6) -> TileFolder:
    paths = [pathlib.Path(f"case_{i}_{8 * k}_0.png") for i in range(images) for k in range(per_image)]
    return TileFolder(paths, np.arange(len(paths), dtype=np.int32) % 2)


def test_split_holds_out_whole_images():
    tiles = tile_folder(10)
    train, held = split_tiles(tiles, 0.2, seed=1)
    sources = [{path.stem.rsplit("_", 2)[0] for path in part.paths} for part in (train, held)]
    assert not sources[0] & sources[1] and len(sources[1]) == 2
    assert sorted(train.paths + held.paths) == sorted(tiles.paths)
    labels = dict(zip(tiles.paths, tiles.labels, strict=True))
    assert all(labels[p] == y for part in (train, held) for p, y in zip(part.paths, part.labels, strict=True))
    assert split_tiles(tiles, 0.2, seed=1)[1].paths == held.paths
    assert any(split_tiles(tiles, 0.2, seed=s)[1].paths != held.paths for s in range(2, 6))


def test_split_of_few_images_or_other_names_is_random():
    for tiles in (tile_folder(3, 20), TileFolder([pathlib.Path(f"t{k}.png") for k in range(60)], np.arange(60) % 2)):
        train, held = split_tiles(tiles, 0.1)
        assert np.bincount(held.labels).tolist() == [3, 3] and len(train.paths) == 54
        assert not set(train.paths) & set(held.paths)


def test_split_keeps_both_classes_on_both_sides():
    paths = [pathlib.Path(f"case_{i}_{k}_0.png") for i in range(6) for k in range(4)]
    tiles = TileFolder(paths, np.repeat([0, 0, 0, 0, 0, 1], 4))  # all positives in one image: no image split works
    for seed in range(5):
        assert all(len(np.unique(part.labels)) == 2 for part in split_tiles(tiles, 0.2, seed))


def test_split_wrong_use():
    with pytest.raises(InputError, match="share in"):
        split_tiles(tile_folder(4), 1.0)
    with pytest.raises(InputError, match="two tiles of each class"):
        split_tiles(TileFolder([pathlib.Path("a"), pathlib.Path("b"), pathlib.Path("c")], np.array([0, 0, 1])))
