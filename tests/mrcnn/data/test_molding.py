"""Molding: the description of an image, the mean pixel, and what Matterport makes of the same image."""

import numpy as np
import pytest
from golden import golden_file, needs_parity

from cyclic.errors import InputError
from cyclic.mrcnn import utils
from cyclic.mrcnn.config import Config
from cyclic.mrcnn.data.molding import mold_images, read_meta


def test_meta_survives_the_round_trip():
    meta = utils.compose_image_meta(7, (100, 60, 3), (128, 128, 3), (14, 34, 114, 94), 1.5, [1, 0, 1])
    parsed = utils.parse_image_meta(meta[None])
    assert meta.shape == (15,) and parsed["image_id"].tolist() == [7]
    assert parsed["original_image_shape"].tolist() == [[100, 60, 3]]
    assert parsed["image_shape"].tolist() == [[128, 128, 3]] and parsed["window"].tolist() == [[14, 34, 114, 94]]
    assert parsed["scale"].tolist() == [1.5] and parsed["active_class_ids"].tolist() == [[1, 0, 1]]


def test_unmold_undoes_mold():
    image = np.random.default_rng(0).integers(0, 256, (100, 60, 3), dtype=np.uint8)
    molded = utils.mold_image(image, Config())
    assert molded.dtype == np.float32
    np.testing.assert_array_equal(utils.unmold_image(molded, Config()), image)


def test_an_image_that_is_in_no_list_is_refused():
    with pytest.raises(InputError, match=r"an array of shape \(9, 9, 3\): pass a list of images"):
        mold_images(np.zeros((9, 9, 3), np.uint8), Config())


@needs_parity
def test_molded_image_equals_matterports():
    golden = golden_file("infer")
    config = type("C", (Config,), {"MEAN_PIXEL": np.array([189.44, 136.76, 169.23]), "NUM_CLASSES": 2})()
    resized, window, scale, _, _ = utils.resize_image(golden["image"], 256, 256, 0, "square")
    np.testing.assert_array_equal(utils.mold_image(resized, config), golden["molded"][0].astype(np.float32))
    meta = utils.compose_image_meta(0, golden["image"].shape, resized.shape, window, scale, golden["meta"][0, 12:])
    np.testing.assert_array_equal(meta, golden["meta"][0])
    assert window == tuple(golden["window"][0])


def test_one_part_of_a_meta_keeps_its_type():
    meta = utils.compose_image_meta(7, (100, 60, 3), (128, 128, 3), (14, 34, 114, 94), 1.5, [1, 0, 1]).astype("float32")
    window = read_meta(meta[None], "window")
    assert window.tolist() == [[14, 34, 114, 94]] and window.dtype == np.float32
    assert read_meta(meta[None], "scale").tolist() == [[1.5]]
    assert read_meta(meta[None], "active_class_ids").tolist() == [[1, 0, 1]]
