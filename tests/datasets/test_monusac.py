"""MoNuSeg's layout and Matterport's: images, labels, splits, and what is wrong with a folder."""

import json
import pathlib
import shutil

import numpy as np
import pytest
import tifffile
from PIL import Image

from cyclic.datasets.layouts import open_splits
from cyclic.datasets.monusac import MonusacDataset
from cyclic.errors import InputError
from cyclic.files import write_image, write_json
from cyclic.label_maps import write_label_map

SHARED = pathlib.Path(__file__).resolve().parents[2].parent / "shared"


def colour(value: int, shape: tuple[int, int] = (20, 30)) -> np.ndarray:
    return np.full((*shape, 3), value, np.uint8)


@pytest.fixture
def root(tmp_path):
    labels = np.zeros((20, 30), np.int32)
    labels[2:6, 3:9] = 1
    labels[10:15, 20:25] = 300
    for number, image_id in enumerate("abc"):
        write_image(tmp_path / "images" / f"{image_id}.png", colour(40 * number))
        write_label_map(tmp_path / "labels" / f"{image_id}.tif", labels)
    write_json(tmp_path / "split.json", {"train": ["c", "a"], "val": ["b"], "organ": {"a": "Kidney"}})
    return tmp_path


@pytest.fixture
def matterport(tmp_path):
    for number, image_id in enumerate(["first", "second"], start=1):
        folder = tmp_path / "stage1_train" / image_id
        write_image(folder / "images" / f"{image_id}.png", colour(10 * number))
        for k in range(number):
            mask = np.zeros((20, 30), np.uint8)
            mask[5 * k : 5 * k + 3, 4:9] = 255
            write_image(folder / "masks" / f"mask{k}.png", mask)
    return tmp_path


def test_split_gives_its_ids_in_order(root):
    assert MonusacDataset(root, "train").ids == ["c", "a"]
    assert MonusacDataset(root, "val").ids == ["b"]
    assert MonusacDataset(root).ids == ["a", "b", "c"]


def test_image_and_label_map_belong_together(root):
    dataset = MonusacDataset(root, "train")
    image, labels = dataset.image("c"), dataset.label_map("c")
    assert image.shape == (20, 30, 3) and image.dtype == np.uint8 and (image == 80).all()
    assert labels.dtype == np.int32 and set(np.unique(labels)) == {0, 1, 300} and (labels[2:6, 3:9] == 1).all()
    assert dataset.image_path("c") == root / "images" / "c.png"


@pytest.mark.parametrize("below", ["", "stage1_train"])
def test_matterport_layout(matterport, below):
    dataset = MonusacDataset(matterport / below)
    assert dataset.ids == ["first", "second"]
    assert (dataset.image("second") == 20).all()
    assert set(np.unique(dataset.label_map("first"))) == {0, 1}
    labels = dataset.label_map("second")
    assert labels.dtype == np.int32 and (labels[:3, 4:9] == 1).all() and (labels[5:8, 4:9] == 2).all()
    assert (labels > 0).sum() == 30


def test_matterport_split_and_missing_masks(matterport):
    write_json(matterport / "split.json", {"train": ["second"]})
    assert MonusacDataset(matterport, "train").ids == ["second"]
    for mask in (matterport / "stage1_train" / "first" / "masks").iterdir():
        mask.unlink()
    assert not MonusacDataset(matterport).label_map("first").any()
    (matterport / "stage1_train" / "first" / "masks").rmdir()
    assert not MonusacDataset(matterport).has_labels("first")


def test_matterport_mask_of_another_size(matterport):
    write_image(matterport / "stage1_train" / "first" / "masks" / "z.png", np.ones((21, 30), np.uint8))
    with pytest.raises(InputError, match=r"z\.png.*\(21, 30\).*\(20, 30\)"):
        MonusacDataset(matterport).label_map("first")


def test_two_images_in_one_matterport_folder(matterport):
    write_image(matterport / "stage1_train" / "first" / "images" / "other.png", colour(1))
    with pytest.raises(InputError, match="first/images: 2 images"):
        MonusacDataset(matterport)


def test_images_without_labels(root):
    for path in (root / "labels").iterdir():
        path.unlink()
    (root / "labels").rmdir()
    dataset = MonusacDataset(root, "train")
    assert dataset.image("a").shape == (20, 30, 3) and not dataset.has_labels("a")
    with pytest.raises(InputError, match=r"a\.png: no instance labels; add labels/a\.tif"):
        dataset.label_map("a")


def test_one_missing_label(root):
    (root / "labels" / "a.tif").unlink()
    dataset = MonusacDataset(root)
    assert dataset.has_labels("b") and not dataset.has_labels("a")
    with pytest.raises(InputError, match=r"a\.png"):
        dataset.label_map("a")


def test_no_split_file(root):
    (root / "split.json").unlink()
    assert MonusacDataset(root).ids == ["a", "b", "c"]
    with pytest.raises(InputError, match=r'split\.json: no such file.*"train": \['):
        MonusacDataset(root, "train")


def test_unknown_split(root):
    with pytest.raises(InputError, match=r"split\.json: no list 'test' among \['train', 'val'\]"):
        MonusacDataset(root, "test")
    with pytest.raises(InputError, match="no list 'organ'"):
        MonusacDataset(root, "organ")


def test_split_names_a_missing_image(root):
    (root / "images" / "c.png").unlink()
    with pytest.raises(InputError, match="no image for id 'c'"):
        MonusacDataset(root, "train")
    assert MonusacDataset(root, "val").ids == ["b"]


def test_image_in_two_splits(root):
    write_json(root / "split.json", {"train": ["a", "b"], "test": ["b"]})
    with pytest.raises(InputError, match="b is in 'train' and in 'test'"):
        MonusacDataset(root, "train")


def test_split_file_is_a_list(root):
    (root / "split.json").write_text(json.dumps(["a"]))
    with pytest.raises(InputError, match="JSON object"):
        MonusacDataset(root, "train")


def test_label_map_of_another_size(root):
    write_label_map(root / "labels" / "b.tif", np.ones((20, 31), np.int32))
    with pytest.raises(InputError, match=r"b\.tif: shape \(20, 31\).*\(20, 30\)"):
        MonusacDataset(root).label_map("b")


def test_truncated_image(root):
    path = root / "images" / "b.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 30, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:-900])
    with pytest.raises(InputError, match=r"b\.png: not a readable image"):
        MonusacDataset(root).image("b")


def test_wrong_folder(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        MonusacDataset(tmp_path / "nowhere")
    with pytest.raises(InputError, match="no images/ and no stage1_train"):
        MonusacDataset(tmp_path)


@pytest.mark.skipif(not SHARED.is_dir(), reason="shared data not present")
def test_real_monuseg():
    train, val = (MonusacDataset(SHARED / "data" / "monuseg", split) for split in ("train", "val"))
    assert len(train.ids) == 12 and len(val.ids) == 4 and not set(train.ids) & set(val.ids)
    image, labels = train.image(train.ids[0]), train.label_map(train.ids[0])
    assert image.shape == (1000, 1000, 3) and labels.shape == (1000, 1000)
    assert image[labels > 0].mean() < image[labels == 0].mean() - 30


# --- labels that must not go missing ---


SQUARE = np.zeros((24, 24), np.uint8)
SQUARE[4:10, 4:12] = 255
EMPTY = np.zeros_like(SQUARE)
DRAWINGS = {
    "grey.png": SQUARE,
    "bits16.png": SQUARE.astype(np.uint16),
    "bool.png": SQUARE > 0,
    "blue.png": np.dstack([EMPTY, EMPTY, SQUARE]),
    "green.bmp": np.dstack([EMPTY, SQUARE, EMPTY]),
    "alpha.png": np.dstack([EMPTY, EMPTY, EMPTY, SQUARE]),
    "opaque.png": np.dstack([SQUARE, EMPTY, EMPTY, EMPTY + 255]),
    "mask.tif": SQUARE,
    "colour.tiff": np.dstack([EMPTY, SQUARE, EMPTY]),
}


def stage1(root, *masks):
    """One image in Matterport's layout, with these files of masks."""
    case = root / "stage1_train" / "case"
    write_image(case / "images" / "case.png", np.full((24, 24, 3), 220, np.uint8))
    (case / "masks").mkdir()
    for name in masks:
        path, pixels = case / "masks" / name, DRAWINGS[name]
        if path.suffix in (".tif", ".tiff"):
            tifffile.imwrite(path, pixels, photometric="rgb" if pixels.ndim == 3 else "minisblack")
        else:
            Image.fromarray(pixels).save(path)
    return case


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_mask_is_read_in_whatever_it_is_drawn(tmp_path, name):
    stage1(tmp_path, name)
    np.testing.assert_array_equal(MonusacDataset(tmp_path).label_map("case"), SQUARE > 0)


def test_what_systems_leave_behind_is_passed_over(tmp_path):
    case = stage1(tmp_path, "grey.png")
    for litter in ("masks/._grey.png", "masks/Thumbs.db", "masks/.DS_Store", "images/._case.png", "images/Thumbs.db"):
        (case / litter).write_bytes(b"\x00\x05\x16\x07")
    shutil.copytree(case, tmp_path / "stage1_train" / "__MACOSX")
    dataset = MonusacDataset(tmp_path)
    assert dataset.ids == ["case"] and dataset.label_map("case").max() == 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("nucleus.npy", b"", "no mask"),
        ("nucleus.png", b"\x89PNG", "not a readable mask"),
        ("nucleus.tif", b"", "not a readable mask"),
    ],
)
def test_a_file_among_the_masks_that_is_none_is_named(tmp_path, name, content, message):
    case = stage1(tmp_path, "grey.png")
    (case / "masks" / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{name}: {message}"):
        MonusacDataset(tmp_path).label_map("case")


def test_a_mask_without_a_pixel_is_named(tmp_path):
    case = stage1(tmp_path, "grey.png")
    Image.fromarray(EMPTY).save(case / "masks" / "none.png")
    with pytest.raises(InputError, match="none.png: a mask without a pixel"):
        MonusacDataset(tmp_path).label_map("case")


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ({"train": ["a", "a"]}, "a stands twice in 'train'"),
        ({"train": ["a"], "validation": ["b"]}, "a list 'validation'; the splits are called train, val, test"),
    ],
)
def test_split_files_say_each_thing_once_and_by_its_name(root, split, message):
    (root / "split.json").write_text(json.dumps(split))
    with pytest.raises(InputError, match=f"split.json: {message}"):
        MonusacDataset(root, "train")


def test_an_empty_val_is_none_and_an_empty_train_is_named(root):
    ids = MonusacDataset(root).ids
    (root / "split.json").write_text(json.dumps({"train": ids, "val": []}))
    train, val = open_splits(root)
    assert train.ids == ids and val is None
    (root / "split.json").write_text(json.dumps({"train": [], "val": ids}))
    with pytest.raises(InputError, match="split.json: no image in 'train'"):
        open_splits(root)
