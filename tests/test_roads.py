"""Two of the three roads from an empty folder, without a network; `test_own_data.py` walks the one between them."""

import json
import runpy
import socket
import sys

import numpy as np
import pytest
import scipy.io
import tifffile
from test_docs import ROOT

from cyclic import Predictor, cli
from cyclic.datasets.layouts import open_dataset, open_splits
from cyclic.datasets.synthetic import draw_tissue
from cyclic.files import read_json, write_image
from cyclic.label_maps import read_label_map

SIDE = 128
TINY = {
    "scale": 1,
    "tiles": {"size": 32, "stride": 32},
    "classifier": {"steps": 2, "batch": 4},
    "mask_rcnn": {
        "width": [16, 16, 16, 16], "crop": 64, "batch": 1, "steps": 2, "rpn_anchors": 16, "rois": 4, "proposals": 16,
    },
    "detection": {"tile": 64, "overlap": 16, "proposals": 16, "max_instances": 8, "min_area": 1},
}  # fmt: skip


@pytest.fixture(autouse=True)
def empty(tmp_path, monkeypatch):
    """An empty folder, in which the test runs; a user's home of its own; and no other machine to be reached."""

    def connect(*_):
        raise OSError("no network")

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CYCLIC_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(capsys):
    """Run a command or program that has to end well, and return what it prints."""

    def call(program, *arguments):
        with pytest.raises(SystemExit) as end:
            program([str(argument) for argument in arguments])
        said = capsys.readouterr()
        assert end.value.code == 0, said.err
        return said.out

    return call


@pytest.fixture
def sample(monkeypatch, run):
    """Run `samples/NAME/train.py` with these options."""

    def call(name, *options):
        path = ROOT / "samples" / name / "train.py"

        def program(arguments):
            monkeypatch.setattr(sys, "argv", [str(path), *arguments])
            runpy.run_path(str(path), run_name="__main__")

        return run(program, *options)

    return call


def test_an_image_is_predicted_at_once_and_a_model_has_a_card_and_a_name(empty, run):
    image, _ = draw_tissue(np.random.default_rng(0), SIDE)
    write_image(empty / "tissue.png", image)
    assert "nuclei in 1 images: out" in run(cli.main, "predict", "tissue.png", "--out", "out", "--mpp", "0.25")
    found = read_label_map(empty / "out/tissue.tif")
    assert found.max() > 3 and {path.name for path in (empty / "out").iterdir()} >= {"tissue.geojson", "overlays"}

    assert all(word in run(cli.main, "models", "list") for word in ("he-nuclei", "shipped", "0.250", "CC BY-NC-SA"))
    weights = run(cli.main, "models", "get", "he-nuclei").strip()
    card, _, _ = run(cli.main, "models", "info", "he-nuclei").partition("shipped: ")
    card = json.loads(card)
    assert card["mpp"] == 0.25 and card["licence"] and len(card["sha256"]) == 64
    assert {"trained_on", "answers", "scores", "limits"} <= card["about"].keys()

    run(cli.main, "models", "add", weights, "--name", "mine", "--licence", card["licence"])
    assert "mine" in run(cli.main, "models", "list")
    np.testing.assert_array_equal(Predictor.load("mine").predict(image, mpp=0.25).labels, found)


def squares(seed):
    """An image, and 24 px squares as its nuclei: a map, and the corners (x, y)."""
    corners = [(4, 4), (70, 8), (40, 90)]
    labels = np.zeros((SIDE, SIDE), np.uint16)
    for number, (x, y) in enumerate(corners, start=1):
        labels[y : y + 24, x : x + 24] = number
    return draw_tissue(np.random.default_rng(seed), SIDE)[0], labels, corners


def download_monuseg(root):
    """The layout of MoNuSeg's download, with its two parts."""
    training = root / "MoNuSeg 2018 Training Data"
    places = {"a": (training / "Tissue Images", training / "Annotations"), "b": (root / "MoNuSegTestData",) * 2}
    for seed, (name, (images, outlines)) in enumerate(places.items()):
        image, _, corners = squares(seed)
        for folder in (images, outlines):
            folder.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(images / f"{name}.tif", image, photometric="rgb")
        regions = [[(x, y), (x + 24, y), (x + 24, y + 24), (x, y + 24)] for x, y in corners]
        vertices = ["".join(f'<Vertex X="{x}" Y="{y}"/>' for x, y in region) for region in regions]
        content = "".join(f"<Region>{each}</Region>" for each in vertices)
        (outlines / f"{name}.xml").write_text(f"<Annotations><Annotation>{content}</Annotation></Annotations>")


def download_mat(root, keys, folders):
    """The layout of CoNSeP and ccRCC."""
    for seed, folder in enumerate(folders):
        image, labels, _ = squares(seed)
        write_image(root / folder / "Images" / f"{folder}_1.png", image)
        (root / folder / "Labels").mkdir()
        content = {keys[0]: labels, keys[1]: (labels > 0).astype(np.uint8)}
        scipy.io.savemat(root / folder / "Labels" / f"{folder}_1.mat", content)


def test_a_download_is_prepared_and_trains_by_its_program(empty, run, sample):
    download_monuseg(empty / "download")
    said = run(cli.main, "prepare", "monuseg", "download", "data", "--crop", "64")
    assert said.startswith("8 images with ") and said.endswith("4 to train, 4 to test: data\n")
    assert [len(open_dataset("data", split).ids) for split in ("train", "test")] == [4, 4]
    (empty / "tiny.yaml").write_text(json.dumps(TINY))
    options = ("--dataset", "data", "--out", "run", "--config", "tiny.yaml")
    said = sample("monusac", *options, "--weights", "none", "--cycles", "1")
    assert "held_out_tiles" in said and "report.html" in said
    trained = (empty / "run/best.weights.h5").read_bytes()
    assert sample("monusac", "--dataset", "data", "--out", "run", "--weights", "last") == said
    assert (empty / "run/best.weights.h5").read_bytes() == trained
    assert read_json(empty / "run/data.json")["train"].keys() == {f"a_{y}_{x}" for y in (0, 64) for x in (0, 64)}


@pytest.mark.parametrize(
    ("name", "keys", "folders"),
    [
        ("consep", ("inst_map", "type_map"), ("Train", "Test")),
        ("ccrcc", ("instance_map", "class_map"), ("Train", "Valid", "Test")),
    ],
)
def test_other_downloads_reach_the_training_too(empty, run, sample, monkeypatch, name, keys, folders):
    trained = []
    monkeypatch.setattr("cyclic.cycle.loop.train", lambda config, data, *_, **__: trained.append((config, data)) or [])
    download_mat(empty / "download", keys, folders)
    assert f"{len(folders)} images with {3 * len(folders)} nuclei" in run(cli.main, "prepare", name, "download", "data")
    sample(name, "--dataset", "data", "--out", "run", "--cycles", "2")
    ((config, (data,)),) = trained
    train, val = open_splits(data)
    assert (
        config.cycles == 2
        and train.ids == ["Train_1"]
        and (val.ids if val else None) == (["Valid_1"] if "Valid" in folders else None)
    )
