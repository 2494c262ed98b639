import json
import pathlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cyclic.datasets.monusac import MonusacDataset
from cyclic.datasets.tiles import (
    TileFolder,
    TileSequence,
    cut_tiles,
    load_tiles,
    negative_areas,
    split_tiles,
    tile_coverage,
)
from cyclic.errors import InputError
from cyclic.files import read_image, write_image

SHARED = pathlib.Path(__file__).resolve().parents[2].parent / "shared"


def field(seed: int = 0, side: int = 160) -> tuple[np.ndarray, np.ndarray]:
    """An image of noise with nuclei in its left half only."""
    image = np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)
    labels = np.zeros((side, side), np.int32)
    labels[10:40, 10:40], labels[60:100, 20:50], labels[120:150, 5:45] = 1, 2, 9
    return image, labels


def fields(count: int = 4) -> list[tuple[str, np.ndarray, np.ndarray]]:
    return [(f"image_{k}", *field(k)) for k in range(count)]


def names(folder: pathlib.Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 9), st.integers(12, 20), st.integers(12, 20))
@settings(deadline=None, max_examples=40)
def test_coverage_is_the_mean_of_each_tile(seed, size, stride, height, width):
    nuclei = np.random.default_rng(seed).random((height, width)) < 0.3
    corners, coverage = tile_coverage(nuclei, size, stride)
    assert coverage == pytest.approx([nuclei[y : y + size, x : x + size].mean() for y, x in corners])
    assert corners.max(0).tolist() == [height - size, width - size] and corners.min() == 0
    assert len(np.unique(corners, axis=0)) == len(corners)


def test_tiles_are_what_their_folder_says(tmp_path):
    counts = cut_tiles(fields(2), tmp_path, size=32, stride=16, balance=False)
    assert counts.positive == len(names(tmp_path / "positive")) > 10
    assert counts.negative == len(names(tmp_path / "negative")) > 10
    for name, nuclei in (("positive", True), ("negative", False)):
        for path in (tmp_path / name).iterdir():
            image_id, y, x = path.stem.rsplit("_", 2)
            image, labels = field(int(image_id[-1]))
            window = np.s_[int(y) : int(y) + 32, int(x) : int(x) + 32]
            assert np.array_equal(read_image(path), image[window])
            coverage = (labels[window] > 0).mean()
            assert coverage >= 0.1 if nuclei else coverage == 0


def test_only_yes_or_no_leaves(tmp_path):
    """Same yes/no, other instances: nothing written may differ."""
    relabelled = [(i, image, np.where(labels > 0, 5, 0)) for i, image, labels in fields(2)]
    for folder, source in (("a", fields(2)), ("b", relabelled)):
        cut_tiles(source, tmp_path / folder, size=32, stride=16)
    files = {path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.*")}
    assert files == {path.relative_to(tmp_path / "b") for path in (tmp_path / "b").rglob("*.*")}
    assert all((tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files)
    record = json.loads((tmp_path / "a" / "tiles.json").read_text())
    assert set(record) == {"settings", "counts"} and record["settings"]["seed"] == 0


def test_negative_areas_are_the_negative_tiles(tmp_path):
    cut_tiles(fields(2), tmp_path, size=32, stride=16, balance=False)
    shapes = {"image_1": (160, 160), "another": (8, 9)}
    areas = negative_areas(tmp_path, shapes)
    assert {name: area.shape for name, area in areas.items()} == shapes
    assert not areas["another"].any()
    _, labels = field(1)
    assert not (areas["image_1"] & (labels > 0)).any()
    assert areas["image_1"][:, 64:].all()  # no nucleus there, and tiles 4 pixels apart
    with pytest.raises(InputError, match=r"negative/image_1_\d+_\d+.png: lies outside"):
        negative_areas(tmp_path, {"image_1": (160, 150)})
    damaged = next((tmp_path / "negative").glob("image_1_*.png"))
    damaged.write_bytes(damaged.read_bytes()[:100])
    with pytest.raises(InputError, match=damaged.name):
        negative_areas(tmp_path, shapes)


def test_balance_and_seed(tmp_path):
    everything = cut_tiles(fields(), tmp_path / "all", size=32, stride=16, balance=False)
    assert everything.positive != everything.negative
    for folder, seed in (("a", 1), ("b", 1), ("c", 2)):
        counts = cut_tiles(fields(), tmp_path / folder, size=32, stride=16, seed=seed)
        assert counts.positive == counts.negative == min(everything.positive, everything.negative)
    chosen = {f: names(tmp_path / f / "negative") | names(tmp_path / f / "positive") for f in "abc"}
    assert chosen["a"] == chosen["b"] != chosen["c"]


def test_finer_negative_stride_finds_more_negatives(tmp_path):
    counts = [
        cut_tiles(fields(1), tmp_path / str(step), 32, 32, balance=False, negative_stride=step) for step in (32, 8)
    ]
    assert counts[1].negative > 4 * counts[0].negative and counts[1].positive == counts[0].positive


def test_rare_negatives_are_mined_in_dense_tissue(tmp_path):
    labels = np.ones((160, 160), np.int32)
    labels[70:110, 70:110] = 0
    assert cut_tiles([("dense", field()[0], labels)], tmp_path, size=32, stride=48).negative == 1


def test_same_settings_are_not_cut_again(tmp_path):
    first = cut_tiles(fields(), tmp_path, size=32, stride=16)
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")}
    again = cut_tiles(fields(), tmp_path, size=32, stride=16)
    assert again.reused and not first.reused and (again.positive, again.negative) == (first.positive, first.negative)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")} == written


@pytest.mark.parametrize("change", [{"size": 40}, {"seed": 3}, {"min_coverage": 0.2}])
def test_other_settings_are_not_mixed_in(tmp_path, change):
    cut_tiles(fields(), tmp_path, **{"size": 32, "stride": 16})
    before = names(tmp_path / "positive")
    with pytest.raises(InputError, match=r"tiles\.json: tiles of other images or settings; remove"):
        cut_tiles(fields(), tmp_path, **{"size": 32, "stride": 16, **change})
    assert names(tmp_path / "positive") == before


def test_other_images_or_lost_tiles_are_not_taken_for_the_same(tmp_path):
    cut_tiles(fields(), tmp_path, size=32, stride=16)
    with pytest.raises(InputError, match="other images"):
        cut_tiles(fields(3), tmp_path, size=32, stride=16)
    next((tmp_path / "positive").iterdir()).unlink()
    with pytest.raises(InputError, match="other images or settings"):
        cut_tiles(fields(), tmp_path, size=32, stride=16)


def test_foreign_tiles_are_not_mixed_in(tmp_path):
    write_image(tmp_path / "positive" / "mine.png", field()[0])
    with pytest.raises(InputError, match=r"tiles without tiles\.json"):
        cut_tiles(fields(), tmp_path, size=32, stride=16)


def test_killed_run_is_started_over(tmp_path):
    write_image(tmp_path / ".partial" / "positive" / "half.png", field()[0])
    cut_tiles(fields(1), tmp_path, size=32, stride=16)
    assert not (tmp_path / ".partial").exists() and "half.png" not in names(tmp_path / "positive")


def test_all_negative(tmp_path):
    with pytest.raises(InputError, match="no positive tile.*min_coverage"):
        cut_tiles([("a", field()[0], np.zeros((160, 160), int))], tmp_path)


def test_all_positive(tmp_path):
    with pytest.raises(InputError, match="no negative tile.*negative_stride"):
        cut_tiles([("a", field()[0], np.ones((160, 160), int))], tmp_path)
    assert not (tmp_path / "positive").exists()


def test_image_smaller_than_a_tile(tmp_path):
    with pytest.raises(InputError, match=r"image small, \(40, 40\)"):
        cut_tiles([("small", field(side=160)[0][:40, :40], np.ones((40, 40), int))], tmp_path)


@pytest.mark.parametrize("change", [{"stride": 0}, {"min_coverage": 0.0}, {"max_coverage_negative": 0.5}])
def test_wrong_settings(tmp_path, change):
    with pytest.raises(InputError, match="start at 1"):
        cut_tiles(fields(1), tmp_path, **change)


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
    sequence = TileSequence(folder.paths, folder.labels, batch_size=4, train=False)
    batches = [sequence[k] for k in range(len(sequence))]
    assert [len(labels) for _, labels in batches] == [4, 4, 4, 2]
    images, labels = (np.concatenate(part) for part in zip(*batches, strict=True))
    assert images.dtype == np.float32 and labels.dtype == np.int32 and images.shape == (14, 16, 16, 3)
    assert np.array_equal(labels, folder.labels)
    assert np.array_equal(images, [read_image(path) for path in folder.paths])


def test_training_batches_are_full_balanced_and_show_everything(folder):
    sequence = TileSequence(folder.paths, folder.labels, batch_size=6)
    batches = [sequence[k] for k in range(len(sequence))]
    assert all(images.shape == (6, 16, 16, 3) and labels.sum() == 3 for images, labels in batches)
    assert all(((images[:, 8, 8, 0] >= 100) == labels).all() for images, labels in batches)
    assert len({images[k, 8, 8, 0] for images, _ in batches for k in range(6)}) == 14


def test_odd_batch_size(folder):
    sequence = TileSequence(folder.paths, folder.labels, batch_size=5)
    assert all(len(sequence[k][1]) == 5 for k in range(len(sequence)))


def test_sequence_is_reproducible_and_differs_between_epochs(folder):
    first, again = (TileSequence(folder.paths, folder.labels, 4, seed=3, zoom=0.2, shear=0.2) for _ in range(2))
    again[1]  # batches may be asked for in any order
    assert np.array_equal(first[0][0], again[0][0])
    before = first[0][0]
    first.on_epoch_end()
    assert not np.array_equal(first[0][0], before)
    assert not np.array_equal(TileSequence(folder.paths, folder.labels, 4, seed=4)[0][0], before)


def test_training_flips_and_calls_augment(folder):
    corners = set()
    sequence = TileSequence(folder.paths, folder.labels, 8, augment=lambda image, rng: 255 - image)
    for images, _ in (sequence[k] for k in range(len(sequence))):
        corners |= {tuple(np.argwhere(image[..., 0] == 55).min(0)) for image in images}
    assert len(corners) > 3


def test_scale_enlarges(folder):
    images, _ = TileSequence(folder.paths, folder.labels, 4, train=False, scale=2)[0]
    assert images.shape == (4, 32, 32, 3) and images.min() >= 0 and images.max() <= 255


def test_sequence_wrong_use(folder, tmp_path):
    with pytest.raises(InputError, match="positive"):
        TileSequence(folder.paths[:3], folder.labels[:3])
    with pytest.raises(InputError, match="no tile"):
        TileSequence([], np.array([], int), train=False)
    write_image(tmp_path / "odd.png", np.zeros((17, 16, 3), np.uint8))
    with pytest.raises(InputError, match=r"odd\.png: shape \(17, 16\)"):
        TileSequence([folder.paths[0], tmp_path / "odd.png"], [0, 1])


@pytest.mark.skipif(not SHARED.is_dir(), reason="shared data not present")
def test_real_tiles(tmp_path):
    dataset = MonusacDataset(SHARED / "data" / "monuseg", "val")
    counts = cut_tiles(dataset, tmp_path)
    assert counts.positive == counts.negative > 200
    sources = {path.stem.rsplit("_", 2)[0] for path in (tmp_path / "negative").iterdir()}
    assert len(sources) == 3  # one kidney image has no square of 64 pixels without a nucleus
