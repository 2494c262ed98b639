"""Prediction of folders: formats, bad images, and the same label maps as in the training run."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pycocotools.coco
import pytest

from cyclic.config import merge_overrides
from cyclic.errors import InputError
from cyclic.files import write_image
from cyclic.images import read_image
from cyclic.inference import folder, predictor
from cyclic.inference.folder import find_images, predict_folder
from cyclic.label_maps import read_label_map
from cyclic.trained import load_mask_rcnn


@pytest.fixture(scope="module")
def loaded(tiny_run):
    """The tiny run's model, loaded once for all tests."""
    return load_mask_rcnn(tiny_run.run / "best.weights.h5")


@pytest.fixture
def predict(tiny_run, loaded, monkeypatch):
    """Predict with the loaded model; other settings of detection by name."""
    model, config = loaded

    def load_mask_rcnn(path, overrides=()):
        assert path == tiny_run.run / "best.weights.h5"
        return model, merge_overrides(config, overrides)

    monkeypatch.setattr(predictor, "load_mask_rcnn", load_mask_rcnn)

    def run(images, out, formats=folder.DEFAULT_FORMATS, classifier=None, mpp=None, overwrite=False, **detection):
        overrides = [f"detection.{key}={value}" for key, value in detection.items()]
        weights = tiny_run.run / "best.weights.h5"
        return predict_folder(
            images,
            weights,
            out,
            formats,
            overrides=overrides,
            classifier=classifier,
            mpp=mpp,
            overwrite=overwrite,
        )

    return run


RESULT = {"image_id", "category_id", "segmentation", "score"}


def visible(folder_):
    return sorted(path.name for path in folder_.iterdir() if not path.name.startswith("."))


def measurement(feature, name):
    (value,) = (each["value"] for each in feature["properties"]["measurements"] if each["name"] == name)
    return value


def test_same_label_maps_as_the_run(tiny_run, predict, tmp_path):
    counts = predict(tiny_run.data / "images", tmp_path)
    assert list(counts) == ["train_000", "train_001", "val_000"]
    found = read_label_map(tmp_path / "val_000.tif")
    np.testing.assert_array_equal(found, read_label_map(tiny_run.run / "cycle_2/round_0/predictions/val_000.tif"))
    for name, count in counts.items():
        assert read_label_map(tmp_path / f"{name}.tif").max() == count


def test_formats_agree(tiny_run, predict, tmp_path):
    # Score 0: even a network trained for a few steps finds something.
    counts = predict(tiny_run.data / "images", tmp_path, folder.FORMATS, score=0.0)
    assert sum(counts.values()) > 0
    coco = json.loads((tmp_path / "coco.json").read_text())
    assert [image["file_name"] for image in coco["images"]] == [f"{name}.png" for name in counts]
    for image_id, (name, count) in enumerate(counts.items(), 1):
        features = json.loads((tmp_path / f"{name}.geojson").read_text())["features"]
        assert len(features) == count == sum(each["image_id"] == image_id for each in coco["annotations"])
        areas = [measurement(feature, "area_px2") for feature in features]
        rows = list(csv.DictReader((tmp_path / f"{name}.csv").open()))
        assert areas == [float(row["area_px2"]) for row in rows]
        shape = read_image(tiny_run.data / f"images/{name}.png").shape
        assert read_image(tmp_path / f"overlays/{name}.png").shape == (2 * shape[0], 2 * shape[1], 3)


def test_measurements_in_micrometres(tiny_run, predict, tmp_path):
    for folder_, size in (("px", {}), ("um", {"mpp": 0.25})):
        predict(
            tiny_run.data / "images/val_000.png",
            tmp_path / folder_,
            ("csv", "geojson"),
            score=0.0,
            verdict=False,
            **size,
        )
    pixels, micrometres = (list(csv.DictReader((tmp_path / f / "val_000.csv").open())) for f in ("px", "um"))
    assert [float(row["area_um2"]) for row in micrometres] == [float(row["area_px2"]) / 16 for row in pixels] != []
    (feature, *_) = json.loads((tmp_path / "um/val_000.geojson").read_text())["features"]
    assert measurement(feature, "area_um2") == float(micrometres[0]["area_um2"])


def test_only_the_formats_asked_for(tiny_run, predict, tmp_path):
    predict(tiny_run.data / "images/val_000.png", tmp_path, ("geojson",))
    assert visible(tmp_path) == ["val_000.geojson"]


def test_score_drops_the_weaker(tiny_run, predict, tmp_path):
    image = tiny_run.data / "images/val_000.png"
    every = predict(image, tmp_path / "all", ("geojson",), score=0.0, verdict=False)["val_000"]
    features = json.loads((tmp_path / "all/val_000.geojson").read_text())["features"]
    scores = sorted(measurement(feature, "score") for feature in features)
    middle = scores[len(scores) // 2] - 1e-5  # they are written with six digits
    some = predict(image, tmp_path / "some", ("tif",), score=middle, verdict=False)["val_000"]
    assert some == sum(score >= middle for score in scores) < every
    assert predict(image, tmp_path / "none", ("tif",), score=1.0)["val_000"] == 0
    assert not read_label_map(tmp_path / "none/val_000.tif").any()


def test_tile_smaller_than_the_runs_overlap(tiny_run, predict, tmp_path):
    predict(tiny_run.data / "images/val_000.png", tmp_path, ("tif",), tile=16, overlap=8)
    assert read_label_map(tmp_path / "val_000.tif").shape == (128, 128)


def test_views_vote(tiny_run, predict, tmp_path, monkeypatch):
    """As many views as asked for, by default as many as the run's own configuration says."""
    seen = []

    def detect_in_views(detect, image, views, min_area):
        seen.append(views)
        return np.zeros(image.shape[:2], np.int32), np.zeros(0, np.float32)

    monkeypatch.setattr("cyclic.inference.detect.detect_in_views", detect_in_views)
    for views in ({}, {"views": 2}, {"views": 8}):
        predict(tiny_run.data / "images/val_000.png", tmp_path, ("tif",), **views)
    assert seen == [1, 2, 8]


def test_unreadable_images_are_named_and_the_others_predicted(tiny_run, predict, tmp_path):
    images = tmp_path / "images"
    good = read_image(tiny_run.data / "images/val_000.png")
    for name in "abc":
        write_image(images / f"{name}.png", good)
    for name in "ac":
        (images / f"{name}.png").write_bytes((images / f"{name}.png").read_bytes()[:300])
    with pytest.raises(InputError, match="2 of 3 images not predicted: .*a.png.*c.png"):
        predict(images, tmp_path / "out")
    assert visible(tmp_path / "out") == ["b.geojson", "b.tif", "coco.json", "overlays"]
    assert len(json.loads((tmp_path / "out/coco.json").read_text())["images"]) == 1


def test_no_folder_is_left_where_no_image_can_be_read(predict, tmp_path):
    (tmp_path / "cut.png").write_bytes(b"no image")
    with pytest.raises(InputError, match="1 of 1 images not predicted"):
        predict(tmp_path / "cut.png", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_unknown_format(tmp_path):
    with pytest.raises(InputError, match="format svg: use one or more of tif"):
        predict_folder(tmp_path, tmp_path / "w.h5", tmp_path, ("tif", "svg"))


def test_find_images(tmp_path):
    for name in ("b.png", "a.png"):
        write_image(tmp_path / name, np.zeros((4, 4, 3), np.uint8))
    (tmp_path / "notes.txt").write_text("")
    assert list(find_images(tmp_path).items()) == [("a", tmp_path / "a.png"), ("b", tmp_path / "b.png")]
    assert find_images(tmp_path / "b.png") == {"b": tmp_path / "b.png"}
    with pytest.raises(InputError, match="notes.txt: not an image"):
        find_images(tmp_path / "notes.txt")


@pytest.fixture
def no_evidence(monkeypatch):
    """The map is 0 in every nucleus."""
    monkeypatch.setattr("cyclic.inference.verdict.mean_within", lambda activation, labels, count: np.zeros(count))


@pytest.mark.usefixtures("no_evidence")
def test_a_classifier_drops_what_it_has_no_evidence_for(tiny_run, predict, tmp_path):
    weights = tiny_run.run / "cycle_2/classifier.weights.h5"
    image = tiny_run.data / "images/val_000.png"
    before = predict(image, tmp_path / "all", ("tif",), score=0.0, verdict=False)["val_000"]
    assert before > 0
    for least, left in ((0.0, before), (0.1, 0)):
        out = tmp_path / str(left)
        assert predict(image, out, ("tif",), weights, score=0.0, evidence=least)["val_000"] == left
        found = read_label_map(out / "val_000.tif")
        assert np.isin(found, read_label_map(tmp_path / "all/val_000.tif") if left else 0).all()


@pytest.mark.usefixtures("no_evidence")
def test_the_verdict_of_the_runs_own_classifier_is_asked_for_by_default(tiny_run, tmp_path):
    best, image = tiny_run.run / "best.weights.h5", tiny_run.data / "images/val_000.png"
    counts = {
        name: predict_folder(image, weights, tmp_path / name, ("tif",), overrides=("detection.score=0", *more))[
            "val_000"
        ]
        for name, weights, more in (
            ("default", best, ()),
            ("off", best, ("detection.verdict=false",)),
            ("without a classifier", tiny_run.run / "cycle_2/model.weights.h5", ()),
        )
    }
    assert counts["default"] == 0 < counts["off"] == counts["without a classifier"]
    for answer in ("true", "True"):  # as a user and as the command line writes it
        with pytest.raises(InputError, match="cycle_2/model.weights.h5: holds no tile classifier .*--classifier"):
            predictor.Predictor.load(tiny_run.run / "cycle_2/model.weights.h5", [f"detection.verdict={answer}"])


def test_a_mask_rcnn_is_no_classifier(tiny_run, predict, tmp_path):
    weights = tiny_run.run / "best.weights.h5"
    with pytest.raises(InputError, match="best.weights.h5: no classifier of this run .*cycle_K/classifier.weights.h5"):
        predict(tiny_run.data / "images", tmp_path, ("tif",), weights)


# --- what is there already ---


def test_an_image_is_never_replaced_by_its_label_map(tiny_run, predict, tmp_path):
    image = read_image(tiny_run.data / "images/val_000.png")
    write_image(tmp_path / "case.tif", image)
    before = (tmp_path / "case.tif").read_bytes()
    for overwrite in (False, True):
        with pytest.raises(InputError, match="case.tif: would be replaced by its own result"):
            predict(tmp_path, tmp_path, overwrite=overwrite)
    assert (tmp_path / "case.tif").read_bytes() == before and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("name", ["val_000.tif", "val_000.geojson", "val_000.csv", "coco.json", "overlays/val_000.png"])
def test_a_file_of_somebody_else_stays_unless_asked(tiny_run, predict, tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"mine")
    image = tiny_run.data / "images/val_000.png"
    with pytest.raises(InputError, match=f"{path.name}: exists, and cyclic did not write it; .* add --overwrite"):
        predict(image, tmp_path, folder.FORMATS)
    assert path.read_bytes() == b"mine" and len([file for file in tmp_path.rglob("*") if file.is_file()]) == 1
    with pytest.warns(UserWarning, match=f"{path.name}: replaced by the new prediction"):
        predict(image, tmp_path, folder.FORMATS, overwrite=True)
    assert path.read_bytes() != b"mine"


def test_a_second_prediction_says_what_it_replaces(tiny_run, predict, tmp_path):
    image = tiny_run.data / "images/val_000.png"
    predict(image, tmp_path, folder.FORMATS)
    written = len([file for file in tmp_path.rglob("[!.]*") if file.is_file()])
    with pytest.warns(UserWarning, match=f"and {written - 1} more files: replaced by the new prediction"):
        predict(image, tmp_path, folder.FORMATS)
    assert written == len(folder.FORMATS)


WRITTEN = ("val_000.tif", "val_000.geojson", "val_000.csv", "coco.json", "coco_results.json", "overlays/val_000.png")


@pytest.fixture(scope="module")
def predicted(tiny_run, tmp_path_factory):
    """Filled by the first test that needs it: the folder of a prediction in every format, to be copied."""
    return tmp_path_factory.mktemp("predicted") / "out"


@pytest.mark.parametrize("name", WRITTEN)
def test_a_file_that_was_edited_since_stays_unless_asked(tiny_run, predict, predicted, tmp_path, name):
    image, out = tiny_run.data / "images/val_000.png", tmp_path / "out"
    if not predicted.exists():
        predict(image, predicted, folder.FORMATS)
    shutil.copytree(predicted, out)
    edited = (out / name).read_bytes()[:-1] + b" "
    (out / name).write_bytes(edited)
    message = f"{Path(name).name}: exists, and was edited since cyclic wrote it; .* add --overwrite"
    with pytest.raises(InputError, match=message):
        predict(image, out, folder.FORMATS)
    assert (out / name).read_bytes() == edited
    with pytest.warns(UserWarning, match="replaced by the new prediction"):
        predict(image, out, folder.FORMATS, overwrite=True)
    assert (out / name).read_bytes() == (predicted / name).read_bytes()


@pytest.mark.parametrize(("format_", "name"), [("coco", "coco.json"), ("coco-results", "coco_results.json")])
def test_the_nuclei_of_other_images_are_not_lost_without_a_word(tiny_run, predict, tmp_path, format_, name):
    images, out = tiny_run.data / "images", tmp_path / "out"
    predict(images, out, (format_,), score=0.0)
    before = (out / name).read_bytes()
    with pytest.raises(InputError, match=f"{name}: holds (2|3) images.* add --overwrite to lose them"):
        predict(images / "train_000.png", out, (format_,))
    assert (out / name).read_bytes() == before
    with pytest.warns(UserWarning, match="replaced by the new prediction"):
        predict(images, out, (format_,), score=0.0)  # of the same images it is replaced
    with pytest.warns(UserWarning, match="replaced by the new prediction"):
        predict(images / "train_000.png", out, (format_,), overwrite=True)
    assert (out / name).read_bytes() != before


def test_label_maps_beside_the_images_are_not_predicted_in_turn(tiny_run, predict, tmp_path):
    shutil.copyfile(tiny_run.data / "images/val_000.png", tmp_path / "case.png")
    assert list(predict(tmp_path, tmp_path)) == ["case"]
    with pytest.warns(UserWarning, match="and 3 more files: replaced"):
        assert list(predict(tmp_path, tmp_path)) == ["case"]
    with pytest.raises(InputError, match="case.tif: a label map that cyclic wrote, not an image"):
        predict(tmp_path / "case.tif", tmp_path / "out")
    (tmp_path / "case.png").unlink()
    with pytest.raises(InputError, match="no images"):
        predict(tmp_path, tmp_path)


def test_coco_results_are_a_list_without_boxes(tiny_run, predict, tmp_path):
    count = predict(tiny_run.data / "images/val_000.png", tmp_path, ("coco", "coco-results"), score=0.0, verdict=False)[
        "val_000"
    ]
    results = json.loads((tmp_path / "coco_results.json").read_text())
    assert len(results) == count > 0 and all(result.keys() == RESULT for result in results)
    coco = pycocotools.coco.COCO(tmp_path / "coco.json")
    loaded = coco.loadRes(str(tmp_path / "coco_results.json"))
    areas = [annotation["area"] for annotation in coco.dataset["annotations"]]
    assert [annotation["area"] for annotation in loaded.dataset["annotations"]] == areas
