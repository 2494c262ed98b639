"""The nucleus sample on a tiny folder in Kaggle's layout: a step of training, detection, a submission."""

import importlib.util
import re
from pathlib import Path

import keras
import numpy as np
import pytest

from cyclic.errors import InputError
from cyclic.files import write_image

SAMPLE = Path(__file__).resolve().parents[2] / "samples" / "nucleus" / "nucleus.py"


@pytest.fixture(scope="module")
def nucleus():
    spec = importlib.util.spec_from_file_location("nucleus_sample", SAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def dataset_dir(tmp_path_factory):
    """Three images of 72 x 80 with two square nuclei each."""
    root = tmp_path_factory.mktemp("bowl")
    for number in range(3):
        folder = root / "stage1_train" / f"{number:064x}"
        masks = np.zeros((2, 72, 80), np.uint8)
        masks[0, 5:25, 10 : 30 + number] = masks[1, 40:60, 45:70] = 255
        image = np.repeat(masks.max(axis=0)[..., None] // 2 + 9, 3, axis=-1)
        write_image(folder / "images" / f"{folder.name}.png", image)
        for index, mask in enumerate(masks):
            write_image(folder / "masks" / f"mask{index}.png", mask)
    return root


def small_backbone(norm):
    x, levels = keras.Input((None, None, 3), name="image"), []
    image = x
    for index, name in enumerate(("conv1", "res2a", "res3a", "res4a", "res5a")):
        x = keras.layers.Conv2D(8, 3, strides=2, padding="same", activation="relu", name=name)(x)
        levels += [x] * (index > 0)
    return keras.Model(image, levels, name="backbone")


def pyramid_shapes(image_shape):
    return np.array([[-(-int(side) // stride) for side in image_shape[:2]] for stride in (4, 8, 16, 32, 64)])


@pytest.fixture
def tiny(nucleus, monkeypatch):
    """The sample with a network of a few channels, and two epochs of one step."""
    small = {
        "BACKBONE": staticmethod(small_backbone),
        "COMPUTE_BACKBONE_SHAPE": staticmethod(pyramid_shapes),
        "IMAGES_PER_GPU": 1,
        "STEPS_PER_EPOCH": 1,
        "VALIDATION_STEPS": 1,
        "IMAGE_MIN_DIM": 64,
        "IMAGE_MAX_DIM": 64,
        "IMAGE_MIN_SCALE": 1.0,
        "TOP_DOWN_PYRAMID_SIZE": 8,
        "RPN_CHANNELS": 8,
        "MASK_CHANNELS": 8,
        "FPN_CLASSIF_FC_LAYERS_SIZE": 8,
        "POST_NMS_ROIS_TRAINING": 20,
        "POST_NMS_ROIS_INFERENCE": 20,
        "TRAIN_ROIS_PER_IMAGE": 9,
        "MAX_GT_INSTANCES": 4,
        "DETECTION_MAX_INSTANCES": 8,
    }
    for name in ("NucleusConfig", "NucleusInferenceConfig"):
        monkeypatch.setattr(nucleus, name, type(name, (getattr(nucleus, name),), small))
    monkeypatch.setattr(nucleus, "HEADS_EPOCHS", 1)
    monkeypatch.setattr(nucleus, "ALL_EPOCHS", 2)
    return nucleus


# --- data ---


def test_subsets_divide_the_training_folder(nucleus, dataset_dir):
    train, val, whole = (nucleus.load_dataset(dataset_dir, name) for name in ("train", "val", "stage1_train"))
    assert [info["id"] for info in train.image_info] == [f"{1:064x}", f"{2:064x}"]
    assert [info["id"] for info in val.image_info] == [f"{0:064x}"]
    assert whole.num_images == 3 and whole.class_names == ["BG", "nucleus"] and whole.image_reference(1) == f"{1:064x}"


def test_masks_are_one_a_nucleus(nucleus, dataset_dir):
    masks, class_ids = nucleus.load_dataset(dataset_dir, "stage1_train").load_mask(2)
    assert masks.shape == (72, 80, 2) and masks.dtype == bool and class_ids.tolist() == [1, 1]
    assert masks.sum(axis=(0, 1)).tolist() == [20 * 22, 20 * 25] and masks[5:25, 10:32, 0].all()


@pytest.mark.parametrize("folder, subset", [("", "stage9"), ("stage1_train", f"{0:064x}/images")])
def test_a_folder_without_images_is_named(nucleus, dataset_dir, folder, subset):
    with pytest.raises(InputError, match=f"{subset}: no "):
        nucleus.load_dataset(dataset_dir / folder, subset)


# --- submission ---


def test_run_lengths_go_down_the_columns_from_one(nucleus):
    mask = np.array([[0, 1, 0], [1, 1, 0], [0, 0, 1]], bool)
    assert nucleus.rle_encode(mask) == "2 1 4 2 9 1"
    np.testing.assert_array_equal(nucleus.rle_decode("2 1 4 2 9 1", (3, 3)), mask)


@pytest.mark.parametrize("seed", range(5))
def test_run_lengths_come_back(nucleus, seed):
    mask = np.random.default_rng(seed).random((7, 5)) > (0.1, 0.5, 0.9, -1, 2)[seed]
    np.testing.assert_array_equal(nucleus.rle_decode(nucleus.rle_encode(mask), mask.shape), mask)


def test_a_shared_pixel_goes_to_the_higher_score(nucleus):
    masks = np.zeros((2, 3, 3), bool)
    masks[:, :2, 0] = masks[:, 1:, 1] = masks[0, 1, 2] = True
    assert nucleus.mask_to_rle("a", masks, np.array([0.2, 0.9, 0.5])) == ["a,3 4", "a,1 2"]
    assert nucleus.mask_to_rle("a", masks[..., :0], np.zeros(0)) == ["a,"]


# --- command line ---


def test_train_and_detect(tiny, dataset_dir, tmp_path, capsys):
    logs, results = tmp_path / "logs", tmp_path / "results"
    start = tmp_path / "start.h5"
    tiny.modellib.MaskRCNN("inference", tiny.NucleusInferenceConfig()).save_weights(start)
    common = ["--dataset", str(dataset_dir), "--logs", str(logs), "--results", str(results)]
    tiny.main(["train", *common, "--subset", "train", "--weights", str(start)])
    (run,) = logs.iterdir()
    assert sorted(path.name for path in run.glob("*.h5")) == ["mask_rcnn_nucleus_0001.h5", "mask_rcnn_nucleus_0002.h5"]
    assert re.search("Train heads.*Train all", capsys.readouterr().out, re.DOTALL)

    tiny.main(["detect", *common, "--subset", "stage1_train", "--weights", "last"])
    (submit_dir,) = results.iterdir()
    header, *lines = (submit_dir / "submit.csv").read_text().splitlines()
    ids = [f"{number:064x}" for number in range(3)]
    assert header == "ImageId,EncodedPixels" and sorted({line.split(",")[0] for line in lines}) == ids
    assert all(re.fullmatch(r"[0-9a-f]{64},(\d+ \d+( \d+ \d+)*)?", line) for line in lines)
    assert sorted(path.stem for path in submit_dir.glob("*.png")) == ids


@pytest.mark.parametrize("arguments", [["train"], ["fly", "--dataset", "d", "--subset", "s", "--weights", "w"]])
def test_wrong_use_exits_with_two(nucleus, arguments, capsys):
    with pytest.raises(SystemExit) as exit_code:
        nucleus.main(arguments)
    assert exit_code.value.code == 2 and "usage" in capsys.readouterr().err
