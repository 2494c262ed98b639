"""One nucleus is one nucleus at any resolution: images and answers are rescaled, and what is assumed is said."""

import csv
import warnings

import numpy as np
import pytest
import tifffile
from PIL import Image
from test_detect import BARE, PLACES, SquareFinder, squares
from test_empty_tiles import DarkFinder

from cyclic.config import load_config
from cyclic.errors import InputError
from cyclic.files import write_image
from cyclic.inference import folder
from cyclic.inference.folder import predict_folder
from cyclic.inference.predictor import Prediction, Predictor
from cyclic.label_maps import read_label_map
from cyclic.resolution import read_resolution

SETTINGS = (
    "scale=1",
    "detection.tile=200",
    "detection.overlap=20",
    *(f"detection.{key}={'null' if value is None else value}" for key, value in BARE.items()),
)


def predictor(*settings, classifier=None):
    return Predictor(SquareFinder(), load_config((), (*SETTINGS, *settings)), classifier)


def enlarge(array, times):
    return array.repeat(times, axis=0).repeat(times, axis=1)


@pytest.fixture
def scene():
    return squares((100, 100), PLACES)


@pytest.mark.parametrize("times", [1, 2, 4])
def test_an_enlarged_image_has_the_same_nuclei(scene, times):
    image, expected = (enlarge(array, times) for array in scene)
    found = predictor()
    prediction = found.predict(image, mpp=0.25 / times)
    np.testing.assert_array_equal(prediction.labels, expected)
    assert prediction.labels.dtype == np.int32 and len(prediction) == len(PLACES)
    assert found.model.windows == [(0, 0, 100, 100)], "the network sees nuclei of the size that it knows"


def test_a_shrunk_image_has_the_same_nuclei(scene):
    image, expected = (array[1::2, 1::2] for array in scene)
    prediction = predictor().predict(image, mpp=0.5)
    assert prediction.labels.shape == image.shape[:2] and len(prediction) == len(PLACES)
    assert ((prediction.labels > 0) != (expected > 0)).mean() < 0.02
    for label in range(1, len(PLACES) + 1):
        assert (prediction.labels[expected == label] == label).mean() > 0.9


def test_a_nucleus_with_a_thin_neck_stays_one_piece_when_it_is_brought_back(monkeypatch):
    """The neck is a row that the smaller label map does not sample; the larger part stays."""
    large = np.zeros((40, 40), np.int32)
    large[8:16, 4:14] = large[8:16, 24:32] = 1
    large[8, 14:24] = 1
    found = predictor()
    monkeypatch.setattr(found, "_predict", lambda image: Prediction(large, np.array([0.9], np.float32)))
    labels = found.predict(np.zeros((20, 20, 3), np.uint8), mpp=0.5).labels
    np.testing.assert_array_equal(np.argwhere(labels), [(y, x) for y in range(4, 8) for x in range(2, 7)])


def test_the_verdict_is_on_tiles_of_the_size_that_the_classifier_knows(scene):
    judge = DarkFinder()
    predictor("tiles.size=32", "classifier.share=1", classifier=judge).predict(enlarge(scene[0], 2), mpp=0.125)
    assert judge.shapes == [(16, 32, 32, 3)]


@pytest.mark.parametrize("mpp", [0.25, 0.2520, 0.245])
def test_scanners_of_one_name_need_no_rescaling(scene, mpp):
    image, expected = scene
    np.testing.assert_array_equal(predictor().predict(image, mpp).labels, expected)


def test_a_model_of_another_resolution_and_one_of_none(scene):
    image, expected = scene
    np.testing.assert_array_equal(predictor("mpp=0.5").predict(enlarge(image, 2), 0.25).labels, enlarge(expected, 2))
    found = predictor("mpp=null")
    found.predict(enlarge(image, 2), 0.1)
    assert found.model.windows == [(0, 0, 200, 200)]


def test_what_is_assumed_is_said_once(scene):
    found = predictor()
    with pytest.warns(UserWarning, match="not stated; taken for 0.25 µm per pixel, as in training"):
        np.testing.assert_array_equal(found.predict(scene[0]).labels, scene[1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found.predict(scene[0])
        predictor().predict(scene[0], 0.25)
        predictor("mpp=null").predict(scene[0])


@pytest.mark.parametrize(
    ("mpp", "message"),
    [(0, "over 0"), (-1, "over 0"), (float("nan"), "over 0"), (2.5, "more than 8 times"), (0.03, "more than 8 times")],
)
def test_no_size_and_an_absurd_one_are_refused(scene, mpp, message):
    with pytest.raises(InputError, match=message):
        predictor().predict(scene[0], mpp)
    if message == "over 0":
        with pytest.raises(InputError, match=message):
            predictor("mpp=null").predict(scene[0], mpp)


def test_a_single_pixel_of_a_coarse_image():
    assert predictor().predict(np.full((1, 1, 3), 255, np.uint8), mpp=0.04).labels.shape == (1, 1)


# --- folders ---


@pytest.fixture
def predict(tmp_path, monkeypatch):
    """Predict the images in `tmp_path / "in"` with the stand-in, and return `(counts, out)`."""
    monkeypatch.setattr(folder.Predictor, "load", lambda *_: predictor())

    def run(formats=("tif", "csv"), **options):
        out = tmp_path / "out"
        return predict_folder(tmp_path / "in", tmp_path / "w.h5", out, formats, **options), out

    (tmp_path / "in").mkdir()
    return run


def write_tiff(path, image, dpi=None, unit="CENTIMETER"):
    density = {} if dpi is None else {"resolution": (dpi, dpi), "resolutionunit": unit}
    tifffile.imwrite(path, image, photometric="rgb", **density)


def areas_of(path):
    return [float(row["area_um2"]) for row in csv.DictReader(path.open())]


def test_each_image_is_predicted_at_the_resolution_that_its_file_says(scene, predict, tmp_path, recwarn):
    image, expected = scene
    write_tiff(tmp_path / "in/plain.tif", image, 40_000)
    write_tiff(tmp_path / "in/double.tif", enlarge(image, 2), 80_000)
    counts, out = predict()
    assert counts == {"double": 6, "plain": 6} and not recwarn.list
    np.testing.assert_array_equal(read_label_map(out / "plain.tif"), expected)
    np.testing.assert_array_equal(read_label_map(out / "double.tif"), enlarge(expected, 2))
    # 12 x 12 px of 0.25 µm, and 24 x 24 px of 0.125 µm.
    assert areas_of(out / "plain.csv") == pytest.approx([9.0] * 6) == areas_of(out / "double.csv")
    assert read_resolution(out / "plain.tif").mpp == pytest.approx(0.25)
    assert read_resolution(out / "double.tif").mpp == pytest.approx(0.125)


def test_files_of_an_earlier_prediction_in_other_formats_are_named(scene, predict, tmp_path, recwarn):
    write_tiff(tmp_path / "in/a.tif", scene[0], 40_000)
    predict(("tif", "csv", "geojson"))
    assert not recwarn.list
    with pytest.warns(UserWarning) as warned:
        predict(("tif",))
    older = [str(each.message) for each in warned if "earlier prediction" in str(each.message)]
    assert len(older) == 1 and older[0].startswith(str(tmp_path / "out/a.geojson and 1 more files: "))


def test_a_stated_resolution_overrides_what_the_files_say(scene, predict, tmp_path, recwarn):
    write_tiff(tmp_path / "in/a.tif", enlarge(scene[0], 2), 40_000)
    Image.fromarray(enlarge(scene[0], 2)).save(tmp_path / "in/b.png", dpi=(72, 72))
    counts, out = predict(mpp=0.125)
    assert counts == {"a": 6, "b": 6} and not recwarn.list
    for name in "ab":
        np.testing.assert_array_equal(read_label_map(out / f"{name}.tif"), enlarge(scene[1], 2))
        assert read_resolution(out / f"{name}.tif").mpp == pytest.approx(0.125)


def test_images_that_do_not_say_are_told_once_with_what_they_say_instead(scene, predict, tmp_path):
    write_tiff(tmp_path / "in/known.tif", scene[0], 40_000)
    write_tiff(tmp_path / "in/printed.tif", scene[0], 300, "INCH")
    write_image(tmp_path / "in/silent.png", scene[0])
    with pytest.warns(UserWarning) as caught:
        counts, out = predict()
    (message,) = [str(each.message) for each in caught]
    assert "2 of 3 images have no resolution to go by: printed.tif (84.67 µm per pixel (300 dpi), which no" in message
    assert "silent.png; taken for 0.25 µm per pixel, as in training; --mpp states another" in message
    assert set(counts.values()) == {6}
    # What is assumed is written nowhere as if it were known.
    assert "area_px2" in (out / "silent.csv").read_text() and "area_px2" in (out / "printed.csv").read_text()
    assert read_resolution(out / "silent.tif").mpp is None and read_resolution(out / "known.tif").mpp is not None


def test_an_image_too_far_from_the_model_is_named_and_the_others_predicted(scene, predict, tmp_path):
    write_tiff(tmp_path / "in/thumbnail.tif", scene[0], 2_500)  # 4 µm
    write_tiff(tmp_path / "in/tissue.tif", scene[0], 40_000)
    with pytest.raises(InputError, match="1 of 2 images not predicted: .*thumbnail.tif: mpp 4: more than 8"):
        predict()
    assert (tmp_path / "out/tissue.tif").is_file() and not (tmp_path / "out/thumbnail.tif").exists()


@pytest.mark.parametrize("mpp", [0, -0.5, float("nan"), 40.0])
def test_a_stated_resolution_is_refused_before_anything_is_written(scene, predict, tmp_path, mpp):
    write_image(tmp_path / "in/a.png", scene[0])
    with pytest.raises(InputError, match="µm per pixel|micrometres per pixel"):
        predict(mpp=mpp)
    assert not (tmp_path / "out").exists()
