"""The Python door: load a model, predict an array."""

import numpy as np
import pytest

from cyclic import Predictor
from cyclic.errors import InputError
from cyclic.images import read_image
from cyclic.inference import predictor as predictor_module
from cyclic.label_maps import read_label_map


@pytest.fixture(scope="module")
def predictor(tiny_run):
    return Predictor.load(tiny_run.run / "best.weights.h5")


@pytest.fixture
def image(tiny_run):
    return read_image(tiny_run.data / "images/val_000.png")


def test_predicts_what_the_run_predicted(tiny_run, predictor, image):
    prediction = predictor.predict(image)
    expected = read_label_map(tiny_run.run / "cycle_2/round_0/predictions/val_000.tif")
    np.testing.assert_array_equal(prediction.labels, expected)
    assert prediction.labels.dtype == np.int32 and prediction.scores.dtype == np.float32
    assert len(prediction) == expected.max() == len(prediction.scores)
    assert (np.diff(prediction.scores) <= 0).all() and (prediction.scores >= 0.3).all()


def test_an_array_of_12_bits_is_said_to_be_nearly_black(predictor, image):
    with pytest.warns(UserWarning, match="image: 16 bits, but no value over 4095, so it is nearly black"):
        predictor.predict(image.astype(np.uint16) * 16)


def test_loading_a_model_keeps_freed_memory(tiny_run, monkeypatch):
    kept = []
    monkeypatch.setattr(predictor_module, "keep_freed_memory", lambda: kept.append(True))
    Predictor.load(tiny_run.run / "best.weights.h5")
    assert kept == [True]


def test_sure_nuclei_alone(tiny_run, image):
    def predict(score):  # whatever the hardly trained classifier says
        return Predictor.load(
            tiny_run.run / "best.weights.h5", [f"detection.score={score}", "detection.verdict=false"]
        ).predict(image)

    every = predict(0)
    assert len(every) > 0
    middle = float(np.median(every.scores))
    some = predict(middle)
    assert len(some) == (every.scores >= middle).sum() and some.labels.max() == len(some)


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image.astype(np.uint16) * 257,
        lambda image: image / 255,
        lambda image: np.dstack([image, np.full_like(image[..., 0], 255)]),
    ],
    ids=["uint16", "float", "RGBA"],
)
def test_one_picture_in_any_type_is_one_prediction(predictor, image, change):
    crop = image[:70, :90]
    np.testing.assert_array_equal(predictor.predict(change(crop)).labels, predictor.predict(crop).labels)


@pytest.mark.parametrize("shape", [(1, 1), (7, 130), (65, 33)])
def test_any_height_and_width(predictor, shape):
    assert predictor.predict(np.full(shape, 200, np.uint8)).labels.shape == shape


def test_what_is_no_image_is_refused(predictor):
    with pytest.raises(InputError, match="shape"):
        predictor.predict(np.zeros((4, 4, 7), np.uint8))


def test_what_is_no_model_is_refused(tiny_run, tmp_path):
    with pytest.raises(InputError, match="nowhere.h5: no such weights file"):
        Predictor.load(tmp_path / "nowhere.h5")
    with pytest.raises(InputError, match="holds no run configuration"):
        Predictor.load(tiny_run.run / "cycle_1/classifier.weights.h5")
