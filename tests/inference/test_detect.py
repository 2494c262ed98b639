"""Whole-image prediction with a stand-in for the network that finds dark squares and nothing else."""

import numpy as np
import pytest
import scipy.ndimage as ndi

from cyclic.config import DetectionConfig
from cyclic.inference import detect as module
from cyclic.inference.detect import (
    NETWORK_STRIDE,
    detect,
    detect_crops,
    drop_fragments,
    drop_unsure,
    nuclei_are_small,
)
from cyclic.mrcnn.config import Config
from cyclic.mrcnn.utils import norm_boxes
from cyclic.tiling import cover_with_windows


class SquareFinder:
    """A `MaskRCNN` for dark squares on white: exact boxes, full masks, the darker the higher the score."""

    class config(Config):
        NUM_CLASSES = 2
        MEAN_PIXEL = np.zeros(3)

    def __init__(self):
        self.shapes, self.windows, self.masks = [], [], 0

    def predict_boxes(self, molded, metas):
        self.shapes.append(molded.shape)
        detections = np.zeros((len(molded), 60, 6), np.float32)
        for index, image in enumerate(molded):
            y1, x1, y2, x2 = (int(side) for side in metas[index, 7:11])
            self.windows.append((y1, x1, y2, x2))
            found, _ = ndi.label(image[y1:y2, x1:x2, 0] < 128)
            for label, (rows, columns) in enumerate(ndi.find_objects(found)):
                box = np.array([rows.start, columns.start, rows.stop, columns.stop])
                score = 1 - image[rows, columns, 0].mean() / 255
                detections[index, label] = [*norm_boxes(box, image.shape[:2]), 1, score]
        return detections, None

    def predict_masks(self, detections, pyramid):
        self.masks += sum(len(rows) for rows in detections)
        return [np.ones((len(rows), 28, 28), np.float32) for rows in detections]


# Nothing but tiles, network and suppression.
BARE = {"mask_threshold": 0.5, "shape_power": 0.0, "min_area_share": 0.0, "max_area_ratio": None}


def detect_squares(model, image, scale=2, **settings):
    return detect(model, image, DetectionConfig(**(BARE | settings)), scale)


def squares(shape, places, size=12):
    """White image with dark squares, the first darkest, and its label map."""
    image, labels = np.full((*shape, 3), 255, np.uint8), np.zeros(shape, np.int32)
    for label, (y, x) in enumerate(places, 1):
        image[y : y + size, x : x + size] = 5 * label
        labels[y : y + size, x : x + size] = label
    return image, labels


def every_box(boxes):
    return np.ones(len(boxes), bool)


PLACES = [(3, 3), (26, 26), (26, 58), (60, 30), (80, 84), (84, 5)]


@pytest.mark.parametrize("batch", [1, 3, 100])
@pytest.mark.parametrize(("tile", "overlap"), [(32, 16), (64, 16), (48, 20), (100, 20), (200, 20)])
@pytest.mark.parametrize("scale", [1, 1.5, 2])
def test_tiles_find_what_is_there_once(tile, overlap, batch, scale):
    image, expected = squares((100, 100), PLACES)
    labels, scores = detect_squares(SquareFinder(), image, scale=scale, tile=tile, overlap=overlap, batch=batch)
    assert labels.dtype == np.int32 and scores.dtype == np.float32
    assert len(scores) == labels.max() == len(PLACES) and (np.diff(scores) <= 0).all()
    np.testing.assert_array_equal(labels > 0, expected > 0)
    # Ranked by score, the darkest first.
    np.testing.assert_array_equal(labels, expected)


@pytest.mark.parametrize("shape", [(100, 37), (13, 100), (20, 20), (129, 65)])
def test_images_that_no_tile_fits(shape):
    image, expected = squares(shape, [(1, 5)])
    labels, _ = detect_squares(SquareFinder(), image, tile=32, overlap=16, min_area=20)
    assert labels.shape == shape
    np.testing.assert_array_equal(labels, expected)


def test_empty_image():
    labels, scores = detect_squares(SquareFinder(), np.full((70, 70, 3), 255, np.uint8), tile=32, overlap=16)
    assert not labels.any() and scores.shape == (0,)


@pytest.mark.parametrize(("tile", "overlap"), [(256, 64), (128, 32), (100, 20), (64, 16), (48, 8)])
@pytest.mark.parametrize("side", [100, 150])
def test_nuclei_far_larger_than_the_overlap_are_whole_wherever_tiles_meet(tile, overlap, side):
    places = [(0, 170), (130, 10), (190, 180), (210, 345), (360, 95), (365, 450)]
    image, expected = squares((520, 620), places, size=side)
    found = detect_squares(SquareFinder(), image, scale=1, tile=tile, overlap=overlap)
    whole = detect_squares(SquareFinder(), image, scale=1, tile=700, overlap=overlap)
    assert len(whole[1]) == len(places) and (whole[0] == expected).mean() > 0.999  # masks of 28 x 28 round the corners
    np.testing.assert_array_equal(found[0], whole[0])
    np.testing.assert_allclose(found[1], whole[1], rtol=1e-6)


@pytest.mark.parametrize(
    ("column", "masks"),
    [
        (20, 1),  # in the left tile alone
        (50, 2),  # whole in both
        (58, 1),  # cut by the left tile's edge, whole in the right one
        (42, 1),  # the other way round
    ],
)
def test_a_box_that_another_tile_sees_better_costs_no_mask(column, masks):
    image, expected = squares((64, 112), [(20, column)])  # tiles end at column 64 and start at column 48
    model = SquareFinder()
    labels, scores = detect_squares(model, image, scale=1, tile=64, overlap=16)
    assert len(model.shapes) == 2 and model.masks == masks and len(scores) == 1
    np.testing.assert_array_equal(labels, expected)


def test_a_window_at_a_seam_makes_no_mask_of_what_a_tile_sees_better():
    """The window around the large square (columns 148 to 404) cuts the small one, which the left tile sees whole."""
    image, expected = squares((256, 448), [(90, 180)], size=90)
    masks = []
    for small in (False, True):
        image[10:30, 140:160], expected[10:30, 140:160] = (100, 2) if small else (255, 0)
        model = SquareFinder()
        labels, _ = detect_squares(model, image, scale=1, tile=256, overlap=64)
        np.testing.assert_array_equal(ndi.find_objects(labels), ndi.find_objects(expected))
        assert len(model.windows) == 3
        masks.append(model.masks)
    assert masks[1] == masks[0] + 1


def test_a_window_at_a_seam_is_compared_with_all_windows_of_its_pass(monkeypatch):
    asked = []

    def spy(rois, window, windows, shape):
        asked.append((window, windows.tolist()))
        return every_box(rois)

    monkeypatch.setattr(module, "best_seen", spy)
    detect_squares(SquareFinder(), squares((256, 448), [(90, 180)], size=90)[0], scale=1, tile=256, overlap=64)
    assert [len(windows) for _, windows in asked] == [2, 2, 3]
    assert all(list(window) in windows for window, windows in asked)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("seed", range(4))
def test_masks_that_are_not_made_change_nothing(monkeypatch, seed, batch):
    rng = np.random.default_rng(seed)
    image = np.full((300, 330, 3), 255, np.uint8)
    for shade in rng.permutation(100):  # of many sizes; some touch, some are larger than the overlap
        (y, x), side = rng.integers(0, 320, 2), rng.integers(5, 60 if shade < 5 else 25)
        image[y : y + side, x : x + side] = shade
    options = {"scale": 2, "tile": 100, "overlap": 20, "batch": batch}
    some, everyone = SquareFinder(), SquareFinder()
    labels, scores = detect_squares(some, image, **options)
    monkeypatch.setattr(module, "best_seen", lambda rois, **_: every_box(rois))
    expected, expected_scores = detect_squares(everyone, image, **options)
    np.testing.assert_array_equal(labels, expected)
    np.testing.assert_array_equal(scores, expected_scores)
    assert len(scores) > 10 and some.windows == everyone.windows and some.masks < everyone.masks


def test_windows_at_seams_cost_nothing_where_nuclei_fit_into_the_overlap():
    image, _ = squares((300, 300), [(y, x) for y in range(2, 280, 47) for x in range(2, 280, 47)], size=16)
    model = SquareFinder()
    detect_squares(model, image, scale=1, tile=100, overlap=20)
    assert len(model.windows) == len(cover_with_windows(300, 300, 100, 20))


def test_one_large_nucleus_costs_one_window():
    image, expected = squares((256, 448), [(90, 180)], size=90)
    model = SquareFinder()
    labels, _ = detect_squares(model, image, scale=1, tile=256, overlap=64)
    np.testing.assert_array_equal(ndi.find_objects(labels), ndi.find_objects(expected))
    assert len(model.windows) == 3


def test_windows_at_seams_are_detected_in_batches_of_the_tiles_size():
    image, _ = squares((256, 448), [(90, 180)], size=90)
    model = SquareFinder()
    detect_squares(model, image, scale=1, tile=256, overlap=64, batch=8)
    assert set(model.shapes) == {(2, 256, 256, 3)} and len(model.shapes) == 2


def test_a_structure_larger_than_any_window_ends_the_search():
    image = np.full((80, 3000, 3), 255, np.uint8)
    image[20:60] = 5
    labels, scores = detect_squares(SquareFinder(), image, scale=1, tile=128, overlap=32)
    assert labels.shape == (80, 3000) and labels.any() and len(scores) == labels.max()


def test_a_nucleus_that_shrinking_parts_keeps_its_largest_piece():
    """Found enlarged, two halves hang together by one pixel, which is gone at the image's own size."""

    class Dumbbell(SureOfSize):
        def predict_masks(self, detections, pyramid):
            masks = super().predict_masks(detections, pyramid)
            for mask in masks:
                mask[:, 13:15], mask[:, :, 9:11] = 0, 0
                mask[:, 2, 9:11] = 1
            return masks

    image, expected = squares((100, 100), PLACES, size=14)
    labels, scores = detect_squares(Dumbbell(28), image, scale=1, tile=200, overlap=20, usual_area=400, min_area=1)
    assert len(scores) == labels.max() == len(PLACES)
    for label in range(1, len(scores) + 1):
        assert ndi.label(labels == label)[1] == 1


def test_small_nuclei_are_dropped():
    image, expected = squares((64, 64), [(5, 5)], size=6)
    assert not detect_squares(SquareFinder(), image, tile=64, overlap=16, min_area=37)[0].any()
    found = detect_squares(SquareFinder(), image, tile=64, overlap=16, min_area=36)[0]
    np.testing.assert_array_equal(found, expected)


def test_fragments_are_measured_against_the_better_detections():
    labels = np.zeros((40, 40), np.int32)
    labels[:10, :10], labels[:10, 20:30], labels[20:24, :10], labels[30:33, :10] = 1, 2, 3, 4  # 100, 100, 40 and 30 px
    scores = np.array([0.9, 0.8, 0.7, 0.6], np.float32)
    some, kept = drop_fragments(labels, scores, 0.35)
    np.testing.assert_array_equal(some, np.where(labels == 4, 0, labels))
    np.testing.assert_array_equal(kept, scores[:3])
    # Of 40, 100, 100 and 30 pixels the better two are 40 and 100, so 70 is what is usual.
    other = np.array([0, 2, 3, 1, 4], np.int32)[labels]
    some, kept = drop_fragments(other, scores, 0.5)
    np.testing.assert_array_equal(some, np.where(other == 4, 0, other))
    some, kept = drop_fragments(other, scores, 0.6)
    np.testing.assert_array_equal(some, np.where(other > 1, other - 1, 0) * (other < 4))
    np.testing.assert_array_equal(kept, scores[1:3])


def test_a_detection_far_larger_than_usual_goes():
    image, expected = squares((100, 100), PLACES)
    image[40:76, 60:96] = 120  # a pale square of 36 x 36 px, nine times as large as the others and last in rank
    options = {"scale": 1, "tile": 200, "overlap": 20}
    for ratio, count in ((None, 7), (10.0, 7), (8.0, 6)):
        labels, scores = detect_squares(SquareFinder(), image, **options, max_area_ratio=ratio)
        assert len(scores) == labels.max() == count, ratio
        np.testing.assert_array_equal(labels[expected > 0], expected[expected > 0])
    alone = np.full((60, 60, 3), 255, np.uint8)
    alone[10:50, 10:50] = 5
    assert len(detect_squares(SquareFinder(), alone, **options, max_area_ratio=2.0)[1]) == 1, "nothing to compare with"


class SureOfSize(SquareFinder):
    """The nearer the squares are to a size, the higher the score: as a network is that was trained on that size."""

    def __init__(self, side):
        super().__init__()
        self.side = side

    def predict_boxes(self, molded, metas):
        detections, pyramid = super().predict_boxes(molded, metas)
        sides = (detections[..., 2] - detections[..., 0]) * molded.shape[1]
        detections[..., 5] = np.where(detections[..., 4] > 0, 1 - np.abs(sides - self.side) / 100, 0)
        return detections, pyramid


@pytest.mark.parametrize(
    "side, usual_area, score, tried",
    [
        (24, 400, 0.99, 2),  # squares of 12: best at 2
        (18, 400, 0.95, 2),  # best at 1.5, but at 2 surer than as they are
        (15, 400, 0.98, 3),  # at 2 less sure, at 1.5 surer
        (12, 400, 0.99, 3),  # best as they are
        (24, 200, 0.87, 1),  # not far smaller than usual
        (24, None, 0.87, 1),
    ],
)
def test_an_image_of_small_nuclei_is_enlarged_as_far_as_the_model_stays_sure(side, usual_area, score, tried):
    image, expected = squares((100, 120), [(y, x) for y in (4, 28, 52, 76) for x in (4, 28, 52, 76, 100)])
    image[expected > 0] = 5
    finder = SureOfSize(side)
    labels, scores = detect_squares(finder, image, scale=1, tile=400, overlap=20, usual_area=usual_area)
    np.testing.assert_allclose(scores, score, atol=0.002)
    assert len(finder.shapes) == tried
    if side == 12 or tried == 1:
        plain, _ = detect_squares(SureOfSize(side), image, scale=1, tile=400, overlap=20)
        np.testing.assert_array_equal(labels, plain)
    assert labels.shape == expected.shape and labels.dtype == np.int32 and labels.max() == 20
    assert (labels > 0).sum() == pytest.approx((expected > 0).sum(), rel=0.2)
    assert ((labels > 0) & (expected > 0)).sum() > 0.9 * (expected > 0).sum()


def specks(sides, scores):
    """Labels of squares of these sides, in rows, and their scores."""
    labels = np.zeros((400, 400), np.int32)
    for label, side in enumerate(sides, 1):
        y, x = divmod(label - 1, 10)
        labels[40 * y : 40 * y + side, 40 * x : 40 * x + side] = label
    return labels, np.asarray(scores, np.float32)


@pytest.mark.parametrize(
    ("sides", "scores", "small"),
    [
        ([8, 10, 12] * 20, [0.9] * 60, True),  # sixty small nuclei
        ([8, 10, 12] * 20, [0.9] * 20 + [0.4] * 40, True),  # twenty are sure, that is enough
        ([8, 10, 12] * 20, [0.9] * 19 + [0.4] * 41, False),
        ([4, 5, 6], [0.99] * 3, False),  # three specks in bare tissue
        ([4, 5, 6] * 33, [0.45] * 99, False),  # many, none of them sure
        ([3, 6, 12, 24] * 15, [0.9] * 60, False),  # noise of all sizes, half of it small
        ([20, 22, 24] * 20, [0.9] * 60, False),  # sixty nuclei as large as usual
        ([4] * 29 + [22] * 31, [0.9] * 60, False),  # nuclei as large as usual, and many specks
        ([], [], False),
    ],
)
def test_only_many_sure_detections_of_like_size_say_that_nuclei_are_small(sides, scores, small):
    labels, scores = specks(sides, np.sort(scores)[::-1])
    assert nuclei_are_small(labels, scores, 460.0) is small
    assert nuclei_are_small(labels, scores, None) is False


def test_three_false_specks_in_bare_tissue_enlarge_nothing_and_sixty_small_nuclei_do():
    for count, tried in ((3, 1), (60, 2)):
        places = [divmod(index, 10) for index in range(count)]
        image = np.full((200, 240, 3), 255, np.uint8)
        for y, x in places:
            image[24 * y + 4 : 24 * y + 16, 24 * x + 4 : 24 * x + 16] = 5
        finder = SureOfSize(24)
        _, scores = detect_squares(finder, image, scale=1, tile=800, overlap=20, usual_area=460)
        assert (len(scores), len(finder.shapes)) == (count, tried)


def test_without_a_detection_no_image_is_enlarged():
    finder = SquareFinder()
    labels, scores = detect_squares(
        finder, np.full((64, 64, 3), 255, np.uint8), scale=1, tile=64, overlap=20, usual_area=400
    )
    assert len(finder.shapes) == 1 and not labels.any() and len(scores) == 0


@pytest.mark.parametrize("count, share", [(0, 0.5), (1, 1.0), (3, 0.0)])
def test_nothing_to_measure_against_keeps_all(count, share):
    labels = np.zeros((9, 9), np.int32)
    labels[0, :count] = np.arange(1, count + 1)
    some, kept = drop_fragments(labels, np.ones(count, np.float32), share)
    assert (some == labels).all() and len(kept) == count


def test_a_detection_without_a_pixel_left_goes_with_its_score():
    labels = np.repeat(np.array([[0, 1, 1, 3, 3, 3]], np.int32), 4, axis=0)
    some, kept = drop_fragments(labels, np.array([0.9, 0.8, 0.7], np.float32), 0.0)
    np.testing.assert_array_equal(some, np.minimum(labels, 2))
    np.testing.assert_array_equal(kept, np.array([0.9, 0.7], np.float32))


def test_unsure_detections_go_with_their_scores():
    labels, scores = np.array([[0, 1, 2, 3]], np.int32), np.array([0.9, 0.5, 0.4], np.float32)
    some, kept = drop_unsure(labels, scores, 0.5)
    assert some.tolist() == [[0, 1, 2, 0]] and kept.tolist() == [np.float32(0.9), 0.5]
    assert len(drop_unsure(labels, scores, 1.0)[1]) == 0


def test_network_sees_scaled_tiles_padded_to_its_stride():
    model = SquareFinder()
    detect_crops(model, [np.full((30, 50, 3), 255, np.uint8)] * 2, 2, [every_box] * 2, 0.5)
    assert model.shapes == [(2, NETWORK_STRIDE, 2 * NETWORK_STRIDE, 3)]
    assert model.windows == [(0, 0, 60, 100)] * 2


def test_batches_hold_as_many_tiles_as_asked():
    model = SquareFinder()
    detect_squares(model, np.full((64, 96, 3), 255, np.uint8), tile=32, overlap=0, scale=2, batch=4)
    assert [shape[0] for shape in model.shapes] == [4, 4]  # the last one is filled up
