"""`Config`: values derived on construction, printing, and the choice of normalisation."""

import numpy as np
import pytest

from cyclic.errors import InputError
from cyclic.mrcnn.config import Config
from cyclic.mrcnn.layers.network import Network


class NucleusConfig(Config):
    NAME = "nucleus"
    GPU_COUNT = 2
    IMAGES_PER_GPU = 3
    NUM_CLASSES = 2
    IMAGE_MIN_DIM = 512
    IMAGE_MAX_DIM = 640


def test_derived_values_follow_the_overrides():
    config = NucleusConfig()
    assert config.BATCH_SIZE == 6
    assert config.IMAGE_SHAPE.tolist() == [640, 640, 3]
    assert config.IMAGE_META_SIZE == 14


def test_crop_mode_makes_images_of_the_minimum_side():
    config = type("CropConfig", (NucleusConfig,), {"IMAGE_RESIZE_MODE": "crop"})()
    assert config.IMAGE_SHAPE.tolist() == [512, 512, 3]


def test_to_dict_holds_every_setting_and_no_method():
    settings = NucleusConfig().to_dict()
    assert settings["NAME"] == "nucleus" and settings["BATCH_SIZE"] == 6 and settings["RPN_CHANNELS"] == 512
    assert list(settings) == sorted(settings)
    assert not any(name.startswith("_") or callable(value) for name, value in settings.items())
    np.testing.assert_array_equal(settings["MEAN_PIXEL"], [123.7, 116.8, 103.9])


def test_display_prints_name_and_value(capsys):
    NucleusConfig().display()
    printed = capsys.readouterr().out
    assert "Configurations:" in printed and "nucleus" in printed and "GRADIENT_CLIP_NORM" in printed


@pytest.mark.parametrize(
    ("norm", "train_bn", "expected"),
    [(None, False, "frozen"), (None, None, "batch"), (None, True, "batch"), ("group", False, "group")],
)
def test_norm_follows_train_bn_unless_set(norm, train_bn, expected):
    assert type("C", (Config,), {"NORM": norm, "TRAIN_BN": train_bn})().norm() == expected


def test_unknown_norm_is_refused():
    with pytest.raises(ValueError, match="layer.*batch, frozen, group"):
        type("C", (Config,), {"NORM": "layer"})().norm()


def test_rois_from_outside_are_refused():
    with pytest.raises(InputError, match="USE_RPN_ROIS = False: .*remove this setting"):
        type("Debug", (Config,), {"USE_RPN_ROIS": False})()


def test_more_gpus_make_a_larger_batch():
    assert type("Two", (Config,), {"GPU_COUNT": 2, "IMAGES_PER_GPU": 3})().BATCH_SIZE == 6


@pytest.mark.parametrize(
    ("setting", "value"),
    [("NUM_CLASSES", 0), ("RPN_ANCHOR_RATIOS", []), ("RPN_ANCHOR_SCALES", (8,)), ("IMAGE_MAX_DIM", 65)]
    + [("RPN_ANCHOR_SCALES", (16, 32, 64, 128)), ("BACKBONE_STRIDES", [4, 8, 16, 32])],
)
def test_a_setting_that_fits_no_network_is_named(setting, value):
    with pytest.raises(InputError, match=setting):
        Network(type("Wrong", (Config,), {setting: value})())
