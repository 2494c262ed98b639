"""What a run tells of itself without labels: held-out tiles, maps against maps, nuclei against nuclei, sizes."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from cyclic.config import load_config
from cyclic.cycle.stages.agreement import score_cycle
from cyclic.cycle.stages.detections import save_detections
from cyclic.files import write_image
from cyclic.label_maps import write_label_map
from cyclic.runs.paths import RunPaths


@pytest.fixture
def context(tmp_path):
    paths, rows = RunPaths(tmp_path), []
    run = SimpleNamespace(add_rows=rows.extend)
    images = {"a": np.zeros((8, 8, 3), np.uint8), "b": np.zeros((8, 8, 3), np.uint8)}
    config = load_config((), ["rounds.students=1"])
    events = [{"event": "classifier", "cycle": cycle, "accuracy": cycle / 4} for cycle in (1, 1, 2)]
    paths.log.write_text("".join(json.dumps(event) + "\n" for event in events))
    return SimpleNamespace(
        config=config, images=images, paths=paths, run=run, rows=rows, cycle=paths.cycle,
        val_ids=["b"], shown_ids=["b"], scored_ids=[],
        round=lambda cycle, round_: paths.cycle(cycle).round(round_),
        last_round=lambda cycle: paths.cycle(cycle).round(config.rounds.students),
    )  # fmt: skip


def label_map(*nuclei):
    labels = np.zeros((8, 8), np.int32)
    for number, nucleus in enumerate(nuclei, start=1):
        labels[nucleus] = number
    return labels


def draw(context, cycle, round_, name, *nuclei):
    write_label_map(context.round(cycle, round_).prediction(name), label_map(*nuclei))


def test_a_cycle_is_compared_with_what_came_before(context):
    ramp = np.arange(64, dtype=np.uint8).reshape(8, 8)
    for name in context.images:
        for cycle, activation in ((1, ramp), (2, 63 - ramp if name == "a" else 2 * ramp)):
            write_image(context.cycle(cycle).map(name), activation)
    first, second = np.s_[:2, :2], np.s_[5:8, 5:8]
    draw(context, 1, 0, "a", first)
    draw(context, 1, 1, "a", first, second)
    draw(context, 2, 0, "a", second, first)
    draw(context, 2, 1, "a")
    draw(context, 2, 1, "b")  # nothing to compare it with
    score_cycle(context, 1)
    score_cycle(context, 2)
    by_source = {(row["source"], row["cycle"], row.get("round")): row for row in context.rows}
    assert by_source["held_out_tiles", 1, None]["tile_accuracy"] == 0.25
    assert by_source["held_out_tiles", 2, None]["tile_accuracy"] == 0.5
    assert by_source["map_stability", 2, None]["correlation"] == pytest.approx(0, abs=1e-6)  # of -1 and 1
    assert by_source["agreement", 1, 1]["f1"] == pytest.approx(2 / 3)
    assert by_source["agreement", 1, 1]["dice"] == pytest.approx(2 * 4 / (4 + 13))
    # The teacher of cycle 2 finds what the last student of cycle 1 found; the numbers do not matter.
    assert by_source["agreement", 2, 0]["f1"] == by_source["agreement", 2, 0]["dice"] == 1
    assert by_source["agreement", 2, 1]["f1"] == 0
    assert ("map_stability", 1, None) not in by_source and ("agreement", 1, 0) not in by_source
    assert {row["split"] for row in context.rows} == {"all"}


def test_two_rounds_that_find_no_nucleus_agree_in_nothing(context):
    for round_ in (0, 1):
        draw(context, 1, round_, "b")
    score_cycle(context, 1)
    assert [row["source"] for row in context.rows] == ["held_out_tiles"]
    draw(context, 1, 0, "a", np.s_[:2, :2])
    draw(context, 1, 1, "a", np.s_[5:8, 5:8])
    score_cycle(context, 1)
    assert context.rows[-1]["f1"] == 0


def test_flat_maps_have_no_correlation(context):
    for name in context.images:
        for cycle in (1, 2):
            write_image(context.cycle(cycle).map(name), np.full((8, 8), 9, np.uint8))
    score_cycle(context, 2)
    assert [row["correlation"] for row in context.rows if row["source"] == "map_stability"] == [None]


def first_pseudo_masks(context, name):
    write_label_map(context.cycle(1).pseudo() / f"labels/{name}.tif", label_map(np.s_[:4, :4], np.s_[:4, 4:]))


@pytest.mark.parametrize("scored_ids", [[], ["b"]])
def test_outlines_are_held_against_the_first_pseudo_masks(context, scored_ids):
    context.scored_ids = scored_ids
    first_pseudo_masks(context, "b")
    # The second one is grown as well, but too unsure to teach.
    grown, unsure, score = np.s_[:5, :4], np.s_[:8, 4:7], context.config.rounds.score
    save_detections(context.round(2, 0).detections, "b", label_map(grown, unsure), np.array([score, score - 0.01]))
    save_detections(context.round(2, 1).detections, "b", label_map(np.s_[:4, :3]), np.array([score]))
    write_label_map(context.cycle(2).pseudo() / "labels/b.tif", label_map(grown))  # as large as they are: no drift
    for name in context.images:
        for cycle in (1, 2):
            write_image(context.cycle(cycle).map(name), np.zeros((8, 8), np.uint8))
    score_cycle(context, 2)
    of_sizes = {"source": "sizes", "cycle": 2, "split": "val"}
    expected = [of_sizes | {"round": 0, "size_ratio": 1.25}, of_sizes | {"round": 1, "size_ratio": 0.75}]
    assert [row for row in context.rows if row["source"] == "sizes"] == expected
    assert (len(context.rows) == len(expected)) == bool(scored_ids)


def test_without_a_match_there_is_no_size(context):
    context.scored_ids = ["b"]
    first_pseudo_masks(context, "b")
    save_detections(context.round(1, 0).detections, "b", label_map(), np.zeros(0))  # round 1 has lost its file
    score_cycle(context, 1)
    assert context.rows == []
