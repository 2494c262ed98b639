"""What is looked at before a run starts or goes on: the data set, and labels that will not count."""

import json
import shutil
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile

from cyclic.config import load_config
from cyclic.cycle.checks import (
    check_same_data,
    warn_of_lost_data,
    warn_of_masks,
    warn_of_resolution,
    warn_of_unused_labels,
)
from cyclic.cycle.context import Context
from cyclic.datasets.layouts import open_splits
from cyclic.datasets.synthetic import write_tissue_set
from cyclic.errors import InputError
from cyclic.files import write_image, write_json
from cyclic.images import read_image
from cyclic.label_maps import write_label_map
from cyclic.runs.directory import RunDirectory
from cyclic.runs.paths import RunPaths


@pytest.fixture
def data(tmp_path):
    write_tissue_set(tmp_path / "data", 2, 2, size=64)
    return tmp_path / "data"


def check(tmp_path, data):
    check_same_data(tmp_path / "data.json", data, *open_splits(data))


def split(data, **lists):
    write_json(data / "split.json", lists)


def test_the_same_data_goes_on_from_wherever_it_lies(tmp_path, data):
    check(tmp_path, data)
    check(tmp_path, data)
    shutil.move(data, tmp_path / "elsewhere")
    check(tmp_path, tmp_path / "elsewhere")


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ({"train": ["train_000", "train_001", "val_001"], "val": ["val_000"]}, "val_001 came to 'train' after"),
        ({"train": ["train_000"], "val": ["val_000", "val_001"]}, "train_001 was in 'train' when"),
        ({"train": ["train_000", "train_001", "val_000"], "val": ["val_001"]}, "val_000 came to 'train' after"),
        ({"train": ["train_000", "train_001"]}, "val_000 was in 'val' when"),
    ],
)
def test_another_split_is_named(tmp_path, data, lists, message):
    check(tmp_path, data)
    before = (tmp_path / "data.json").read_text()
    split(data, **lists)
    with pytest.raises(InputError, match=f"image {message}"):
        check(tmp_path, data)
    assert (tmp_path / "data.json").read_text() == before


def test_an_image_that_was_replaced_is_named(tmp_path, data):
    check(tmp_path, data)
    write_image(data / "images/train_001.png", np.full((64, 64, 3), 7, np.uint8))
    with pytest.raises(InputError, match="image train_001 is another one than when the run began"):
        check(tmp_path, data)


def context(data, run, *settings):
    return Context(
        load_config((), settings), data, *open_splits(data), SimpleNamespace(paths=RunPaths(run)), None, None
    )


def test_nothing_is_said_where_all_is_well(tmp_path, data):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_unused_labels(context(data, tmp_path))


def test_val_images_without_labels_are_counted_and_the_others_scored(tmp_path, data):
    (data / "labels/val_001.png").unlink()
    given = context(data, tmp_path)
    with pytest.warns(UserWarning, match=r"1 images \(val_001\) of val have no labels and are not scored"):
        warn_of_unused_labels(given)
    assert given.scored_ids == ["val_000"]


def test_a_val_without_any_label_is_no_mistake(tmp_path, data):
    for path in (data / "labels").glob("val_*"):
        path.unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_unused_labels(context(data, tmp_path))


def test_images_of_another_resolution_than_the_settings_are_counted(tmp_path, data):
    for name, density in (("train_000", 20_000), ("train_001", 40_800), ("val_000", 20_000), ("val_001", 28)):
        image = read_image(data / f"images/{name}.png")
        (data / f"images/{name}.png").unlink()
        resolution = {"resolution": (density, density), "resolutionunit": "CENTIMETER"}
        tifffile.imwrite(data / f"images/{name}.tif", image, photometric="rgb", **resolution)
    with pytest.warns(
        UserWarning, match=r"2 images \(train_000, val_000\) say 0.5 µm per pixel, and the settings 0.25"
    ):
        warn_of_resolution(context(data, tmp_path))
    for mpp in ("null", "0.5"):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            warn_of_resolution(context(data, tmp_path, f"mpp={mpp}"))
        assert [str(each.message).split(":")[1][:27] for each in caught] == [" 1 images (train_001) say 0"] * (
            mpp == "0.5"
        )


def test_images_that_say_no_resolution_are_no_matter(tmp_path, data):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_resolution(context(data, tmp_path))


def test_a_mask_of_all_nuclei_is_named(tmp_path, data):
    labels = np.zeros((64, 64), np.int32)
    labels[4:10, 4:10] = labels[30:40, 30:40] = 255
    (data / "labels/val_000.png").unlink()
    write_label_map(data / "labels/val_000.tif", labels)
    given = context(data, tmp_path)
    truths = {name: given.val.label_map(name) for name in given.scored_ids}
    with pytest.warns(UserWarning, match=r"labels of 1 images \(val_000\) hold one label in many pieces"):
        warn_of_masks(given, truths)


@pytest.mark.parametrize(
    ("names", "unplaced"), [(["train_000_0_0", "train_001_8_8"], 0), (["train_000_0_0", "a", "other_1_1"], 2)]
)
def test_tiles_of_unknown_place_are_counted(tmp_path, data, names, unplaced):
    for name in names:
        write_image(tmp_path / "tiles/negative" / f"{name}.png", np.zeros((8, 8, 3), np.uint8))
    given = context(data, tmp_path, f"tiles.folder={tmp_path / 'tiles'}")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_of_unused_labels(given)
    messages = [str(warning.message) for warning in caught]
    assert len(messages) == (unplaced > 0)
    if unplaced:
        assert f"{unplaced} of {len(names)} negative tiles are not named" in messages[0]
    # The recipe of the paper asks for no place.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_unused_labels(context(data, tmp_path, f"tiles.folder={tmp_path / 'tiles'}", "pseudo.recipe=paper"))


def test_the_file_of_a_run_says_which_images(tmp_path, data):
    check(tmp_path, data)
    content = json.loads((tmp_path / "data.json").read_text())
    assert list(content) == ["train", "val", "labels"] and list(content["val"]) == ["val_000", "val_001"]
    assert len(content["labels"]) == 4


@pytest.mark.parametrize("change", ["other", "gone", "later"])
def test_other_labels_are_named(tmp_path, data, change):
    path = data / "labels/val_000.png"
    content = path.read_bytes()
    if change == "later":
        path.unlink()
    check(tmp_path, data)
    if change == "gone":
        path.unlink()
    elif change == "later":
        path.write_bytes(content)
    else:
        write_label_map(path, np.ones((64, 64), np.int32))
    message = {"other": "is another one than", "gone": "was in 'labels' when", "later": "came to 'labels' after"}[
        change
    ]
    with pytest.raises(InputError, match=f"label map val_000 {message}"):
        check(tmp_path, data)


def test_a_mask_that_left_its_folder_changes_the_labels(tmp_path):
    for name in ("a", "b"):
        write_image(tmp_path / f"data/stage1_train/x/masks/{name}.png", np.eye(8, dtype=np.uint8) * 255)
    write_image(tmp_path / "data/stage1_train/x/images/x.png", np.zeros((8, 8, 3), np.uint8))
    check(tmp_path, tmp_path / "data")
    (tmp_path / "data/stage1_train/x/masks/.DS_Store").write_text("litter")
    check(tmp_path, tmp_path / "data")
    (tmp_path / "data/stage1_train/x/masks/b.png").unlink()
    with pytest.raises(InputError, match="label map x is another one"):
        check(tmp_path, tmp_path / "data")


def test_a_run_of_an_earlier_version_knows_no_labels(tmp_path, data):
    check(tmp_path, data)
    content = json.loads((tmp_path / "data.json").read_text())
    del content["labels"]
    write_json(tmp_path / "data.json", content)
    check(tmp_path, data)


def test_lost_digests_are_warned_of_where_stages_have_ended(tmp_path):
    with RunDirectory(tmp_path, {}) as run:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warn_of_lost_data(run)
        with run.stage("tiles"):
            pass
        with pytest.warns(UserWarning, match="data.json: missing, so the data set can't be compared"):
            warn_of_lost_data(run)


@pytest.mark.parametrize("content", ["[]", '{"train": ["train_000"]}', "3"])
def test_a_file_of_another_shape_is_not_taken_for_the_images_of_a_run(tmp_path, data, content):
    (tmp_path / "data.json").write_text(content)
    with pytest.raises(InputError, match=r"data\.json: not the images of a run; restore it, or start again"):
        check(tmp_path, data)


def test_a_tile_that_came_later_is_named(tmp_path, data):
    write_image(tmp_path / "positive/a.png", np.zeros((8, 8, 3), np.uint8))
    write_image(tmp_path / "negative/a.png", np.ones((8, 8, 3), np.uint8))
    tiles, given = [tmp_path / "positive/a.png"], (tmp_path / "data.json", data, *open_splits(data))
    check_same_data(*given, tiles)
    check_same_data(*given, tiles)
    with pytest.raises(InputError, match="tile negative/a.png came to 'tiles' after the run began"):
        check_same_data(*given, [*tiles, tmp_path / "negative/a.png"])
