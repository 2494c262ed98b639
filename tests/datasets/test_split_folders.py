"""The layouts of CoNSeP and ccRCC, and finding out which layout a folder has."""

import pathlib

import numpy as np
import pytest
import scipy.io

from cyclic.cli import main
from cyclic.config import load_config
from cyclic.cycle import loop
from cyclic.datasets.ccrcc import CcrccDataset
from cyclic.datasets.consep import ConsepDataset
from cyclic.datasets.layouts import open_dataset, open_splits
from cyclic.datasets.monusac import MonusacDataset
from cyclic.datasets.synthetic import draw_tissue
from cyclic.errors import InputError
from cyclic.files import write_image, write_json

SHARED = pathlib.Path(__file__).resolve().parents[2].parent / "shared"
KEYS = {"consep": ("inst_map", "type_map"), "ccrcc": ("instance_map", "class_map")}


def write_set(root, kind, folders=("Train", "Valid", "Test"), size=96):
    """Two images a folder: `<folder>_0`, `<folder>_1`."""
    instances, classes = KEYS[kind]
    for number, folder in enumerate(folders):
        for k in range(2):
            image, labels = draw_tissue(np.random.default_rng([number, k]), size)
            write_image(root / folder / "Images" / f"{folder.lower()}_{k}.png", image)
            path = root / folder / "Labels" / f"{folder.lower()}_{k}.mat"
            path.parent.mkdir(exist_ok=True)
            scipy.io.savemat(path, {instances: labels.astype(np.uint16), classes: np.sign(labels).astype(np.uint8)})
    return root


@pytest.mark.parametrize(("kind", "expected"), [("consep", ConsepDataset), ("ccrcc", CcrccDataset)])
def test_layout_is_told_by_the_label_files(tmp_path, kind, expected):
    root = write_set(tmp_path, kind)
    dataset = open_dataset(root)
    assert type(dataset) is expected
    assert dataset.ids == ["test_0", "test_1", "train_0", "train_1", "valid_0", "valid_1"]
    image, labels = draw_tissue(np.random.default_rng([1, 0]), 96)
    np.testing.assert_array_equal(dataset.image("valid_0"), image)
    np.testing.assert_array_equal(dataset.label_map("valid_0"), labels)


def test_folders_are_the_splits(tmp_path):
    root = write_set(tmp_path, "ccrcc")
    train, val = open_splits(root)
    assert (train.ids, val.ids) == (["train_0", "train_1"], ["valid_0", "valid_1"])
    assert open_dataset(root, "test").ids == ["test_0", "test_1"]


def test_no_valid_folder_is_no_val(tmp_path):
    root = write_set(tmp_path, "consep", ("Train", "Test"))
    train, val = open_splits(root)
    assert train.ids == ["train_0", "train_1"] and val is None
    with pytest.raises(InputError, match=r"no split 'val'; write one like"):
        open_dataset(root, "val")


def test_split_file_goes_before_the_folders(tmp_path):
    root = write_set(tmp_path, "consep", ("Train", "Test"))
    write_json(root / "split.json", {"train": ["train_1"], "val": ["train_0"], "test": ["test_0", "test_1"]})
    train, val = open_splits(root)
    assert (train.ids, val.ids) == (["train_1"], ["train_0"])


def test_project_layout_is_found(tmp_path):
    write_image(tmp_path / "images" / "a.png", np.zeros((8, 8, 3), np.uint8))
    assert type(open_dataset(tmp_path)) is MonusacDataset
    train, val = open_splits(tmp_path)
    assert train.ids == ["a"] and val is None


def test_images_without_labels(tmp_path):
    write_image(tmp_path / "Train" / "Images" / "a.png", np.zeros((8, 8, 3), np.uint8))
    dataset = open_dataset(tmp_path)
    assert dataset.ids == ["a"] and not dataset.has_labels("a")


def test_one_id_in_two_folders(tmp_path):
    root = write_set(tmp_path, "ccrcc", ("Train",))
    write_image(root / "Test" / "Images" / "train_0.png", np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(InputError, match=r"train_0\.png: same id as .*Train"):
        open_dataset(root)


def test_folder_without_images(tmp_path):
    (tmp_path / "Train" / "Images").mkdir(parents=True)
    with pytest.raises(InputError, match="Images: no images"):
        open_dataset(tmp_path)
    with pytest.raises(InputError, match="nor Train/Images/"):
        open_dataset(tmp_path / "Train")


def test_a_run_reads_the_layout(tmp_path):
    root = write_set(tmp_path / "data", "ccrcc")
    settings = ("tiles.size=32", "tiles.stride=24", "classifier.steps=1", "classifier.batch=2", "precision=float32")
    config = load_config((), settings)
    (row,) = loop.train(config, root, tmp_path / "run", until="classifier")
    assert row["source"] == "no_label_baseline" and row["aji"] > 0
    names = {path.name.rsplit("_", 2)[0] for path in (tmp_path / "run/tiles/positive").iterdir()}
    assert names <= {"train_0", "train_1"}


def test_tiles_of_a_split_folder(tmp_path, capsys):
    root = write_set(tmp_path / "data", "consep", ("Train",))
    options = ["--images", root / "Train/Images", "--labels", root / "Train/Labels", "--out", tmp_path / "tiles"]
    with pytest.raises(SystemExit) as end:
        main(["tiles", *map(str, options), "--size", "32", "--stride", "24"])
    assert end.value.code == 0 and "negative tiles" in capsys.readouterr().out


@pytest.mark.skipif(not SHARED.is_dir(), reason="shared data not present")
@pytest.mark.parametrize(
    ("folder", "kind", "counts"),
    [("consep", ConsepDataset, {"train": 27}), ("ccrcc_layout", CcrccDataset, {"train": 4, "val": 2, "test": 2})],
)
def test_real_layouts(folder, kind, counts):
    dataset = open_dataset(SHARED / "data" / folder)
    assert type(dataset) is kind and {split: len(ids) for split, ids in dataset.splits.items()} == counts
    name = dataset.splits["train"][0]
    image, labels = dataset.image(name), dataset.label_map(name)
    assert labels.shape == image.shape[:2] and labels.max() > 50
    assert image[labels > 0].mean() < image[labels == 0].mean() - 20
