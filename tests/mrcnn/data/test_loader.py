"""Batches of the data loader: what they hold, their crops, order and seeds, and instances left out."""

import keras
import numpy as np
import pytest
from golden import SHARED
from skimage.draw import disk

from cyclic.errors import InputError
from cyclic.mrcnn.config import Config
from cyclic.mrcnn.data.instances import instances_of_labels, instances_of_masks
from cyclic.mrcnn.data.loader import DataGenerator
from cyclic.mrcnn.data.sample import load_image_gt, load_sample
from cyclic.mrcnn.utils import Dataset, expand_mask, extract_bboxes


class CropConfig(Config):
    NUM_CLASSES = 2
    IMAGES_PER_GPU = 2
    IMAGE_RESIZE_MODE = "crop"
    IMAGE_MIN_DIM = 128
    IMAGE_MIN_SCALE = 2
    RPN_ANCHOR_SCALES = (8, 16, 32, 64, 128)
    RPN_TRAIN_ANCHORS_PER_IMAGE = 64
    MINI_MASK_SHAPE = (28, 28)
    MAX_GT_INSTANCES = 30
    STEPS_PER_EPOCH = 3
    VALIDATION_STEPS = 2
    USE_IGNORE = True
    SEED = 5


class SquareConfig(CropConfig):
    IMAGE_RESIZE_MODE = "square"
    IMAGE_MAX_DIM = 256
    IMAGE_MIN_SCALE = 0


def _tissue(seed, size=160, count=30):
    """Disks of random places and radii; each disk's grey value is its label."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((size, size), np.int32)
    for label in range(1, count + 1):
        rows, columns = disk(rng.integers(5, size - 5, 2), rng.integers(4, 9), shape=labels.shape)
        labels[rows, columns] = label
    return np.repeat(labels[..., None].astype(np.uint8) * 4, 3, axis=-1), labels


class LabelMaps(Dataset):
    def __init__(self, tissues):
        super().__init__()
        self.tissues = tissues
        self.add_class("synthetic", 1, "nucleus")
        for number in range(len(tissues)):
            self.add_image("synthetic", number, f"image_{number}.png")
        self.prepare()

    def load_image(self, image_id):
        return self.tissues[image_id][0]

    def load_label_map(self, image_id):
        return self.tissues[image_id][1]

    def load_ignore(self, image_id):
        labels = self.tissues[image_id][1]
        return np.arange(labels.shape[1])[None].repeat(len(labels), axis=0) < 40


class Stacks(LabelMaps):
    load_label_map = property()  # no such attribute: the loader must use load_mask

    def load_mask(self, image_id):
        labels = self.tissues[image_id][1]
        ids = np.unique(labels[labels > 0])
        return labels[..., None] == ids, np.ones(len(ids), np.int32)


@pytest.fixture(scope="module")
def dataset():
    return LabelMaps([_tissue(seed) for seed in range(5)])


def _flip(image, labels, ignore, rng):
    if rng.random() < 0.5:
        return image[:, ::-1], labels[:, ::-1], None if ignore is None else ignore[:, ::-1]
    return image, labels, ignore


def _assert_equal(first, second):
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


# --- instances ---


def test_label_instances_equal_those_of_a_stack():
    labels = _tissue(0)[1]
    ids = np.unique(labels[labels > 0])
    stack = labels[..., None] == ids
    for mini_shape in (None, (56, 56)):
        ours = instances_of_labels(labels * 70000, mini_shape)
        reference = instances_of_masks(np.ones(len(ids)), stack, mini_shape)
        np.testing.assert_array_equal(ours.boxes, extract_bboxes(stack))
        np.testing.assert_array_equal(ours.boxes, reference.boxes)
        np.testing.assert_array_equal(ours.class_ids, reference.class_ids)
        # OpenCV and the reference treat mask pixels at the very edge of the box differently.
        assert (ours.masks != reference.masks).mean() < 0.01
        assert ours.masks.dtype == np.uint8 and ours.masks.max() == 1


def test_slivers_at_the_border_are_left_out():
    labels = np.zeros((40, 40), np.int32)
    labels[10:18, 0] = 3  # 8 pixels at the border
    labels[20:30, 38:] = 5  # 20 pixels at the border
    labels[5:8, 20:22] = 9  # 6 pixels inside: a whole small instance
    found = instances_of_labels(labels)
    assert found.boxes.tolist() == [[20, 38, 30, 40], [5, 20, 8, 22]]
    np.testing.assert_array_equal(found.left_out, labels == 3)


@pytest.mark.parametrize("from_labels", [True, False])
def test_instances_over_the_limit_are_left_out(from_labels):
    labels = np.kron(np.arange(1, 10).reshape(3, 3), np.ones((10, 10), np.int32))
    rng = np.random.default_rng(0)
    if from_labels:
        found = instances_of_labels(labels, None, 4, rng)
    else:
        found = instances_of_masks(np.ones(9), labels[..., None] == np.arange(1, 10), None, 4, rng)
    assert found.masks.shape == (4, 30, 30) and found.left_out.sum() == 500
    assert not (found.masks.any(axis=0) & found.left_out).any()


def test_an_empty_label_map_has_no_instances():
    found = instances_of_labels(np.zeros((20, 20), np.int32), (28, 28), 4, np.random.default_rng(0))
    assert found.boxes.shape == (0, 4) and found.masks.shape == (0, 28, 28) and not found.left_out.any()


# --- batches ---


def test_batch_has_the_documented_shapes(dataset):
    (inputs,) = DataGenerator(dataset, CropConfig())[0]
    shapes = {name: (array.shape, array.dtype.name) for name, array in inputs.items()}
    assert shapes == {
        "image": ((2, 128, 128, 3), "float32"),
        "image_meta": ((2, 14), "float32"),
        "rpn_match": ((2, 4092, 1), "int32"),
        "rpn_target_bbox": ((2, 64, 4), "float32"),
        "gt_class_ids": ((2, 30), "int32"),
        "gt_boxes": ((2, 30, 4), "float32"),
        "gt_masks": ((2, 30, 28, 28), "uint8"),
        "ignore": ((2, 128, 128), "uint8"),
    }
    assert (inputs["rpn_match"] != 0).sum(axis=(1, 2)).tolist() == [64, 64]
    assert inputs["image_meta"][0, 1:7].tolist() == [160, 160, 3, 128, 128, 3]
    assert inputs["image_meta"][0, 11:].tolist() == [2, 1, 1]


def test_boxes_and_masks_lie_on_their_nuclei(dataset):
    (inputs,) = DataGenerator(dataset, CropConfig(), augmentation=_flip)[1]
    image = np.rint(inputs["image"][0, ..., 0] + CropConfig.MEAN_PIXEL[0])
    count = (inputs["gt_class_ids"][0] > 0).sum()
    boxes = inputs["gt_boxes"][0, :count].astype(int)
    masks = expand_mask(boxes, np.moveaxis(inputs["gt_masks"][0, :count], 0, -1), (128, 128))
    assert count > 3
    for i in range(count):
        # The image's grey value is the label: inside one mask it is constant but for the blurred rim.
        values = image[masks[..., i]]
        assert (values == np.median(values)).mean() > 0.6 and np.median(values) > 0
    assert not inputs["gt_boxes"][0, count:].any() and not inputs["gt_masks"][0, count:].any()


def test_full_masks_when_mini_masks_are_off(dataset):
    config = type("C", (CropConfig,), {"USE_MINI_MASK": False})()
    (inputs,) = DataGenerator(dataset, config)[0]
    assert inputs["gt_masks"].shape == (2, 30, 128, 128)
    count = (inputs["gt_class_ids"][0] > 0).sum()
    boxes = extract_bboxes(np.moveaxis(inputs["gt_masks"][0, :count], 0, -1))
    np.testing.assert_array_equal(boxes, inputs["gt_boxes"][0, :count])


def test_ignore_is_optional_and_moves_with_the_image(dataset):
    plain = type("C", (CropConfig,), {"USE_IGNORE": False})()
    assert "ignore" not in DataGenerator(dataset, plain)[0][0]
    flipped = lambda image, labels, ignore, rng: (image[:, ::-1], labels[:, ::-1], ignore[:, ::-1])  # noqa: E731
    seen = []
    for index in range(3):
        straight, mirrored = (DataGenerator(dataset, CropConfig(), augmentation=a)[index][0] for a in (None, flipped))
        np.testing.assert_array_equal(mirrored["ignore"], straight["ignore"][:, :, ::-1])
        np.testing.assert_array_equal(mirrored["image"], straight["image"][:, :, ::-1])
        seen.append(straight["ignore"])
    assert np.any(seen) and not np.all(seen)


def test_instances_over_the_limit_become_ignore(dataset):
    config = type("C", (SquareConfig,), {"MAX_GT_INSTANCES": 3, "IMAGES_PER_GPU": 1, "IMAGE_MAX_DIM": 192})()
    (inputs,) = DataGenerator(dataset, config, shuffle=False)[0]
    labels = dataset.load_label_map(0)
    assert (inputs["gt_class_ids"] > 0).sum() == 3
    top, left = (192 - 160) // 2, (192 - 160) // 2
    ignored = inputs["ignore"][0, top : top + 160, left : left + 160] > 0
    # Away from the data set's own ignore region: every nucleus but the chosen ones.
    left_out = np.setdiff1d(labels[:, 40:][ignored[:, 40:]], [0])
    assert len(left_out) >= len(np.setdiff1d(labels[:, 40:], [0])) - 3
    np.testing.assert_array_equal(ignored[:, 40:], np.isin(labels[:, 40:], left_out))


def test_an_image_without_instances_is_kept():
    empty = LabelMaps([(np.full((100, 100, 3), 200, np.uint8), np.zeros((100, 100), np.int32))])
    empty.load_ignore = lambda image_id: np.zeros((100, 100), bool)
    (inputs,) = DataGenerator(empty, CropConfig())[0]
    assert not inputs["gt_class_ids"].any() and not inputs["rpn_target_bbox"].any()
    assert (inputs["rpn_match"] == -1).sum(axis=(1, 2)).tolist() == [64, 64] and not (inputs["rpn_match"] == 1).any()


def test_a_crop_larger_than_the_image_enlarges_it():
    small = LabelMaps([_tissue(0, size=40, count=4)])
    (inputs,) = DataGenerator(small, CropConfig())[0]
    assert inputs["image"].shape == (2, 128, 128, 3) and inputs["image_meta"][0, 11] == pytest.approx(3.2)
    assert (inputs["gt_class_ids"] > 0).any()


def test_enlarged_labels_lie_on_their_nuclei(dataset):
    config = CropConfig()
    config.IMAGE_MIN_SCALE, config.USE_MINI_MASK = 1.3, False
    for seed in range(10):
        sample = load_sample(dataset, config, 0, None, np.random.default_rng(seed))
        dark = sample.image[..., 0] == 0
        inside = sample.instances.masks.any(axis=0)
        assert (inside & dark).sum() < 0.02 * inside.sum() and inside.any()


def test_things_may_appear_larger_or_smaller_than_usual(dataset):
    config = CropConfig()
    config.IMAGE_SCALE_JITTER = 0.5
    samples = [load_sample(dataset, config, 0, None, np.random.default_rng(seed)) for seed in range(40)]
    scales = np.array([sample.meta[11] for sample in samples])
    assert 2 / 1.5 <= scales.min() < 1.5 and 2.7 < scales.max() <= 2 * 1.5
    assert {sample.image.shape for sample in samples} == {(128, 128, 3)}


# --- order and seeds ---


def test_same_seed_same_batches_in_any_order(dataset):
    first, second = (DataGenerator(dataset, CropConfig(), augmentation=_flip) for _ in range(2))
    late = first[7][0]
    first[0]
    _assert_equal(late, second[7][0])
    assert (late["image"] != DataGenerator(dataset, CropConfig(), augmentation=_flip, seed=6)[7][0]["image"]).any()


def test_workers_change_nothing(dataset):
    config = type("FourSteps", (CropConfig,), {"VALIDATION_STEPS": 4})()
    expected = [DataGenerator(dataset, config, shuffle=False)[i][0]["image"] for i in range(4)]
    threaded = DataGenerator(dataset, config, shuffle=False, workers=3)
    adapter = keras.src.trainers.data_adapters.py_dataset_adapter.PyDatasetAdapter(threaded)
    adapter.on_epoch_begin()
    batches = [batch[0]["image"] for batch in adapter._get_iterator()]
    adapter.on_epoch_end()
    np.testing.assert_array_equal(batches, expected)


def test_each_pass_shows_every_image_once_in_a_new_order(dataset):
    config = type("C", (CropConfig,), {"IMAGES_PER_GPU": 1})()
    generator = DataGenerator(dataset, config)
    ids = [int(generator[i][0]["image_meta"][0, 0]) for i in range(15)]
    passes = [ids[:5], ids[5:10], ids[10:]]
    assert all(sorted(one) == [0, 1, 2, 3, 4] for one in passes) and len({tuple(one) for one in passes}) > 1
    assert generator.num_batches is None and len(generator) == 3
    resumed = DataGenerator(dataset, config, epoch=2)
    assert [int(resumed[i][0]["image_meta"][0, 0]) for i in range(3)] == ids[6:9]


def test_validation_goes_in_order_and_ends(dataset):
    generator = DataGenerator(dataset, CropConfig(), shuffle=False)
    ids = [batch[0]["image_meta"][:, 0].tolist() for batch in generator]
    assert ids == [[0, 1], [2, 3]] and generator.num_batches == 2


def test_images_that_do_not_stack_are_refused():
    config = type("C", (CropConfig,), {"IMAGE_RESIZE_MODE": "pad64"})()
    mixed = LabelMaps([_tissue(0, size=100), _tissue(0, size=160)])
    with pytest.raises(InputError, match="different sizes"):
        DataGenerator(mixed, config, shuffle=False)[0]


def test_an_empty_data_set_is_refused():
    with pytest.raises(InputError, match="no image"):
        DataGenerator(LabelMaps([]), CropConfig())


def test_labels_of_another_size_are_refused():
    image, labels = _tissue(0)
    with pytest.raises(InputError, match=r"image_0\.png.*label map.*\(150, 160\)"):
        DataGenerator(LabelMaps([(image, labels[:150])]), CropConfig())[0]


# --- Matterport's data sets and augmentation ---


@pytest.mark.parametrize("config", [CropConfig(), SquareConfig()], ids=["crop", "square"])
def test_stacks_and_label_maps_give_the_same_image(dataset, config):
    stacks = Stacks(dataset.tissues)
    assert not hasattr(stacks, "load_label_map")
    rng = np.random.default_rng(1)
    image, meta, class_ids, boxes, masks = load_image_gt(stacks, config, 2, use_mini_mask=True, rng=rng)
    assert masks.shape == (28, 28, len(boxes)) and masks.dtype == bool and class_ids.tolist() == [1] * len(boxes)
    if config.IMAGE_RESIZE_MODE == "square":
        other = load_image_gt(dataset, config, 2)
        for ours, theirs in zip((image, meta, class_ids, boxes), other[:4], strict=True):
            np.testing.assert_array_equal(ours, theirs)
        assert boxes[:, 0].min() >= 48 and meta[7:11].tolist() == [48, 48, 208, 208]
    (inputs,) = DataGenerator(stacks, config, augmentation=_flip)[0]
    assert inputs["gt_masks"].shape == (2, 30, 28, 28) and inputs["gt_class_ids"].any()


def test_sources_can_be_spared_from_augmentation(dataset):
    black = lambda image, labels, ignore, rng: (image * 0, labels, ignore)  # noqa: E731
    plain = DataGenerator(dataset, CropConfig())[0][0]
    _assert_equal(plain, DataGenerator(dataset, CropConfig(), True, black, ["synthetic"])[0][0])
    assert (plain["image"] != DataGenerator(dataset, CropConfig(), True, black, ["other"])[0][0]["image"]).any()


@pytest.mark.parametrize("kind", [LabelMaps, Stacks])
def test_imgaug_moves_image_labels_and_ignore_alike(dataset, kind):
    iaa = pytest.importorskip("cyclic.datasets.augment").load_imgaug()
    data = kind(dataset.tissues)
    plain = DataGenerator(data, CropConfig())[0][0]
    flipped = DataGenerator(data, CropConfig(), augmentation=iaa.Fliplr(1.0))[0][0]
    np.testing.assert_array_equal(flipped["image"], plain["image"][:, :, ::-1])
    np.testing.assert_array_equal(flipped["ignore"], plain["ignore"][:, :, ::-1])
    by_place = lambda boxes: boxes[np.lexsort(boxes.T)]  # noqa: E731
    for one, other in zip(plain["gt_boxes"], flipped["gt_boxes"], strict=True):
        count = other.any(axis=1).sum()
        mirrored = other[:count][:, [0, 3, 2, 1]] * [1, -1, 1, -1] + [0, 128, 0, 128]
        np.testing.assert_array_equal(by_place(one[:count]), by_place(mirrored))


def test_fit_takes_the_batches(dataset):
    class MeanBox(keras.Model):
        def __init__(self):
            super().__init__()
            self.pool, self.dense = keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(4)

        def call(self, inputs):
            found = self.dense(self.pool(inputs["image"] / 255.0))
            self.add_loss(keras.ops.mean(keras.ops.square(found[:, None] - inputs["gt_boxes"] / 128.0)))
            return found

    model = MeanBox()
    model.compile("sgd")
    history = model.fit(
        DataGenerator(dataset, CropConfig(), workers=2),
        validation_data=DataGenerator(dataset, CropConfig(), shuffle=False),
        steps_per_epoch=2,
        validation_steps=2,
        epochs=2,
        verbose=0,
    )
    assert len(history.history["val_loss"]) == 2 and np.isfinite(history.history["loss"]).all()


@pytest.mark.skipif(not (SHARED / "data" / "monuseg").is_dir(), reason="shared data not present")
def test_real_nuclei_have_sensible_sizes():
    from cyclic.files import image_files, label_files
    from cyclic.images import read_image
    from cyclic.label_maps import read_label_map

    folder = SHARED / "data" / "monuseg"
    labels = label_files(folder / "labels")
    name, path = next(iter(image_files(folder / "images").items()))
    data = LabelMaps([(read_image(path), read_label_map(labels[name]))])
    (inputs,) = DataGenerator(data, CropConfig())[3]
    boxes = inputs["gt_boxes"][inputs["gt_class_ids"] > 0]
    sides = boxes[:, 2:] - boxes[:, :2]
    assert len(boxes) > 4 and 10 < np.median(sides) < 100
    assert (inputs["rpn_match"] == 1).any(axis=(1, 2)).all()
