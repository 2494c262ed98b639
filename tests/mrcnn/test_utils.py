import pathlib

import numpy as np
import pytest
import skimage.transform
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cyclic.errors import InputError
from cyclic.mrcnn import utils
from cyclic.mrcnn.config import Config
from cyclic.mrcnn.geometry.boxes_numpy import enlarge_boxes
from cyclic.mrcnn.geometry.resizing import resize_linear, resize_nearest

PARITY = pathlib.Path(__file__).resolve().parents[2].parent / "shared" / "parity"
needs_parity = pytest.mark.skipif(not PARITY.is_dir(), reason="shared data not present")

corners = st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(1, 30), st.integers(1, 30))
box_lists = st.lists(corners, min_size=1, max_size=8).map(
    lambda rows: np.array([(y, x, y + h, x + w) for y, x, h, w in rows])
)


def _stack(*boxes, shape=(20, 24)):
    masks = np.zeros((*shape, len(boxes)), dtype=bool)
    for i, (y1, x1, y2, x2) in enumerate(boxes):
        masks[y1:y2, x1:x2, i] = True
    return masks


# --- boxes ---


@given(box_lists, box_lists)
def test_overlaps_equal_those_of_painted_boxes(boxes1, boxes2):
    painted = utils.compute_overlaps_masks(_stack(*boxes1, shape=(70, 70)), _stack(*boxes2, shape=(70, 70)))
    overlaps = utils.compute_overlaps(boxes1, boxes2)
    np.testing.assert_allclose(overlaps, painted, rtol=1e-6)
    area = np.prod(boxes1[0, 2:] - boxes1[0, :2])
    areas = np.prod(boxes2[:, 2:] - boxes2[:, :2], axis=1)
    np.testing.assert_allclose(utils.compute_iou(boxes1[0], boxes2, area, areas), overlaps[0])


@given(box_lists, st.integers(80, 200), st.integers(80, 200))
def test_denorm_undoes_norm(boxes, height, width):
    normalized = utils.norm_boxes(boxes, (height, width))
    assert normalized.dtype == np.float32
    np.testing.assert_array_equal(utils.denorm_boxes(normalized, (height, width)), boxes)


def test_the_whole_image_is_the_unit_box():
    np.testing.assert_array_equal(utils.norm_boxes(np.array([[0, 0, 50, 80]]), (50, 80)), [[0, 0, 1, 1]])


@given(box_lists, st.floats(0, 1))
def test_enlarged_boxes_hold_the_boxes_and_stay_in_their_window(boxes, margin):
    window = np.array([[0, 0, 70, 70]])
    enlarged = enlarge_boxes(boxes, margin, window)
    assert (enlarged[:, :2] <= boxes[:, :2]).all() and (enlarged[:, 2:] >= boxes[:, 2:]).all()
    assert (enlarged >= 0).all() and (enlarged <= 70).all()
    free = enlarge_boxes(boxes, margin, np.array([[-100, -100, 200, 200]]))
    np.testing.assert_allclose(free[:, 2:] - free[:, :2], (1 + margin) * (boxes[:, 2:] - boxes[:, :2]))
    np.testing.assert_allclose(free[:, 2:] + free[:, :2], boxes[:, 2:] + boxes[:, :2])


@given(box_lists)
def test_deltas_undo_refinement(boxes):
    target = boxes[::-1]
    deltas = utils.box_refinement(boxes, target)
    np.testing.assert_allclose(utils.apply_box_deltas(boxes, deltas), target, atol=1e-3)


def test_suppression_keeps_the_best_of_each_cluster():
    boxes = np.array([[0, 0, 10, 10], [0, 1, 10, 11], [20, 20, 30, 30], [0, 5, 10, 15]])
    scores = np.array([0.8, 0.9, 0.3, 0.5])
    assert utils.non_max_suppression(boxes, scores, 0.5).tolist() == [1, 3, 2]
    assert utils.non_max_suppression(boxes, scores, 0.1).tolist() == [1, 2]


# --- masks ---


@given(box_lists)
def test_boxes_of_painted_boxes(boxes):
    found = utils.extract_bboxes(_stack(*boxes, shape=(70, 70)))
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, boxes)


def test_empty_mask_has_a_zero_box():
    assert utils.extract_bboxes(_stack((2, 3, 9, 8), (0, 0, 0, 0))).tolist() == [[2, 3, 9, 8], [0, 0, 0, 0]]
    assert utils.extract_bboxes(np.zeros((5, 5, 0), bool)).shape == (0, 4)


def test_mask_overlaps_of_nothing_are_zero_not_nan():
    assert utils.compute_overlaps_masks(_stack((0, 0, 0, 0)), _stack((0, 0, 0, 0))).tolist() == [[0]]
    assert utils.compute_overlaps_masks(_stack(), _stack((0, 0, 3, 3))).shape == (0, 1)


def test_expanding_mini_masks_gives_the_masks_back():
    yy, xx = np.mgrid[:64, :64]
    masks = np.stack([(yy - 20) ** 2 + (xx - 25) ** 2 < 200, (yy - 45) ** 2 + 2 * (xx - 40) ** 2 < 300], axis=-1)
    boxes = utils.extract_bboxes(masks)
    mini = utils.minimize_mask(boxes, masks, (28, 28))
    assert mini.shape == (28, 28, 2) and mini.dtype == bool
    overlaps = utils.compute_overlaps_masks(utils.expand_mask(boxes, mini, (64, 64, 3)), masks)
    assert np.diag(overlaps).min() > 0.9


def test_a_box_without_area_is_refused():
    with pytest.raises(ValueError, match="no area"):
        utils.minimize_mask(np.array([[3, 3, 3, 8]]), _stack((2, 2, 9, 9)), (28, 28))


def test_unmold_mask_fills_the_box_only():
    full = utils.unmold_mask(np.ones((28, 28), np.float32), np.array([4, 6, 12, 20]), (20, 24, 3))
    np.testing.assert_array_equal(full, _stack((4, 6, 12, 20))[..., 0])
    half = np.zeros((28, 28), np.float32)
    half[14:] = 1
    assert utils.unmold_mask(half, (4, 6, 12, 20), (20, 24)).nonzero()[0].min() == 8


# --- resizing ---


@settings(deadline=None)
@given(
    hnp.arrays(np.float64, st.tuples(st.integers(2, 20), st.integers(2, 20)), elements=st.floats(0, 255)),
    st.integers(1, 40),
    st.integers(1, 40),
)
def test_linear_resize_equals_skimage(image, height, width):
    expected = utils.resize(image, (height, width), preserve_range=True)
    np.testing.assert_allclose(resize_linear(image, (height, width)), expected, atol=1e-3)


def test_linear_resize_keeps_channels_and_range():
    image = np.random.default_rng(0).integers(50, 200, (7, 9, 1), dtype=np.uint8)
    resized = resize_linear(image, (20, 30))
    assert resized.shape == (20, 30, 1) and resized.min() >= image.min() and resized.max() <= image.max()


def test_nearest_resize_mixes_no_labels():
    labels = np.array([[0, 7], [900, 3]])
    assert resize_nearest(labels, (4, 4)).tolist() == np.kron(labels, np.ones((2, 2), int)).tolist()
    assert resize_nearest(np.arange(4)[None], (1, 2)).tolist() == [[1, 3]]


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (100, 60, 3), dtype=np.uint8)


def test_none_changes_nothing(image):
    resized, window, scale, padding, crop = utils.resize_image(image, 64, 128, 2, "none")
    assert resized is image and window == (0, 0, 100, 60) and scale == 1 and crop is None
    assert padding == [(0, 0), (0, 0), (0, 0)]


def test_square_scales_down_to_the_longest_side_and_pads(image):
    resized, window, scale, padding, _ = utils.resize_image(image, 48, 50, mode="square")
    assert resized.shape == (50, 50, 3) and resized.dtype == np.uint8
    assert window == (0, 10, 50, 40) and scale == 0.5 and padding == [(0, 0), (10, 10), (0, 0)]
    assert not resized[:, :10].any() and not resized[:, 40:].any()


def test_square_enlarges_by_the_minimum_scale(image):
    resized, window, scale, _, _ = utils.resize_image(image, 60, 256, min_scale=2, mode="square")
    assert scale == 2 and window == (28, 68, 228, 188)
    expected = skimage.transform.resize(image, (200, 120), order=1, mode="constant", preserve_range=True)
    np.testing.assert_array_equal(resized[28:228, 68:188], (expected + 1e-4).astype(np.uint8))


def test_pad64_pads_to_multiples_of_64(image):
    resized, window, _, padding, _ = utils.resize_image(image, mode="pad64")
    assert resized.shape == (128, 64, 3) and window == (14, 2, 114, 62) and padding[0] == (14, 14)
    with pytest.raises(ValueError, match="multiple of 64"):
        utils.resize_image(image, 65, mode="pad64")


def test_crop_is_random_but_seeded(image):
    first = utils.resize_image(image, 32, mode="crop", rng=np.random.default_rng(3))
    again = utils.resize_image(image, 32, mode="crop", rng=np.random.default_rng(3))
    np.testing.assert_array_equal(first[0], again[0])
    y, x, height, width = first[4]
    np.testing.assert_array_equal(first[0], image[y : y + height, x : x + width])
    assert len({utils.resize_image(image, 32, mode="crop", rng=np.random.default_rng(i))[4] for i in range(9)}) > 3


def test_unknown_mode_is_refused(image):
    with pytest.raises(ValueError, match="squeeze"):
        utils.resize_image(image, 32, 64, mode="squeeze")


@pytest.mark.parametrize(("mode", "scale"), [("square", 0), ("square", 1.5), ("pad64", 1.5), ("crop", 2), ("none", 0)])
def test_masks_move_with_their_image(mode, scale):
    mask = np.zeros((96, 80), dtype=bool)
    mask[30:61, 20:60] = True
    image = np.repeat(mask[..., None].astype(np.uint8) * 200, 3, axis=-1)
    resized, _, scale, padding, crop = utils.resize_image(image, 64, 160, scale, mode, np.random.default_rng(0))
    moved = utils.resize_mask(mask[..., None], scale, padding, crop)[..., 0]
    np.testing.assert_array_equal(moved, utils.resize_mask(mask, scale, padding, crop))
    assert moved.shape == resized.shape[:2] and moved.any()
    # They differ only where the image is a mixture at the edge.
    assert ((resized[..., 0] > 100) != moved).mean() < 0.03


# --- molding ---


def test_meta_survives_the_round_trip():
    meta = utils.compose_image_meta(7, (100, 60, 3), (128, 128, 3), (14, 34, 114, 94), 1.5, [1, 0, 1])
    parsed = utils.parse_image_meta(meta[None])
    assert meta.shape == (15,) and parsed["image_id"].tolist() == [7]
    assert parsed["original_image_shape"].tolist() == [[100, 60, 3]]
    assert parsed["image_shape"].tolist() == [[128, 128, 3]] and parsed["window"].tolist() == [[14, 34, 114, 94]]
    assert parsed["scale"].tolist() == [1.5] and parsed["active_class_ids"].tolist() == [[1, 0, 1]]


def test_unmold_undoes_mold(image):
    molded = utils.mold_image(image, Config())
    assert molded.dtype == np.float32
    np.testing.assert_array_equal(utils.unmold_image(molded, Config()), image)


@needs_parity
def test_molded_image_equals_matterports():
    golden = np.load(PARITY / "golden_infer.npz")
    config = type("C", (Config,), {"MEAN_PIXEL": np.array([189.44, 136.76, 169.23]), "NUM_CLASSES": 2})()
    resized, window, scale, _, _ = utils.resize_image(golden["image"], 256, 256, 0, "square")
    np.testing.assert_array_equal(utils.mold_image(resized, config), golden["molded"][0].astype(np.float32))
    meta = utils.compose_image_meta(0, golden["image"].shape, resized.shape, window, scale, golden["meta"][0, 12:])
    np.testing.assert_array_equal(meta, golden["meta"][0])
    assert window == tuple(golden["window"][0])


@needs_parity
def test_unmolded_masks_equal_matterports():
    golden = np.load(PARITY / "golden_infer.npz")
    shape = golden["detect_masks_shape"]
    expected = np.unpackbits(golden["detect_masks_packed"])[: np.prod(shape)].reshape(shape).astype(bool)
    for i in range(shape[-1]):
        mask = golden["mrcnn_mask"][0, i, :, :, golden["detect_class_ids"][i]]
        full = utils.unmold_mask(mask, golden["detect_rois"][i], golden["image"].shape)
        np.testing.assert_array_equal(full, expected[..., i])


# --- data set ---


@pytest.fixture
def dataset():
    made = utils.Dataset()
    made.add_class("coco", 12, "bench, seat")
    made.add_class("nuclei", 1, "nucleus")
    made.add_class("nuclei", 1, "nucleus")
    made.add_image("nuclei", "a", "a.png", organ="kidney")
    made.prepare()
    return made


def test_dataset_numbers_classes_and_images(dataset):
    assert dataset.class_names == ["BG", "bench", "nucleus"] and dataset.num_classes == 3
    assert dataset.image_ids.tolist() == [0] and dataset.image_info[0]["organ"] == "kidney"
    assert dataset.map_source_class_id("coco.12") == 1 and dataset.get_source_class_id(1, "coco") == 12
    assert dataset.source_class_ids == {"": [0], "coco": [0, 1], "nuclei": [0, 2]}
    assert dataset.source_image_link(0) == "a.png" and dataset.image_from_source_map == {"nuclei.a": 0}


def test_dataset_refuses_wrong_sources(dataset):
    with pytest.raises(ValueError, match="source 'coco'"):
        dataset.get_source_class_id(1, "nuclei")
    with pytest.raises(ValueError, match="dot"):
        dataset.add_class("a.b", 1, "x")


def test_dataset_names_the_missing_image(dataset):
    with pytest.raises(InputError, match="a.png"):
        dataset.load_image(0)


def test_masks_follow_from_a_label_map(dataset):
    assert dataset.load_mask(0)[0].shape == (0, 0, 0)
    dataset.load_label_map = lambda image_id: np.array([[0, 5], [2, 5]])
    masks, class_ids = dataset.load_mask(0)
    assert masks.shape == (2, 2, 2) and class_ids.tolist() == [1, 1]
    assert masks[..., 0].tolist() == [[False, False], [True, False]]


# --- average precision ---


def _instances(*boxes):
    return np.array(boxes).reshape(-1, 4), np.ones(len(boxes), int), _stack(*boxes)


def test_perfect_predictions_have_ap_one():
    truth = _instances((0, 0, 8, 8), (10, 10, 18, 18))
    boxes, ids, masks = truth
    ap, precisions, recalls, _ = utils.compute_ap(*truth, boxes, ids, np.array([0.9, 0.8]), masks)
    assert ap == 1 and recalls.tolist() == [0, 0.5, 1, 1] and precisions.tolist() == [1, 1, 1, 0]
    assert utils.compute_ap_range(*truth, boxes, ids, np.array([0.9, 0.8]), masks, verbose=0) == 1


def test_a_better_scored_false_positive_costs_half():
    truth = _instances((0, 0, 8, 8))
    boxes, ids, masks = _instances((10, 10, 18, 18), (0, 0, 8, 8))
    assert utils.compute_ap(*truth, boxes, ids, np.array([0.9, 0.8]), masks)[0] == 0.5
    assert utils.compute_ap(*truth, boxes, ids, np.array([0.8, 0.9]), masks)[0] == 1


def test_matches_need_class_and_overlap_and_happen_once():
    gt_boxes, gt_ids, gt_masks = _instances((0, 0, 8, 8), (10, 10, 18, 18))
    boxes, ids, masks = _instances((0, 0, 8, 8), (0, 0, 8, 7), (10, 10, 18, 18), (10, 10, 18, 13))
    ids[2] = 2
    gt_match, pred_match, overlaps = utils.compute_matches(
        gt_boxes, gt_ids, gt_masks, boxes, ids, np.array([0.9, 0.8, 0.7, 0.6]), masks
    )
    assert gt_match.tolist() == [0, -1] and pred_match.tolist() == [0, -1, -1, -1]
    assert overlaps.shape == (4, 2)


def test_padding_rows_are_no_instances():
    assert utils.trim_zeros(np.array([[0, 0, 2, 2], [0, 0, 0, 0]])).tolist() == [[0, 0, 2, 2]]


@pytest.mark.parametrize(
    ("truth", "predicted", "ap"), [((), (), 1), ((), ((0, 0, 3, 3),), 0), (((0, 0, 3, 3),), (), 0)]
)
def test_ap_without_instances(truth, predicted, ap):
    boxes, ids, masks = _instances(*predicted)
    assert utils.compute_ap(*_instances(*truth), boxes, ids, np.ones(len(ids)), masks)[0] == ap


def test_ap_range_prints_each_threshold(capsys):
    boxes, ids, masks = _instances((0, 0, 8, 8))
    near = _instances((0, 0, 8, 6))
    value = utils.compute_ap_range(*near, boxes, ids, np.ones(1), masks, iou_thresholds=[0.5, 0.9])
    assert value == 0.5 and "AP @0.90:\t 0.000" in capsys.readouterr().out


def test_recall_counts_boxes_found():
    gt = np.array([[0, 0, 10, 10], [20, 20, 30, 30]])
    recall, positive = utils.compute_recall(np.array([[0, 0, 10, 9], [50, 50, 60, 60]]), gt, 0.5)
    assert recall == 0.5 and positive.tolist() == [0]
    assert utils.compute_recall(np.zeros((0, 4)), gt, 0.5)[0] == 0
