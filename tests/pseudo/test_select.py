"""Candidates over several thresholds, and which of them become pseudo masks."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cyclic.config import load_config
from cyclic.errors import InputError
from cyclic.files import write_json
from cyclic.images import read_image
from cyclic.pseudo import candidates as candidates_module
from cyclic.pseudo.candidates import JOINED_WORTH, Candidates, components_over_levels, find_candidates, join_maps
from cyclic.pseudo.masks import RING, load_pseudo_masks, save_pseudo_masks
from cyclic.pseudo.recipe import RECIPES, Recipe
from cyclic.pseudo.score import score_components
from cyclic.pseudo.select import pooled_cut, run_cut, select_pseudo_masks


def select(candidates, cut=None, recipe="stain", **limits):
    """Select with these limits alone."""
    limits = {"share": None, "count": None} | limits
    overrides = [f"pseudo.{key}={'null' if value is None else value}" for key, value in limits.items()]
    return select_pseudo_masks(candidates, load_config((), (*overrides, f"pseudo.recipe={recipe}")), cut)


@pytest.fixture
def grid():
    """Sixteen squares with rising contrast from the first to the last, on a map that is low elsewhere."""
    labels = np.zeros((200, 200), np.int32)
    source = np.full((200, 200), 0.05, np.float32)
    for index in range(16):
        y, x = 10 + 48 * (index // 4), 10 + 48 * (index % 4)
        labels[y : y + 16, x : x + 16] = index + 1
        source[y : y + 16, x : x + 16] = 0.2 + 0.05 * index
    return Candidates(source, labels, score_components(labels, source))


def test_best_come_first_and_are_renumbered(grid):
    pseudo = select(grid, share=0.25)
    assert pseudo.labels.dtype == np.int32 and pseudo.confidence.dtype == np.float32
    assert pseudo.labels.max() == len(pseudo.confidence) == 4
    assert (np.diff(pseudo.confidence) <= 0).all()
    assert [grid.labels[pseudo.labels == rank][0] for rank in (1, 2, 3, 4)] == [16, 15, 14, 13]


@pytest.mark.parametrize("count, kept", [(100, 4), (1, 1), (20, 1), (10_000, 16)])
def test_count_is_for_a_million_pixels(grid, count, kept):
    assert len(select(grid, count=count).confidence) == kept


def test_limits_hold_together(grid):
    cut = float(np.sort(grid.scores.confidence)[-3])
    assert len(select(grid, cut).confidence) == 3
    assert len(select(grid, cut, count=50).confidence) == 2


def test_a_cut_of_all_images_stands_for_the_share_of_one(grid):
    cut = float(np.sort(grid.scores.confidence)[-5])
    assert len(select(grid, cut, share=0.125).confidence) == 5
    assert len(select(grid, share=0.125).confidence) == 2


def test_the_paper_ranks_by_solidity(grid):
    grid.scores.solidity[4] = 2.0
    assert (select(grid, count=1, recipe="paper").labels > 0)[grid.labels == 5].all()
    assert (select(grid, count=1).labels > 0)[grid.labels == 16].all()


def test_ignore_covers_unkept_components_and_their_rings_but_no_pseudo_mask(grid):
    pseudo = select(grid, share=0.25)
    kept = pseudo.labels > 0
    assert pseudo.ignore.dtype == bool and not (pseudo.ignore & kept).any()
    assert pseudo.ignore[(grid.labels > 0) & ~kept].all()
    y, x = np.argwhere((grid.labels > 0) & ~kept)[0]
    assert pseudo.ignore[y - RING, x] and not pseudo.ignore[y - RING - 2, x]
    y, x = np.argwhere(pseudo.labels == 1)[0]
    assert not pseudo.ignore[y - 1, x]


def test_border_of_a_pseudo_mask_is_background_though_the_map_is_high_there(grid):
    y, x = np.argwhere(grid.labels == 16)[0]
    grid.source[y - 6 : y, x : x + 16] = 0.9
    pseudo = select(grid, share=0.25)
    assert not pseudo.ignore[y - RING : y, x : x + 16].any()
    assert pseudo.ignore[y - 6 : y - RING - 1, x : x + 16].all()


def test_a_high_map_outside_the_components_is_ignored(grid):
    plain = select(grid, share=0.5)
    grid.source[40:50, 40:50] = 0.6
    high = select(grid, share=0.5)
    assert not plain.ignore[45, 45] and high.ignore[45, 45]
    assert not high.ignore[198, 198]


def test_hull_fills_a_notch_but_takes_no_other_component():
    labels = np.zeros((60, 60), np.int32)
    labels[10:40, 10:40] = 1
    labels[10:25, 20:30] = 0
    labels[10:15, 23:27] = 2
    source = (labels > 0).astype(np.float32)
    candidates = Candidates(source, labels, score_components(labels, source))
    plain, hull = (select(candidates, recipe=recipe) for recipe in ("stain", "paper"))
    first = hull.labels[30, 30]
    assert plain.labels[20, 25] == 0 and hull.labels[20, 25] == first
    assert (hull.labels[10:15, 23:27] == hull.labels[12, 25]).all() and hull.labels[12, 25] not in (0, first)
    assert not (hull.ignore & (hull.labels > 0)).any()


def test_all_kept(grid):
    assert np.array_equal(select(grid).labels > 0, grid.labels > 0)


def test_no_component_at_all():
    labels, source = np.zeros((40, 40), np.int32), np.zeros((40, 40), np.float32)
    candidates = Candidates(source, labels, score_components(labels, source))
    pseudo = select(candidates, count=20)
    assert not pseudo.labels.any() and pseudo.confidence.shape == (0,) and not pseudo.ignore.any()
    source[10:20, 10:20] = 0.9
    assert np.array_equal(select(candidates).ignore, source > 0.5)


@pytest.mark.parametrize("limit", ["count=-1", "share=1.2", "share=-0.1"])
def test_bad_limit_names_its_key(limit):
    with pytest.raises(InputError, match=f"pseudo.{limit.partition('=')[0]}"):
        load_config((), (f"pseudo.{limit}",))


def two_levels() -> np.ndarray:
    """A pale nucleus that a high threshold loses, a dark pair that a low threshold merges, and three plain nuclei."""
    y, x = np.mgrid[:140, :140]
    source = np.full((140, 140), 0.05, np.float32)
    source[(y - 30) ** 2 + (x - 25) ** 2 <= 144] = 0.45
    source[55:90, 40:100] = 0.48
    for cy, cx in ((72, 55), (72, 85), (30, 60), (30, 100), (115, 30)):
        source[(y - cy) ** 2 + (x - cx) ** 2 <= 144] = 1.0
    return source


HALF = Recipe("hematoxylin", 0.5, split=True, max_hole=200, rank_by="confidence", hull=False, pooled=False)


def test_levels_find_what_no_single_threshold_finds():
    labels, scores = components_over_levels([two_levels()], HALF, (0.7, 1.3), 40)
    assert labels[30, 25] > 0
    assert labels[72, 55] != labels[72, 85] and labels[72, 55] > 0 and labels[72, 85] > 0
    assert labels.max() == len(scores)
    low, _ = components_over_levels([two_levels()], HALF, (0.7,), 40)
    high, _ = components_over_levels([two_levels()], HALF, (1.3,), 40)
    assert low[72, 55] == low[72, 85] and high[30, 25] == 0


def test_the_stains_outline_is_taken_where_the_joined_maps_is_hardly_better(monkeypatch):
    y, x = np.mgrid[:100, :140]

    def discs(radius, inside, *centres):
        source = np.full(y.shape, 0.1, np.float32)
        for cx in centres:
            source[(y - 50) ** 2 + (x - cx) ** 2 <= radius**2] = inside
        return source

    maps = [discs(12, 0.7, 40), discs(15, 0.9, 40, 100)]
    own, joined = (components_over_levels([each], HALF, (1.0,), 40)[1].confidence for each in maps)
    assert JOINED_WORTH * joined[0] < own[0] < joined[0]
    stain_area, joined_area = ((each > 0.5).sum() for each in (maps[0], maps[1][:, :70]))

    def areas_found():
        labels, _ = components_over_levels(maps, HALF, (1.0,), 40)
        return [(labels == labels[50, cx]).sum() for cx in (40, 100) if labels[50, cx]]

    assert areas_found() == pytest.approx([stain_area, joined_area], rel=0.2)
    monkeypatch.setattr(candidates_module, "JOINED_WORTH", 1.0)
    assert areas_found() == pytest.approx([joined_area, joined_area], rel=0.2)


def test_levels_of_an_empty_map():
    labels, scores = components_over_levels([np.zeros((30, 30), np.float32)], RECIPES["stain"], (0.8, 1.0), 40)
    assert not labels.any() and len(scores) == 0


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), share=st.floats(0, 1), recipe=st.sampled_from(sorted(RECIPES)))
def test_pseudo_masks_lie_in_components_and_never_in_the_ignore_region(seed, share, recipe):
    labels = np.random.default_rng(seed).integers(0, 4, (8, 8)).repeat(6, 0).repeat(6, 1).astype(np.int32)
    source = np.random.default_rng(seed).random(labels.shape).astype(np.float32)
    scores = score_components(labels, source)
    pseudo = select(Candidates(source, labels, scores), recipe=recipe, share=share)
    assert len(pseudo.confidence) == pseudo.labels.max() == round(share * len(scores))
    assert not (pseudo.ignore & (pseudo.labels > 0)).any()
    for rank in range(1, pseudo.labels.max() + 1):
        assert len(set(labels[pseudo.labels == rank]) - {0}) == 1


def test_save_and_load(grid, tmp_path):
    pseudo = select(grid, share=0.4)
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
    save_pseudo_masks(tmp_path, "x", select(grid))
    write_json(tmp_path / "scores" / "x.json", {"confidence": [0.5]})
    with pytest.raises(InputError, match="x.json"):
        load_pseudo_masks(tmp_path, "x")


def test_real_tissue_gives_plausible_pseudo_masks(shared):
    path = shared / "data" / "monuseg" / "images" / "TCGA-G9-6356-01Z-00-DX1.png"
    config = load_config((), ("pseudo.recipe=stain",))
    pseudo = select(find_candidates(read_image(path)[:400, :400], None, config), share=0.45)
    assert 15 < pseudo.labels.max() < 80
    assert 100 < np.median(np.bincount(pseudo.labels.ravel())[1:]) < 800
    background = ~pseudo.ignore & (pseudo.labels == 0)
    assert 0.3 < background.mean() < 0.95


@pytest.mark.parametrize("recipe", ["map", "paper"])
def test_recipes_that_need_a_map(recipe):
    with pytest.raises(ValueError, match="activation map"):
        find_candidates(np.zeros((8, 8, 3), np.uint8), None, load_config((), (f"pseudo.recipe={recipe}",)))


def test_joined_map_counts_evidence_and_stain_alike():
    rng = np.random.default_rng(0)
    evidence, stain = rng.normal(0, 2, (40, 40)), rng.random((40, 40)).astype(np.float32)
    activation = 1 / (1 + np.exp(-evidence))
    joined = join_maps(activation, stain)
    assert joined.shape == (40, 40) and joined.dtype == np.float32 and joined.min() == 0 and joined.max() == 1
    for part in (evidence, stain):
        assert 0.6 < np.corrcoef(joined.ravel(), part.ravel())[0, 1] < 0.8
    # A map that is the same everywhere leaves the stain, and 0 and 1 are finite evidence.
    alone = join_maps(np.full((40, 40), 0.5), stain)
    assert np.corrcoef(alone.ravel(), stain.ravel())[0, 1] > 0.99
    assert np.isfinite(join_maps(np.eye(40), stain)).all()
    assert not join_maps(np.full((40, 40), 0.5), np.zeros((40, 40), np.float32)).any()


def tissue_of_two_nuclei():
    """A dark nucleus, a pale one that the stain hardly shows, and a dark spot that is none; a map of the nuclei."""
    image = np.full((96, 96, 3), (225, 180, 215), np.uint8)
    activation = np.full((96, 96), 0.05, np.float32)
    for (y, x), colour, nucleus in (
        ((24, 24), (90, 60, 140), True),
        ((24, 70), (205, 160, 208), True),
        ((70, 40), (100, 70, 150), False),
    ):
        cv2.circle(image, (x, y), 9, colour, -1)
        if nucleus:
            cv2.circle(activation, (x, y), 9, 0.95, -1)
    return image, activation


def test_the_map_finds_the_pale_nucleus_and_ranks_the_dark_spot_last():
    image, activation = tissue_of_two_nuclei()
    by_stain = find_candidates(image, None, load_config((), ("pseudo.recipe=stain",)))
    by_both = find_candidates(image, activation, load_config())
    assert by_stain.labels[24, 70] == 0 and by_stain.labels[70, 40] > 0
    assert by_both.labels[24, 24] > 0 and by_both.labels[24, 70] > 0
    confidence = np.append(0, by_both.scores.confidence)
    spot, nuclei = by_both.labels[70, 40], by_both.labels[24, [24, 70]]
    assert confidence[nuclei].min() > 1.3 * confidence[spot]


def test_one_cut_for_all_images():
    good, poor = np.array([0.9, 0.8, 0.7, 0.6], np.float32), np.array([0.5, 0.4, 0.3, 0.65], np.float32)
    cut = pooled_cut([good, poor], 0.5)
    assert ((good >= cut).sum(), (poor >= cut).sum()) == (3, 1)
    assert pooled_cut([good, poor], 1.0) == np.float32(0.3)
    assert pooled_cut([good, poor], 0.0) == pooled_cut([], 0.5) == 1.0


def test_only_the_stain_pools_and_only_where_there_is_a_share():
    confidences = [np.array([0.9, 0.1], np.float32)]
    assert run_cut(load_config((), ("pseudo.share=0.5",)), confidences) == np.float32(0.9)
    assert run_cut(load_config((), ("pseudo.share=null",)), confidences) is None
    assert run_cut(load_config((), ("pseudo.share=0.5", "pseudo.recipe=paper")), confidences) is None
