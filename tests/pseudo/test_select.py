import pathlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cyclic.config import load_config
from cyclic.errors import InputError
from cyclic.files import read_image, write_json
from cyclic.pseudo.score import score_components
from cyclic.pseudo.select import (
    components_over_levels,
    confidence_cut,
    load_pseudo_masks,
    save_pseudo_masks,
    select_pseudo_masks,
)
from cyclic.stain import hematoxylin_map

SHARED = pathlib.Path(__file__).resolve().parents[2].parent / "shared"


@pytest.fixture
def grid():
    """Sixteen squares with rising contrast from the first to the last; (labels, map, scores)."""
    labels = np.zeros((200, 200), np.int32)
    image_map = np.full((200, 200), 0.05, np.float32)
    for index in range(16):
        y, x = 10 + 48 * (index // 4), 10 + 48 * (index % 4)
        labels[y : y + 16, x : x + 16] = index + 1
        image_map[y : y + 16, x : x + 16] = 0.2 + 0.05 * index
    return labels, image_map, score_components(labels, image_map)


def test_best_come_first_and_are_renumbered(grid):
    labels, _, scores = grid
    pseudo = select_pseudo_masks(labels, scores, share=0.25)
    assert pseudo.labels.dtype == np.int32 and pseudo.confidence.dtype == np.float32
    assert pseudo.labels.max() == len(pseudo.confidence) == 4
    assert (np.diff(pseudo.confidence) <= 0).all()
    assert [labels[pseudo.labels == rank][0] for rank in (1, 2, 3, 4)] == [16, 15, 14, 13]


@pytest.mark.parametrize("count, kept", [(100, 4), (1, 1), (0, 0), (20, 1), (10_000, 16)])
def test_count_is_for_a_million_pixels(grid, count, kept):
    labels, _, scores = grid
    assert len(select_pseudo_masks(labels, scores, count=count).confidence) == kept


def test_limits_hold_together(grid):
    labels, _, scores = grid
    limit = float(np.sort(scores.confidence)[-3])
    assert len(select_pseudo_masks(labels, scores, min_confidence=limit).confidence) == 3
    assert len(select_pseudo_masks(labels, scores, count=50, share=0.5, min_confidence=limit).confidence) == 2


def test_rank_by_another_score(grid):
    labels, _, scores = grid
    scores.solidity[4] = 2.0
    pseudo = select_pseudo_masks(labels, scores, count=1, rank_by="solidity")
    assert (pseudo.labels > 0)[labels == 5].all()


def test_ignore_covers_unkept_components_and_their_rings_but_no_pseudo_mask(grid):
    labels, _, scores = grid
    pseudo = select_pseudo_masks(labels, scores, share=0.25, ring=2)
    kept = pseudo.labels > 0
    assert pseudo.ignore.dtype == bool and not (pseudo.ignore & kept).any()
    assert pseudo.ignore[(labels > 0) & ~kept].all()
    y, x = np.argwhere((labels > 0) & ~kept)[0]
    assert pseudo.ignore[y - 2, x] and not pseudo.ignore[y - 4, x]
    y, x = np.argwhere(pseudo.labels == 1)[0]
    assert not pseudo.ignore[y - 1, x]


def test_border_of_a_pseudo_mask_is_background_though_the_map_is_high_there(grid):
    labels, image_map, scores = grid
    y, x = np.argwhere(labels == 16)[0]
    image_map[y - 6 : y, x : x + 16] = 0.9
    pseudo = select_pseudo_masks(labels, scores, share=0.25, image_map=image_map, ring=2)
    assert not pseudo.ignore[y - 2 : y, x : x + 16].any()
    assert pseudo.ignore[y - 6 : y - 3, x : x + 16].all()


def test_wider_ring_ignores_more(grid):
    labels, _, scores = grid
    pseudo = select_pseudo_masks(labels, scores, share=0.25, ring=2)
    wide = select_pseudo_masks(labels, scores, share=0.25, ring=5)
    assert wide.ignore.sum() > pseudo.ignore.sum()


def test_bright_background_outside_the_components_is_ignored(grid):
    labels, image_map, scores = grid
    image_map[40:50, 40:50] = 0.6
    plain = select_pseudo_masks(labels, scores, share=0.5)
    with_map = select_pseudo_masks(labels, scores, share=0.5, image_map=image_map)
    assert not plain.ignore[45, 45] and with_map.ignore[45, 45]
    assert not with_map.ignore[198, 198]
    strict = select_pseudo_masks(labels, scores, share=0.5, image_map=image_map, background_level=0.01, ring=0)
    assert (strict.ignore | (strict.labels > 0)).all()


def test_ignore_boxes(grid):
    labels = grid[0].copy()
    labels[10:26, 10:26] = np.tril(labels[10:26, 10:26])
    scores = score_components(labels, grid[1])
    assert not select_pseudo_masks(labels, scores, share=0.25).ignore[11, 23]
    assert select_pseudo_masks(labels, scores, share=0.25, ignore_boxes=True).ignore[11, 23]


def test_hull_fills_a_notch_but_takes_no_other_component():
    labels = np.zeros((60, 60), np.int32)
    labels[10:40, 10:40] = 1
    labels[10:25, 20:30] = 0
    labels[10:15, 23:27] = 2
    scores = score_components(labels, (labels > 0).astype(np.float32))
    plain, hull = (select_pseudo_masks(labels, scores, share=1.0, hull=value) for value in (False, True))
    first = hull.labels[30, 30]
    assert plain.labels[20, 25] == 0 and hull.labels[20, 25] == first
    assert (hull.labels[10:15, 23:27] == hull.labels[12, 25]).all() and hull.labels[12, 25] not in (0, first)
    assert not (hull.ignore & (hull.labels > 0)).any()


def test_all_kept(grid):
    labels, _, scores = grid
    pseudo = select_pseudo_masks(labels, scores)
    assert np.array_equal(pseudo.labels > 0, labels > 0)


def test_no_component_at_all():
    labels = np.zeros((40, 40), np.int32)
    image_map = np.zeros((40, 40), np.float32)
    scores = score_components(labels, image_map)
    pseudo = select_pseudo_masks(labels, scores, count=20, image_map=image_map)
    assert not pseudo.labels.any() and pseudo.confidence.shape == (0,) and not pseudo.ignore.any()
    image_map[10:20, 10:20] = 0.9
    assert np.array_equal(select_pseudo_masks(labels, scores, image_map=image_map).ignore, image_map > 0.5)


@pytest.mark.parametrize("limits", [{"count": -1}, {"share": 1.2}, {"min_confidence": -0.1}])
def test_bad_limit_names_its_key(grid, limits):
    with pytest.raises(InputError, match=next(iter(limits))):
        select_pseudo_masks(grid[0], grid[2], **limits)


def two_levels() -> np.ndarray:
    """A pale nucleus that a high threshold loses, a dark pair that a low threshold merges, and three plain nuclei."""
    y, x = np.mgrid[:140, :140]
    image_map = np.full((140, 140), 0.05, np.float32)
    image_map[(y - 30) ** 2 + (x - 25) ** 2 <= 144] = 0.45
    image_map[55:90, 40:100] = 0.48
    for cy, cx in ((72, 55), (72, 85), (30, 60), (30, 100), (115, 30)):
        image_map[(y - cy) ** 2 + (x - cx) ** 2 <= 144] = 1.0
    return image_map


def test_levels_find_what_no_single_threshold_finds():
    labels, scores = components_over_levels(two_levels(), "range", 0.5, factors=(0.7, 1.3))
    assert labels[30, 25] > 0
    assert labels[72, 55] != labels[72, 85] and labels[72, 55] > 0 and labels[72, 85] > 0
    assert labels.max() == len(scores)
    low, _ = components_over_levels(two_levels(), "range", 0.5, factors=(0.7,))
    high, _ = components_over_levels(two_levels(), "range", 0.5, factors=(1.3,))
    assert low[72, 55] == low[72, 85] and high[30, 25] == 0


def test_levels_of_an_empty_map():
    labels, scores = components_over_levels(np.zeros((30, 30), np.float32))
    assert not labels.any() and len(scores) == 0


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), share=st.floats(0, 1), hull=st.booleans())
def test_pseudo_masks_lie_in_components_and_never_in_the_ignore_region(seed, share, hull):
    labels = np.random.default_rng(seed).integers(0, 4, (8, 8)).repeat(6, 0).repeat(6, 1).astype(np.int32)
    scores = score_components(labels, np.random.default_rng(seed).random(labels.shape).astype(np.float32))
    pseudo = select_pseudo_masks(labels, scores, share=share, hull=hull)
    assert len(pseudo.confidence) == pseudo.labels.max() == round(share * len(scores))
    assert not (pseudo.ignore & (pseudo.labels > 0)).any()
    for rank in range(1, pseudo.labels.max() + 1):
        assert len(set(labels[pseudo.labels == rank]) - {0}) == 1


def test_save_and_load(grid, tmp_path):
    labels, image_map, scores = grid
    pseudo = select_pseudo_masks(labels, scores, share=0.4, image_map=image_map)
    save_pseudo_masks(tmp_path, "a.b", pseudo)
    assert {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.*")} == {
        "labels/a.b.tif", "ignore/a.b.png", "scores/a.b.json",
    }  # fmt: skip
    loaded = load_pseudo_masks(tmp_path, "a.b")
    assert np.array_equal(loaded.labels, pseudo.labels) and np.array_equal(loaded.ignore, pseudo.ignore)
    assert np.array_equal(loaded.confidence, pseudo.confidence) and loaded.confidence.dtype == np.float32


def test_load_missing_or_mixed_files(grid, tmp_path):
    with pytest.raises(InputError, match="x.tif"):
        load_pseudo_masks(tmp_path, "x")
    save_pseudo_masks(tmp_path, "x", select_pseudo_masks(grid[0], grid[2]))
    write_json(tmp_path / "scores" / "x.json", {"confidence": [0.5]})
    with pytest.raises(InputError, match="x.json"):
        load_pseudo_masks(tmp_path, "x")


@pytest.mark.skipif(not SHARED.is_dir(), reason="shared data not present")
def test_real_tissue_gives_plausible_pseudo_masks():
    path = SHARED / "data" / "monuseg" / "images" / "TCGA-G9-6356-01Z-00-DX1.png"
    prior = hematoxylin_map(read_image(path)[:400, :400])
    labels, scores = components_over_levels(prior)
    pseudo = select_pseudo_masks(labels, scores, share=0.45, image_map=prior)
    assert 15 < pseudo.labels.max() < 80
    assert 100 < np.median(np.bincount(pseudo.labels.ravel())[1:]) < 800
    background = ~pseudo.ignore & (pseudo.labels == 0)
    assert 0.3 < background.mean() < 0.95


def test_one_cut_for_all_images():
    good, poor = np.array([0.9, 0.8, 0.7, 0.6], np.float32), np.array([0.5, 0.4, 0.3, 0.65], np.float32)
    cut = confidence_cut([good, poor], 0.5)
    assert ((good >= cut).sum(), (poor >= cut).sum()) == (3, 1)
    assert confidence_cut([good, poor], 1.0) == np.float32(0.3)
    assert confidence_cut([good, poor], 0.0) == confidence_cut([], 0.5) == 1.0


def test_a_pooled_share_needs_a_rank_that_compares_images():
    with pytest.raises(InputError, match=r"pseudo\.rank_by confidence"):
        load_config(None, ("pseudo.pool=true", "pseudo.rank_by=solidity"))
