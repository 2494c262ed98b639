"""Several data sets as one: ids, splits, files, and how often each image is drawn."""

import json

import numpy as np
import pytest

from cyclic.datasets.joined import JoinedDataset, name_sets
from cyclic.datasets.layouts import open_dataset, open_splits
from cyclic.datasets.synthetic import write_tissue_set
from cyclic.errors import InputError


@pytest.fixture(scope="module")
def labs(tmp_path_factory):
    """Two labs: one with splits, one with a single image and none."""
    root = tmp_path_factory.mktemp("labs")
    write_tissue_set(root / "a", 2, 1, size=64)
    write_tissue_set(root / "b", 1, 0, size=48)
    (root / "b/split.json").unlink()
    return [root / "a", root / "b"]


def test_images_of_both_are_there_under_the_name_of_their_set(labs):
    train, val = open_splits(labs)
    assert train.ids == ["a__train_000", "a__train_001", "b__train_000"] and val.ids == ["a__val_000"]
    assert train.splits == {"train": train.ids, "val": val.ids}
    alone = open_dataset(labs[1])
    assert np.array_equal(train.image("b__train_000"), alone.image("train_000"))
    assert np.array_equal(train.label_map("b__train_000"), alone.label_map("train_000"))
    assert train.has_labels("b__train_000") and train.label_path("b__train_000") == alone.label_path("train_000")


def test_small_sets_are_drawn_as_often_as_large_ones(labs):
    train, _ = open_splits(labs)
    assert train.even_ids == ["a__train_000", "a__train_001", "b__train_000", "b__train_000"]
    assert open_dataset(labs[0]).even_ids == ["train_000", "train_001", "val_000"]


def test_no_val_where_no_set_has_one(labs, tmp_path):
    write_tissue_set(tmp_path / "c", 1, 0, size=48)
    (tmp_path / "c/split.json").unlink()
    assert open_splits([labs[1], tmp_path / "c"])[1] is None


def test_folders_of_one_name_are_numbered(tmp_path):
    assert name_sets([tmp_path / "x/data", tmp_path / "y/data", tmp_path / "z"]) == ["data-1", "data-2", "z"]


def test_an_id_may_hold_the_separator(tmp_path):
    write_tissue_set(tmp_path / "my__lab", 1, 0, size=48)
    (name,) = name_sets([tmp_path / "my__lab"])
    image = tmp_path / "my__lab/images/train_000.png"
    image.rename(image.with_name("slide__1.png"))
    (tmp_path / "my__lab/split.json").unlink()
    joined = JoinedDataset({name: open_dataset(tmp_path / "my__lab")})
    assert joined.ids == ["my_lab__slide__1"] and joined.image_path("my_lab__slide__1").name == "slide__1.png"


def test_one_folder_twice_is_refused(labs):
    with pytest.raises(InputError, match="given twice"):
        open_splits([labs[0], labs[0] / "../a"])


def test_what_one_set_alone_would_be_refused_for_is_refused(labs, tmp_path):
    write_tissue_set(tmp_path / "c", 1, 0, size=48)
    (tmp_path / "c/split.json").write_text(json.dumps({"train": []}))
    with pytest.raises(InputError, match=r"c/split\.json: no image in 'train'"):
        open_splits([labs[0], tmp_path / "c"])
