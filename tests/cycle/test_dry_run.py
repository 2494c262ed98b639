"""Which stages the dry run tries and which labels it asks for, by `supervision`; the networks run in `test_cli`."""

import pathlib

import numpy as np
import pytest

from cyclic.config import load_config
from cyclic.cycle import dry_run as module
from cyclic.cycle.dry_run import dry_run
from cyclic.cycle.loop import plan
from cyclic.datasets.synthetic import write_tissue_set
from cyclic.errors import InputError
from cyclic.evaluation.table import HEADINGS

CONFIGS = pathlib.Path(__file__).resolve().parents[2] / "configs"
SUPERVISION = {
    "image": (),
    "none": ("supervision=none",),
    "instance": ("supervision=instance",),
}
STAGES = {
    "image": ["_classifier", "_map", "_pseudo_masks", "_mask_rcnn", "_detection"],
    "none": ["_pseudo_masks", "_mask_rcnn", "_detection"],
    "instance": ["_mask_rcnn", "_detection"],
}


@pytest.fixture
def data(tmp_path):
    write_tissue_set(tmp_path, 2, 1, size=96)
    return tmp_path


@pytest.fixture
def quick(monkeypatch):
    """Every stage takes 36 s a unit and has 100 units: an hour; none touches a network."""
    for name in STAGES["image"]:
        monkeypatch.setattr(module, name, lambda context, name=name: {"stage": name, "unit_s": 36.0, "units": 100})


@pytest.mark.parametrize("supervision", SUPERVISION)
def test_tries_the_stages_that_the_run_has(quick, data, supervision):
    config = load_config((), SUPERVISION[supervision])
    rows = dry_run(config, data)
    assert [row["stage"] for row in rows] == [*STAGES[supervision], "total"]
    assert rows[-1]["hours"] == len(STAGES[supervision])


def test_every_column_of_the_table_has_a_heading():
    assert {*module._row("stage", np.zeros(1), (1,), 0, 1.0, 1), "hours"} <= {*HEADINGS}


@pytest.mark.parametrize("supervision", SUPERVISION)
def test_a_classifier_is_tried_where_the_run_trains_one(data, supervision):
    """The dry run against the run's own plan."""
    config = load_config((), SUPERVISION[supervision])
    train, val = module.open_splits(data)
    keys = [stage.key for stage in plan(module.Inputs(config, data, train, val))]
    tried = [stage.__name__ for stage in module._stages(config)]
    assert ("_classifier" in tried) == ("cycle_1/classifier" in keys)
    assert ("_map" in tried) == ("cycle_1/maps" in keys)


def test_labels_are_asked_for_only_by_a_run_that_reads_them(quick, data):
    (data / "labels/train_001.png").unlink()
    assert dry_run(load_config((), SUPERVISION["none"]), data)
    with pytest.raises(InputError, match="not every training image has labels; add them or set tiles.folder"):
        dry_run(load_config(), data)
    with pytest.raises(InputError, match="not every training image has labels; add them or choose another supervision"):
        dry_run(load_config((), SUPERVISION["instance"]), data)


def test_sorted_tiles_stand_in_for_image_level_labels_alone(quick, data, tmp_path):
    (data / "labels/train_001.png").unlink()
    for kind in ("positive", "negative"):
        (tmp_path / "tiles" / kind).mkdir(parents=True)
    folder = f"tiles.folder={tmp_path / 'tiles'}"
    with pytest.raises(InputError, match="tiles"):  # the folder is read, and found empty
        dry_run(load_config((), (folder,)), data)
    assert dry_run(load_config((), (*SUPERVISION["none"], folder)), data)
    with pytest.raises(InputError, match="not every training image"):
        dry_run(load_config((), (*SUPERVISION["instance"], folder)), data)


def test_public_weights_are_not_downloaded_to_try_a_run(quick, data, monkeypatch, tmp_path):
    monkeypatch.setenv("CYCLIC_CACHE", str(tmp_path))
    monkeypatch.setattr("urllib.request.urlopen", None)
    config = load_config(CONFIGS / "monusac_paper.yaml", ("tiles.size=48",))
    with pytest.warns(UserWarning, match=r"mask_rcnn_coco\.h5: not there yet; the run downloads it first, or put it"):
        assert dry_run(config, data)
    # What lies there is read, as the run will read it.
    (tmp_path / "mask_rcnn_coco.h5").write_bytes(b"")
    with pytest.raises(InputError, match=r"mask_rcnn_coco\.h5: not the file of"):
        dry_run(config, data)


def test_frozen_statistics_of_weights_that_are_not_there_are_not_tried(monkeypatch, tmp_path):
    """Features of a ResNet whose normalisation is frozen as it was drawn grow until they are no numbers."""
    monkeypatch.setenv("CYCLIC_CACHE", str(tmp_path))
    for name, norm in (("resnet101", "batch"), ("vgg16", "frozen")):
        config = load_config((), (f"backbone={{name: {name}, norm: frozen, weights: imagenet}}",))
        with pytest.warns(UserWarning, match="not there yet"):
            tried = module._without_download(config)
        assert (tried.backbone.name, tried.backbone.norm, tried.backbone.weights) == (name, norm, None)
        assert tried.model_copy(update={"backbone": config.backbone}) == config
