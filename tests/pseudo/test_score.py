"""How much a component looks like one whole nucleus."""

import numpy as np
import pytest
from scipy import ndimage

from cyclic.pseudo.score import score_components, typical_area


def scene(*parts, shape=(100, 100), inside=0.8, outside=0.1):
    """Return (label map, map) with one bool mask of `shape` for each component."""
    labels = np.zeros(shape, np.int32)
    for label, part in enumerate(parts, 1):
        labels[part] = label
    return labels, np.where(labels > 0, inside, outside).astype(np.float32)


def disk(cy, cx, radius, shape=(100, 100)):
    y, x = np.mgrid[: shape[0], : shape[1]]
    return (y - cy) ** 2 + (x - cx) ** 2 <= radius**2


def cross(cy, cx, size=12):
    part = np.zeros((100, 100), bool)
    part[cy - 2 : cy + 3, cx - size : cx + size] = True
    part[cy - size : cy + size, cx - 2 : cx + 3] = True
    return part


def test_perfect_disk_scores_near_one_on_every_factor():
    scores = score_components(*scene(disk(50, 50, 12), disk(20, 20, 12)))
    assert len(scores) == 2 and scores.ids.tolist() == [1, 2]
    assert scores.area[0] == disk(50, 50, 12).sum()
    assert scores.solidity.min() > 0.95 and scores.ellipse_fit.min() > 0.98
    assert scores.contrast == pytest.approx([0.875] * 2, abs=1e-3)
    assert scores.isolation.tolist() == [1, 1] and scores.size_prior.tolist() == [1, 1]
    assert scores.response == pytest.approx([0.8] * 2)
    assert scores.confidence.min() > 0.8 and scores.confidence.max() <= 1


def test_branched_shape_scores_lower():
    scores = score_components(*scene(disk(30, 30, 9), cross(70, 70)))
    assert scores.solidity[1] < 0.7 and scores.ellipse_fit[1] < 0.7
    assert scores.confidence[1] < 0.6 * scores.confidence[0]


def test_pale_component_has_less_contrast():
    labels, image_map = scene(disk(30, 30, 9), disk(70, 70, 9))
    image_map[labels == 2] = 0.2
    scores = score_components(labels, image_map)
    assert scores.contrast[1] < scores.contrast[0] and scores.confidence[1] < scores.confidence[0]


def test_contrast_is_the_fall_at_the_outline_not_further_away():
    labels, image_map = scene(disk(30, 30, 9), disk(70, 70, 9))
    y, x = np.mgrid[:100, :100]
    soft = np.hypot(y - 70, x - 70)
    image_map[labels == 2] = 0.8
    image_map[(labels == 0) & (soft < 14)] = 0.7  # as high outside, and low only where the ring ends
    scores = score_components(labels, image_map)
    assert scores.contrast[0] == pytest.approx(0.875, abs=1e-3) and scores.contrast[1] == pytest.approx(0.125, abs=1e-3)


def test_a_rim_is_compared_with_what_lies_near_it():
    """A neighbour on one side leaves the fall of the other side; the mean of the rim is in between."""
    labels, image_map = scene(disk(50, 50, 12))
    image_map[:, 63:] = 0.8
    contrast = score_components(labels, image_map).contrast[0]
    assert 0.5 < contrast < 0.875


def test_neighbour_and_bright_surroundings_cost_isolation():
    labels, image_map = scene(disk(30, 30, 9), disk(30, 49, 9), disk(75, 75, 9))
    scores = score_components(labels, image_map)
    assert scores.isolation[0] < scores.isolation[2] == 1
    image_map[60:90, 60:75][labels[60:90, 60:75] == 0] = 0.7
    assert 0.2 < score_components(labels, image_map).isolation[2] < 0.8


def test_odd_size_has_a_low_prior():
    same = [disk(20, x, 8) for x in (20, 45, 70)]
    scores = score_components(*scene(*same, disk(65, 50, 25)), expected_area=200.0)
    assert scores.size_prior[:3].min() > 0.99 and scores.size_prior[3] < 0.2


def test_nucleus_cut_by_the_image_border_scores_lower():
    scores = score_components(*scene(disk(0, 50, 12), disk(60, 50, 9)), expected_area=250.0)
    assert scores.on_border.tolist() == [True, False]
    assert scores.confidence[0] < 0.8 * scores.confidence[1]


def test_no_component():
    scores = score_components(np.zeros((30, 30), np.int32), np.zeros((30, 30), np.float32))
    assert len(scores) == 0 and scores.confidence.shape == (0,) and scores.confidence.dtype == np.float32


def test_component_that_fills_the_image():
    scores = score_components(np.ones((20, 20), np.int32), np.full((20, 20), 0.5, np.float32))
    assert scores.on_border[0] and scores.isolation[0] == 0 and scores.confidence[0] == 0


def test_gaps_in_the_ids_and_single_pixels_are_fine():
    labels = np.zeros((30, 30), np.int32)
    labels[5, 5], labels[15:20, 15:20] = 2, 7
    scores = score_components(labels, (labels > 0).astype(np.float32))
    assert scores.ids.tolist() == [2, 7] and scores.area.tolist() == [1, 25]
    assert np.isfinite(scores.confidence).all()
    assert scores.take(np.array([1])).ids.tolist() == [7]


def test_map_of_another_shape_is_refused():
    with pytest.raises(ValueError, match="shape"):
        score_components(np.zeros((5, 5), np.int32), np.zeros((6, 5)))


def test_typical_area_follows_the_nuclei_not_the_fragments():
    assert typical_area(np.array([10] * 20 + [300] * 10)) == 300
    assert typical_area(np.array([])) == 1


def test_random_components_stay_in_range():
    rng = np.random.default_rng(0)
    labels = ndimage.label(ndimage.gaussian_filter(rng.standard_normal((128, 128)), 2) > 0.1)[0]
    scores = score_components(labels, rng.random((128, 128)).astype(np.float32))
    assert len(scores) == labels.max() > 10
    for values in (scores.solidity, scores.ellipse_fit, scores.contrast, scores.isolation, scores.confidence):
        assert values.min() >= 0 and values.max() <= 1 and values.std() > 0
