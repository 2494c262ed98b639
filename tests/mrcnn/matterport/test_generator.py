"""`data_generator`, random ROIs and their targets: Matterport's order, shapes and types, and the values worked out."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
import skimage.transform
from tiny_model import SIDE, OneImage, TinyConfig

from cyclic.errors import InputError
from cyclic.mrcnn import model as modellib
from cyclic.mrcnn import utils, visualize
from cyclic.mrcnn.data.dataset import Dataset


class SquareConfig(TinyConfig):
    IMAGE_RESIZE_MODE = "square"
    IMAGE_MIN_DIM = IMAGE_MAX_DIM = 128
    NUM_CLASSES = 3
    TRAIN_ROIS_PER_IMAGE = 40
    MAX_GT_INSTANCES = 6


class FullMasks(SquareConfig):
    USE_MINI_MASK = False


class Shapes(Dataset):
    """Images of two classes; the one in the middle has a crowd alone, the last of the five more than fit."""

    COUNTS = (2, 3, 0, 1, 9)

    def __init__(self, counts=COUNTS):
        super().__init__()
        self.counts = counts
        self.add_class("shapes", 1, "square")
        self.add_class("shapes", 2, "bar")
        for index in range(len(counts)):
            self.add_image("odd" if index % 2 else "shapes", index, f"{index}.png")
        self.add_class("odd", 1, "none")
        self.prepare()
        self.source_class_ids["odd"] = [0, 1, 2]
        self.source_class_ids["shapes"] = [0, 1, 2]

    def load_image(self, image_id):
        return np.full((SIDE, SIDE, 3), 20 * image_id, np.uint8)

    def load_mask(self, image_id):
        count = self.counts[image_id]
        masks = np.zeros((SIDE, SIDE, max(count, 1)), bool)
        for index in range(max(count, 1)):
            y, x = 4 + 30 * (index // 3), 4 + 30 * (index % 3)
            masks[y : y + 14, x : x + (14 if index % 2 == 0 else 24), index] = True
        ids = np.array([1 + index % 2 for index in range(count)] or [-1], np.int32)
        return masks, ids


def batches(count=1, config=None, **options):
    np.random.seed(0)
    generator = modellib.data_generator(Shapes(), config or SquareConfig(), **options)
    return [next(generator) for _ in range(count)]


def ids_of(batch):
    return batch[0][1][:, 0].astype(int).tolist()


# --- the generator ---


def test_inputs_alone_have_matterports_order_shapes_and_types():
    ((inputs, outputs),) = batches(batch_size=2, shuffle=False)
    assert outputs == [] and isinstance(inputs, list)
    anchors = 3 * (32**2 + 16**2 + 8**2 + 4**2 + 2**2)
    assert [(part.shape, part.dtype) for part in inputs] == [
        ((2, 128, 128, 3), np.float32),
        ((2, 15), np.float64),
        ((2, anchors, 1), np.int32),
        ((2, 32, 4), np.float64),
        ((2, 6), np.int32),
        ((2, 6, 4), np.int32),
        ((2, 14, 14, 6), bool),
    ]
    images, meta, match, deltas, class_ids, boxes, masks = inputs
    config = SquareConfig()
    for index, image_id in enumerate((0, 1)):
        image, expected_meta, ids, expected_boxes, expected_masks = modellib.load_image_gt(
            Shapes(), config, image_id, use_mini_mask=True
        )
        count = len(ids)
        np.testing.assert_array_equal(images[index], modellib.mold_image(image, config))
        np.testing.assert_array_equal(meta[index], expected_meta)
        np.testing.assert_array_equal(class_ids[index], [*ids, *[0] * (6 - count)])
        np.testing.assert_array_equal(boxes[index][:count], expected_boxes)
        np.testing.assert_array_equal(masks[index][..., :count], expected_masks)
        assert not boxes[index][count:].any() and not masks[index][..., count:].any()
        positives = (match[index] == 1).sum()
        assert positives and (match[index] == -1).sum() == 32 - positives
        assert not deltas[index][positives:].any()


def test_random_rois_and_their_targets_come_last():
    ((inputs, outputs),) = batches(batch_size=2, random_rois=60, detection_targets=True)
    assert len(inputs) == 9 and inputs[7].shape == (2, 60, 4) and inputs[8].shape == (2, 40, 4)
    assert inputs[7].dtype == inputs[8].dtype == np.int32
    assert [(part.shape, part.dtype) for part in outputs] == [
        ((2, 40, 1), np.int32),
        ((2, 40, 3, 4), np.float32),
        ((2, 40, 28, 28, 3), np.float32),
    ]
    ((inputs, outputs),) = batches(random_rois=60)
    assert len(inputs) == 8 and outputs == []
    assert len(batches(detection_targets=True)[0][0]) == 7


def test_full_masks_without_mini_masks():
    ((inputs, _),) = batches(config=FullMasks(), shuffle=False)
    assert inputs[6].shape == (1, 128, 128, 6)
    np.testing.assert_array_equal(utils.extract_bboxes(inputs[6][0]), inputs[5][0])


def test_images_without_an_instance_are_left_out_and_the_pass_begins_anew():
    found = [ids_of(batch)[0] for batch in batches(6, shuffle=False)]
    assert found == [0, 1, 3, 4, 0, 1]


def test_shuffling_gives_each_image_once_a_pass_and_follows_numpys_seed():
    found = [ids_of(batch)[0] for batch in batches(24)]
    passes = [found[start : start + 4] for start in range(0, 24, 4)]
    assert all(sorted(one) == [0, 1, 3, 4] for one in passes) and len(set(map(tuple, passes))) > 1
    assert found == [ids_of(batch)[0] for batch in batches(24)]


def test_more_instances_than_fit_are_sampled():
    inputs = batches(4, shuffle=False)[3][0]
    assert (inputs[4] > 0).all() and len({tuple(box) for box in inputs[5][0]}) == 6


def test_augmentation_spares_sources_and_the_old_flag_mirrors():
    black = lambda image, labels, ignore, rng: (image * 0, labels, ignore)  # noqa: E731
    options = {"shuffle": False, "augmentation": black, "no_augmentation_sources": ["odd"]}
    means = [inputs[0][0, 64, 64, 0] for inputs, _ in batches(4, **options)]
    black_pixel = np.float32(-123.7)
    np.testing.assert_allclose(means, [black_pixel, 20 - 123.7, 60 - 123.7, black_pixel], rtol=1e-6)
    corners = {batch[0][5][0, 0, 1] for batch in batches(80, shuffle=False, augment=True)[::4]}
    assert len(corners) == 2


def test_label_maps_work_too():
    inputs, _ = next(modellib.data_generator(OneImage(), TinyConfig(), random_rois=9))
    assert inputs[0].shape == (1, 64, 64, 3) and (inputs[4] >= 0).all() and inputs[4].any()


def test_a_data_set_without_instances_is_refused():
    with pytest.raises(InputError, match="none of 3 images has an instance"):
        next(modellib.data_generator(Shapes((0, 0, 0)), SquareConfig()))


def test_images_of_different_sizes_do_not_fit_one_batch():
    class Sizes(Shapes):
        def load_image(self, image_id):
            return super().load_image(image_id)[: SIDE - 40 * (image_id == 1)]

        def load_mask(self, image_id):
            masks, ids = super().load_mask(image_id)
            return masks[: SIDE - 40 * (image_id == 1)], ids

    config = type("Pad", (SquareConfig,), {"IMAGE_RESIZE_MODE": "pad64", "IMAGE_MIN_DIM": 0})()
    generator = modellib.data_generator(Sizes(), config, shuffle=False, batch_size=2)
    with pytest.raises(InputError, match="use square or crop, or batch_size = 1"):
        next(generator)


def test_what_the_data_notebooks_draw_from_a_batch():
    """Anchors and ROIs that are moved by their targets lie on instances, and every function that draws takes them."""
    config, dataset = SquareConfig(), Shapes()
    np.random.seed(0)
    generator = modellib.data_generator(
        dataset, config, shuffle=True, random_rois=400, batch_size=2, detection_targets=True
    )
    [images, meta, match, rpn_bbox, _, gt_boxes, _, rpn_rois, rois], [ids, bbox, mask] = next(generator)
    ids = ids[:, :, 0]
    anchors = utils.generate_pyramid_anchors(
        config.RPN_ANCHOR_SCALES,
        config.RPN_ANCHOR_RATIOS,
        modellib.compute_backbone_shapes(config, config.IMAGE_SHAPE),
        config.BACKBONE_STRIDES,
        config.RPN_ANCHOR_STRIDE,
    )
    assert set(modellib.parse_image_meta(meta)["image_id"]) <= set(dataset.image_ids)
    for index in range(2):
        real = {tuple(box) for box in gt_boxes[index]}
        positive = np.where(match[index] == 1)[0]
        moved = utils.apply_box_deltas(anchors[positive], rpn_bbox[index, : len(positive)] * config.RPN_BBOX_STD_DEV)
        assert len(positive) and {tuple(box) for box in np.rint(moved).astype(int)} <= real
        own = bbox[index, np.arange(40), ids[index]]
        refined = utils.apply_box_deltas(rois[index].astype(np.float32), own * config.BBOX_STD_DEV)
        assert (ids[index] > 0).any()
        assert {tuple(box) for box in np.rint(refined[ids[index] > 0]).astype(int)} <= real
        assert {tuple(roi) for roi in rois[index]} <= {tuple(roi) for roi in rpn_rois[index]}
        masks = mask[index, np.arange(40), :, :, ids[index]]
        image = modellib.unmold_image(images[index], config)
        visualize.draw_boxes(image, boxes=anchors[positive], refined_boxes=moved)
        visualize.draw_rois(image, rois[index], refined, masks, ids[index], dataset.class_names)
        picture = visualize.draw_box(image.copy(), rois[index, 0, :4].astype(np.int32), [255, 0, 0])
        picture = visualize.draw_box(picture, refined[0].astype(np.int64), [0, 255, 0])
        visualize.display_images([picture, masks[0] * 255], ["ROI 0", "mask"], cols=2)
        plt.close("all")


# --- random ROIs ---


def test_random_rois_lie_around_their_instances_and_have_area():
    np.random.seed(1)
    boxes = np.array([[10, 20, 30, 50], [90, 100, 128, 128]], np.int32)
    rois = modellib.generate_random_rois((128, 128, 3), 40, np.array([1, 1]), boxes)
    assert rois.shape == (40, 4) and rois.dtype == np.int32
    assert (rois[:, 2:] > rois[:, :2]).all() and rois.min() >= 0 and rois.max() < 128
    near = [(rois[:18], (0, 0, 50, 80)), (rois[18:36], (52, 72, 128, 128))]
    for some, (y1, x1, y2, x2) in near:
        assert (some[:, :2] >= (y1, x1)).all() and (some[:, 2:] < (y2, x2)).all()
    np.random.seed(1)
    again = modellib.generate_random_rois((128, 128, 3), 40, np.array([1, 1]), boxes)
    np.testing.assert_array_equal(rois, again)


@pytest.mark.parametrize("count, boxes", [(5, 0), (5, 20), (1, 1)])
def test_random_rois_without_or_with_many_instances(count, boxes):
    boxes = np.tile(np.int32([[3, 4, 9, 9]]), (boxes, 1))
    rois = modellib.generate_random_rois((32, 32), count, np.ones(len(boxes), int), boxes)
    assert rois.shape == (count, 4) and (rois[:, 2:] > rois[:, :2]).all()


# --- targets of ROIs ---


def truth(mini):
    """Three instances, the last a crowd: class ids, boxes and masks, and four ROIs of which two are positive."""
    boxes = np.array([[8, 8, 40, 48], [60, 60, 100, 80], [0, 0, 20, 20]], np.int32)
    masks = np.zeros((128, 128, 3), bool)
    y, x = np.mgrid[:128, :128]
    masks[..., 0] = (((y - 23.5) / 16) ** 2 + ((x - 27.5) / 20) ** 2) <= 1
    masks[60:100, 60:80, 1] = masks[:20, :20, 2] = True
    masks = utils.minimize_mask(boxes, masks, (14, 14)) if mini else masks
    rois = np.array([[10, 8, 40, 46], [62, 58, 101, 80], [0, 0, 20, 20], [100, 100, 120, 126]], np.int32)
    return rois, np.array([2, 1, -1], np.int32), boxes, masks


@pytest.mark.parametrize("config", [SquareConfig(), FullMasks()], ids=["mini", "full"])
def test_targets_stand_at_the_class_of_the_instance(config):
    rois, class_ids, boxes, masks = truth(config.USE_MINI_MASK)
    np.random.seed(0)
    chosen, ids, deltas, targets = modellib.build_detection_targets(rois, class_ids, boxes, masks, config)
    assert chosen.shape == (40, 4) and deltas.shape == (40, 3, 4) and targets.shape == (40, 28, 28, 3)
    np.testing.assert_array_equal(chosen[:2], rois[:2])
    assert ids[:2].tolist() == [2, 1] and not ids[2:].any() and ids.dtype == np.int32
    # Too few negatives are repeated, and a crowd is no instance.
    assert {tuple(roi) for roi in chosen[2:]} == {tuple(rois[2]), tuple(rois[3])}
    full = utils.expand_mask(boxes, masks, (128, 128)) if config.USE_MINI_MASK else masks
    for row, (class_id, instance) in enumerate(((2, 0), (1, 1))):
        expected = utils.box_refinement(rois[[row]], boxes[[instance]])[0] / config.BBOX_STD_DEV
        np.testing.assert_allclose(deltas[row, class_id], expected, rtol=1e-6)
        y1, x1, y2, x2 = rois[row]
        crop = full[y1:y2, x1:x2, instance].astype(float)
        expected = skimage.transform.resize(crop, (28, 28), order=1, mode="constant", anti_aliasing=False)
        np.testing.assert_allclose(targets[row, ..., class_id], expected, atol=1e-6)
        targets[row, ..., class_id] = deltas[row, class_id] = 0
    assert not targets.any() and not deltas.any()


def test_positives_keep_their_share():
    rois, class_ids, boxes, masks = truth(False)
    np.random.seed(0)
    many = np.concatenate([np.repeat(rois[:1], 30, axis=0), np.repeat(rois[3:], 50, axis=0)])
    _, ids, _, _ = modellib.build_detection_targets(many, class_ids, boxes, masks, FullMasks())
    assert (ids > 0).sum() == int(40 * 0.33) and (ids[:13] == 2).all()


def test_a_roi_at_half_overlap_is_neither_positive_nor_negative():
    boxes, masks = np.array([[0, 0, 10, 20]], np.int32), np.ones((30, 30, 1), bool)
    half, far = [0, 0, 10, 10], [20, 20, 25, 25]
    rois = np.array([half, far], np.int32)
    chosen, ids, _, _ = modellib.build_detection_targets(rois, np.int32([1]), boxes, masks, FullMasks())
    assert not ids.any() and {tuple(roi) for roi in chosen} == {tuple(far)}
    with pytest.raises(ValueError, match="1 ROIs, and none overlaps all instances by less than 0.5"):
        modellib.build_detection_targets(rois[:1], np.int32([1]), boxes, masks, FullMasks())


def test_targets_need_an_instance():
    rois, _, boxes, masks = truth(False)
    with pytest.raises(ValueError, match="no instance with a positive class"):
        modellib.build_detection_targets(rois, np.int32([0, -1, 0]), boxes, masks, FullMasks())
