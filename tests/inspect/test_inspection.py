"""What the notebooks show: the figures behind the pictures."""

import dataclasses
import shutil

import numpy as np
import pytest
import yaml

from cyclic.config import TilesConfig
from cyclic.cycle.checks import check_same_data
from cyclic.datasets.layouts import open_splits
from cyclic.datasets.tile_cutting import MIN_COVERAGE
from cyclic.errors import InputError
from cyclic.files import write_image, write_json
from cyclic.inspect import data, pseudo
from cyclic.inspect.drawing import show_histograms
from cyclic.inspect.run import open_run
from cyclic.label_maps import write_label_map
from cyclic.pseudo.candidates import Candidates
from cyclic.pseudo.fill import fill_centres
from cyclic.pseudo.recipe import RECIPES
from cyclic.pseudo.score import BORDER_FACTOR
from cyclic.runs.paths import RunPaths
from cyclic.stain import hematoxylin_map


@pytest.fixture(scope="module")
def run(fake_run):
    return open_run(fake_run.run, fake_run.data)


def test_nuclei_are_measured_as_drawn(fake_run):
    train, val = open_splits(fake_run.data)
    rows = data.image_rows({"train": train, "val": val})
    assert [row["split"] for row in rows] == ["train"] * 2 + ["val"] * 3
    measured = data.measure_nuclei(val, val.ids)
    assert len(measured["area"]) == sum(row["nuclei"] for row in rows if row["split"] == "val")
    assert measured["area"].sum() == sum((val.label_map(name) > 0).sum() for name in val.ids)
    assert data.size_rows(measured)[3]["area, px"] == np.median(measured["area"])
    assert data.class_rows(val, val.ids) == []


def test_tiles_are_counted_like_the_run_cuts_them(fake_run):
    _, val = open_splits(fake_run.data)
    settings = TilesConfig(size=32, stride=32)
    row = data.tile_rows(val, val.ids[:1], settings)[0]
    blocks = (val.label_map(val.ids[0]) > 0).reshape(6, 32, 6, 32).mean(axis=(1, 3))
    assert row["positive"] == (blocks >= MIN_COVERAGE).sum() and row["negative"] == (blocks == 0).sum()
    assert row["positive"] + row["negative"] + row["neither"] == 36


def test_kept_candidates_come_first_and_the_weakest_factor_is_named(run):
    candidates = pseudo.find_run_candidates(run, 1, "val_000")
    labels, scores = candidates.labels, candidates.scores
    assert candidates.source.shape == labels.shape and labels.max() == len(scores)
    rows = pseudo.candidate_rows(run, candidates)
    kept = [row["rank"] for row in rows if row["kept"] == "yes"]
    dropped = [row["rank"] for row in rows if row["kept"] == "no"]
    assert max(kept) == round(run.config.pseudo.share * len(scores)) < min(dropped)
    confidence = [row["confidence"] for row in rows]
    assert confidence == sorted(confidence, reverse=True)
    for row in rows:
        powers = {name: row[name] ** power for name, power in pseudo.POWERS.items()}
        assert powers[row["weakest"]] == min(powers.values())
        # What `weakest` speaks of is what confidence is made of; a nucleus at the border keeps less.
        product = np.prod(list(powers.values()))
        assert row["confidence"] == pytest.approx(product, abs=1e-3) or row["confidence"] == pytest.approx(
            BORDER_FACTOR * product, abs=1e-3
        )


def without_classifier(fake_run, root, supervision):
    """Return the run as one of another supervision leaves it: no maps; with instance labels no pseudo masks of val."""
    path = root / supervision
    shutil.copytree(fake_run.run, path)
    settings = {"supervision": supervision, "pseudo": {"recipe": "paper" if supervision == "instance" else "stain"}}
    (path / "config.yaml").write_text(yaml.safe_dump(settings))
    paths = RunPaths(path)
    for cycle in map(paths.cycle, paths.cycles()):
        shutil.rmtree(cycle.map("").parent)
        for labels in cycle.pseudo().glob("labels/val_*") if supervision == "instance" else ():
            labels.unlink()
    return open_run(path, fake_run.data)


@pytest.mark.parametrize("supervision", ["none", "instance"])
def test_without_a_classifier_one_line_says_what_is_skipped_and_the_stain_is_shown(
    fake_run, tmp_path, capsys, supervision
):
    run = without_classifier(fake_run, tmp_path, supervision)
    image = run.images.image("val_000")
    maps = pseudo.maps_of_methods(run, 1, image)
    printed = capsys.readouterr().out
    assert printed.startswith(f"supervision {supervision}: ") and "skipped" in printed and printed.count("\n") == 1
    assert list(maps) == ["hematoxylin"]
    np.testing.assert_array_equal(maps["hematoxylin"], hematoxylin_map(image))

    candidates = pseudo.find_run_candidates(run, 1, "val_000")
    max_hole = RECIPES["stain"].max_hole
    np.testing.assert_array_equal(candidates.source, fill_centres(maps["hematoxylin"], max_hole))
    assert len(candidates.scores) == candidates.labels.max() > 0
    assert {row["kept"] for row in pseudo.candidate_rows(run, candidates)} == {"yes", "no"}
    pictures = [
        pseudo.show_maps(image, maps),
        pseudo.show_levels(image, candidates, run),
        pseudo.show_selection(run, "val_000", candidates),
        pseudo.show_ranking(run, "val_000", candidates),
    ]
    assert all(len(figure.axes) > 1 for figure in pictures)
    compared = [pseudo.show_precision(run, run.images.ids), pseudo.show_errors(run, 2, "val_000")]
    printed = capsys.readouterr().out
    if supervision == "none":
        assert None not in compared and not printed
    else:
        assert compared == [None, None] and printed.count("no pseudo masks") + printed.count("No pseudo masks") == 2


def test_candidates_in_negative_tiles_are_shown_no_more_than_they_are_kept(run, tmp_path):
    name = run.train.ids[0]
    image, paths = run.train.image(name), RunPaths(tmp_path)
    write_image(paths.tiles / f"negative/{name}_0_0.png", image[:, : image.shape[1] // 2])
    with_tiles = dataclasses.replace(run, paths=paths, val=None)
    no_answers = run.config.model_copy(update={"supervision": "none"})
    every = pseudo.find_run_candidates(dataclasses.replace(with_tiles, config=no_answers), 1, name).labels
    stain = run.config.model_copy(update={"pseudo": run.config.pseudo.model_copy(update={"recipe": "stain"})})
    some = pseudo.find_run_candidates(dataclasses.replace(with_tiles, config=stain), 1, name)
    quarter = image.shape[1] // 4
    assert every[:, :quarter].any() and not some.labels[:, :quarter].any()
    assert some.labels.any() and some.labels.max() == len(some.scores) < every.max()


def test_ground_truth_of_training_images_is_never_shown(run, fake_run, monkeypatch):
    assert run.truth("val_000").max() > 0
    monkeypatch.setattr(type(run.train), "label_map", lambda *_: pytest.fail("labels read"))
    assert run.truth("train_000") is None


def test_without_val_there_is_no_truth(fake_run, tmp_path, capsys):
    shutil.copytree(fake_run.data, tmp_path / "data")
    write_json(tmp_path / "data" / "split.json", {"train": ["train_000", "val_000"]})
    run = open_run(fake_run.run, tmp_path / "data")
    assert run.val is None and run.images.ids == ["train_000", "val_000"]
    assert pseudo.show_precision(run, run.images.ids) is None and "No labelled val images" in capsys.readouterr().out


def test_a_folder_without_a_run(tmp_path):
    with pytest.raises(InputError, match="no run here"):
        open_run(tmp_path)


def test_a_pooled_share_shows_as_the_confidence_it_came_to(run, tmp_path):
    pooled = dataclasses.replace(run, paths=RunPaths(tmp_path))
    assert pooled.cut is None  # the stage has not run yet
    write_json(pooled.paths.cycle(1).cut, {"min_confidence": 0.5})
    assert pooled.cut == 0.5
    paper = run.config.model_copy(update={"pseudo": run.config.pseudo.model_copy(update={"recipe": "paper"})})
    assert dataclasses.replace(pooled, config=paper).cut is None


# --- nothing to show ---


def says_so(figure):
    return [text.get_text() for ax in figure.axes for text in ax.texts] == ["nothing to show"]


@pytest.fixture
def bare(tmp_path):
    """Two images without a nucleus."""
    for name in ("a", "b"):
        write_image(tmp_path / f"data/images/{name}.png", np.full((64, 64, 3), 230, np.uint8))
        write_label_map(tmp_path / f"data/labels/{name}.tif", np.zeros((64, 64), np.int32))
    return open_splits(tmp_path / "data")[0]


@pytest.mark.parametrize("names", [[], ["a", "b"]])
def test_images_without_nuclei_and_no_images(bare, names):
    measured = data.measure_nuclei(bare, names)
    assert {len(values) for values in measured.values()} == {0}
    assert len(data.show_measurements(measured).axes) == 5
    assert all(row["area, px"] is None for row in data.size_rows(measured))
    assert data.class_rows(bare, names) == []
    data.show_stain(bare, names)
    assert says_so(data.show_images(bare, [])) and says_so(show_histograms({}))
    assert len(data.tile_rows(bare, names, TilesConfig(size=32))) == len(names)


def test_a_tile_larger_than_the_image_is_named(bare):
    for ask in (data.tile_rows, lambda images, names, settings: data.show_tiles(images, names[0], settings)):
        with pytest.raises(InputError, match="a.png: 64 x 64 pixels, smaller than a tile of 96; choose a smaller size"):
            ask(bare, ["a"], TilesConfig(size=96))


def test_a_run_that_stopped_at_its_tiles(fake_run, tmp_path):
    shutil.copytree(fake_run.run, tmp_path / "run")
    for cycle in (tmp_path / "run").glob("cycle_*"):
        shutil.rmtree(cycle)
    stopped = open_run(tmp_path / "run", fake_run.data)
    with pytest.raises(InputError, match="run: no cycle has begun; cyclic train --resume goes on"):
        _ = stopped.last_cycle
    with pytest.raises(InputError, match="val_000.png: no such file"):
        pseudo.find_run_candidates(stopped, 1, "val_000")
    assert pseudo.show_precision(stopped, ["val_000"]) is None
    assert pseudo.show_errors(stopped, 1, "val_000") is None


def test_an_image_without_candidates(run):
    image = run.images.image("val_000")
    scores = pseudo.find_run_candidates(run, 1, "val_000").scores.take(np.zeros(0, int))
    none = Candidates(np.zeros(image.shape[:2], np.float32), np.zeros(image.shape[:2], np.int32), scores)
    assert pseudo.candidate_rows(run, none) == []
    assert says_so(pseudo.show_ranking(run, "val_000", none))
    pseudo.show_selection(run, "val_000", none)
    pseudo.show_levels(image, none, run)


def test_a_run_is_not_opened_with_other_images(fake_run, tmp_path):
    shutil.copytree(fake_run.run, tmp_path / "run")
    shutil.copytree(fake_run.data, tmp_path / "data")
    check_same_data(tmp_path / "run/data.json", tmp_path / "data", *open_splits(tmp_path / "data"))
    write_label_map(tmp_path / "data/labels/val_000.png", np.ones((192, 192), np.int32))
    assert open_run(tmp_path / "run", tmp_path / "data").last_cycle == 2  # labels may be corrected
    write_image(tmp_path / "data/images/val_000.png", np.zeros((96, 96, 3), np.uint8))
    with pytest.raises(InputError, match="data: image val_000 is another one than when the run began"):
        open_run(tmp_path / "run", tmp_path / "data")
