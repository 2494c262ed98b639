"""Cutting tiles: what is yes and what is no, nothing else leaves the labels, and no two cuts are mixed."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labelled_images import Images, field, fields

from cyclic.datasets.monusac import MonusacDataset
from cyclic.datasets.tile_cutting import cut_tiles, negative_stride, tile_coverage
from cyclic.errors import InputError
from cyclic.files import lock_folder, write_image
from cyclic.images import read_image

SHARED = pathlib.Path(__file__).resolve().parents[2].parent / "shared"


def names(folder: pathlib.Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_cutting_and_reading_tiles_needs_no_keras():
    modules = "cyclic.datasets.tile_cutting, cyclic.datasets.tile_folder, cyclic.datasets.tile_sources"
    code = f"import sys, {modules}; assert not {{'keras', 'tensorflow'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


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
    relabelled = Images(
        {name: (image, np.where(labels > 0, 5, 0)) for name, (image, labels) in fields(2).images.items()}
    )
    for folder, source in (("a", fields(2)), ("b", relabelled)):
        cut_tiles(source, tmp_path / folder, size=32, stride=16)
    files = {path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.*")}
    assert files == {path.relative_to(tmp_path / "b") for path in (tmp_path / "b").rglob("*.*")}
    assert all((tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files)
    record = json.loads((tmp_path / "a" / "tiles.json").read_text())
    assert set(record) == {"settings", "counts"} and record["settings"]["seed"] == 0


def test_balance_and_seed(tmp_path):
    everything = cut_tiles(fields(), tmp_path / "all", size=32, stride=16, balance=False)
    assert everything.positive != everything.negative
    for folder, seed in (("a", 1), ("b", 1), ("c", 2)):
        counts = cut_tiles(fields(), tmp_path / folder, size=32, stride=16, seed=seed)
        assert counts.positive == counts.negative == min(everything.positive, everything.negative)
    chosen = {f: names(tmp_path / f / "negative") | names(tmp_path / f / "positive") for f in "abc"}
    assert chosen["a"] == chosen["b"] != chosen["c"]


def test_count_keeps_its_share_of_each_class(tmp_path):
    every = cut_tiles(fields(2), tmp_path / "all", size=32, stride=16)
    few = cut_tiles(fields(2), tmp_path / "few", size=32, stride=16, count=12)
    assert (few.positive, few.negative) == (6, 6) and every.positive > 12
    for name in ("positive", "negative"):
        assert names(tmp_path / "few" / name) < names(tmp_path / "all" / name)
    other = cut_tiles(fields(2), tmp_path / "other", size=32, stride=16, count=12, seed=1)
    assert other == few and names(tmp_path / "other/positive") != names(tmp_path / "few/positive")
    assert cut_tiles(fields(2), tmp_path / "more", size=32, stride=16, count=10**6) == every


def test_tiles_that_an_earlier_version_cut_are_known(tmp_path):
    cut_tiles(fields(2), tmp_path, size=32, stride=16)
    record = json.loads((tmp_path / "tiles.json").read_text())
    del record["settings"]["count"]
    (tmp_path / "tiles.json").write_text(json.dumps(record))
    assert cut_tiles(fields(2), tmp_path, size=32, stride=16).reused


def test_rare_negatives_are_mined_in_dense_tissue(tmp_path):
    labels = np.ones((160, 160), np.int32)
    labels[70:110, 70:110] = 0
    assert cut_tiles(Images({"dense": (field()[0], labels)}), tmp_path, size=32, stride=48).negative == 1


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
        cut_tiles(Images({"a": (field()[0], np.zeros((160, 160), int))}), tmp_path, 64, 48)


def test_all_positive(tmp_path):
    with pytest.raises(InputError, match="no negative tile.*max_coverage_negative"):
        cut_tiles(Images({"a": (field()[0], np.ones((160, 160), int))}), tmp_path, 64, 48)
    assert not (tmp_path / "positive").exists()


def test_image_smaller_than_a_tile(tmp_path):
    with pytest.raises(InputError, match=r"image small, \(40, 40\)"):
        cut_tiles(Images({"small": (field()[0][:40, :40], np.ones((40, 40), int))}), tmp_path, 64, 48)


@pytest.mark.parametrize("change", [{"stride": 0}, {"min_coverage": 0.0}, {"max_coverage_negative": 0.5}])
def test_wrong_settings(tmp_path, change):
    with pytest.raises(InputError, match="start at 1"):
        cut_tiles(fields(1), tmp_path, **{"size": 64, "stride": 48, **change})


def test_negative_tiles_lie_four_times_as_dense(tmp_path):
    assert [negative_stride(stride) for stride in (48, 10, 3, 1)] == [12, 2, 1, 1]
    cut_tiles(fields(1), tmp_path, 32, 32, balance=False)
    columns = {int(name.removesuffix(".png").rsplit("_", 1)[1]) for name in names(tmp_path / "negative")}
    assert {56, 64, 72} <= columns and all(x % 8 == 0 for x in columns)


@pytest.mark.skipif(not SHARED.is_dir(), reason="shared data not present")
def test_real_tiles(tmp_path):
    dataset = MonusacDataset(SHARED / "data" / "monuseg", "val")
    counts = cut_tiles(dataset, tmp_path, 64, 48)
    assert counts.positive == counts.negative > 200
    sources = {path.stem.rsplit("_", 2)[0] for path in (tmp_path / "negative").iterdir()}
    assert len(sources) == 3  # one kidney image has no square of 64 pixels without a nucleus


def test_two_processes_do_not_cut_into_one_folder(tmp_path):
    busy = pytest.raises(InputError, match="tiles: another process writes to this folder")
    with lock_folder(tmp_path / "tiles"), busy:
        cut_tiles(fields(2), tmp_path / "tiles", size=32, stride=16)


def test_a_cut_at_work_is_not_taken_for_a_killed_one(tmp_path):
    write_image(tmp_path / ".partial" / "negative" / "next.png", field()[0])
    write_image(tmp_path / "positive" / "moved.png", field()[0])
    with lock_folder(tmp_path), pytest.raises(InputError, match="another process writes to this folder"):
        cut_tiles(fields(1), tmp_path, size=32, stride=16)
    assert names(tmp_path / "positive") == {"moved.png"}


def test_a_cut_that_was_killed_at_its_very_end_counts(tmp_path):
    cut_tiles(fields(1), tmp_path, size=32, stride=16)
    (tmp_path / ".partial").mkdir()
    assert cut_tiles(fields(1), tmp_path, size=32, stride=16).reused
    assert not (tmp_path / ".partial").exists()


@pytest.mark.parametrize("content", ["[]", "3", "null"])
def test_a_record_of_another_shape_is_of_other_tiles(tmp_path, content):
    (tmp_path / "tiles.json").write_text(content)
    with pytest.raises(InputError, match="tiles.json: tiles of other images or settings"):
        cut_tiles(fields(1), tmp_path, size=32, stride=16)
