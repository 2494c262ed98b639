"""`studies/matterport_notebooks.py` on a notebook and samples of a few lines."""

import doctest
import json

import matterport_notebooks as script
import pytest

SAMPLE = """import os
from mrcnn.config import Config
from mrcnn import utils


class {name}Config(Config):
    NAME, BACKBONE, NUM_CLASSES = "{lower}", "resnet18", 2
    TOP_DOWN_PYRAMID_SIZE = RPN_CHANNELS = MASK_CHANNELS = FPN_CLASSIF_FC_LAYERS_SIZE = 8
    IMAGE_MAX_DIM = IMAGE_MIN_DIM = 256
    DETECTION_MIN_CONFIDENCE = 0.9
"""
CELLS = [
    "import numpy as np\nimport mrcnn.model as modellib\nfrom mrcnn import utils\nimport nucleus\n%matplotlib inline",
    "model = modellib.MaskRCNN('inference', nucleus.NucleusConfig(), '../../logs')",
    "model.load_weights(model.find_last())",
    "found = model.detect([np.zeros((200, 256, 3), np.uint8)])[0]\nassert 0 < len(found['rois']) < 100",
    "assert found['scores'].min() > 0.99 and utils",
    "model.keras_model.nothing",
    "",
]


@pytest.fixture
def checkout(tmp_path):
    for lower, name in (("nucleus", "Nucleus"), ("balloon", "Balloon"), ("coco", "Coco")):
        folder = tmp_path / "checkout" / "samples" / lower
        folder.mkdir(parents=True)
        ids = f'VAL_IMAGE_IDS = ["{"a" * 64}"]\n' if lower == "nucleus" else ""
        (folder / f"{lower}.py").write_text(ids + SAMPLE.format(name=name, lower=lower))
    cells = [{"cell_type": "markdown", "source": ["# Title"]}]
    cells += [{"cell_type": "code", "source": source.splitlines(keepends=True)} for source in CELLS]
    notebook = tmp_path / "checkout" / "samples" / "nucleus" / "inspect_nucleus_model.ipynb"
    notebook.write_text(json.dumps({"cells": cells}))
    return tmp_path / "checkout"


def call(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["x", *map(str, arguments)])
    return script.main()


def test_examples():
    assert doctest.testmod(script).failed == 0


def test_cells_that_run_are_counted_and_others_named(checkout, tmp_path, monkeypatch, capsys):
    name = "nucleus/inspect_nucleus_model"
    options = ["--data", tmp_path / "data", "--only", name, "--json", tmp_path / "counts.json"]
    assert call(monkeypatch, checkout, *options) == 0
    counts = json.loads((tmp_path / "counts.json").read_text())
    assert json.loads(capsys.readouterr().out) == counts
    (failed,) = counts[name].pop("failed")
    assert counts == {name: {"cells": 6, "ran": 5}}
    assert failed["cell"] == 5 and "no attribute 'nothing'" in failed["error"] and failed["at"].startswith("cell 5")


def test_images_lie_where_the_samples_look(checkout, tmp_path):
    script.prepare(checkout, tmp_path / "root")
    images = tmp_path / "root/datasets/nucleus/stage1_train"
    names = {path.name for path in images.iterdir()}
    assert {"a" * 64, script.NAMED_NUCLEUS} <= names and len(names) == 5
    assert all(len(list((images / name / "masks").glob("*.png"))) > 5 for name in names)
    outlines = json.loads((tmp_path / "root/datasets/balloon/val/via_region_data.json").read_text())
    assert all(len(image["regions"]) == 4 for image in outlines.values()) and len(outlines) == 2


def test_a_folder_that_is_no_checkout(tmp_path, monkeypatch, capsys):
    assert call(monkeypatch, tmp_path, "--data", tmp_path / "data") == 2
    assert "nucleus.py: no such file; give the folder of Matterport's repository" in capsys.readouterr().err
