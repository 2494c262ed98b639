"""Images of one and of four channels: trained, saved, loaded without conv1, and detected in."""

import numpy as np
import pytest
from tiny_model import OneImage, TinyConfig

from cyclic.errors import InputError
from cyclic.mrcnn.config import Config
from cyclic.mrcnn.layers.network import Network
from cyclic.mrcnn.model import MaskRCNN, load_image_gt


def config_of(channels, **settings):
    mean = np.full(channels, 120.0)
    return type("Channels", (TinyConfig,), {"IMAGE_CHANNEL_COUNT": channels, "MEAN_PIXEL": mean, **settings})()


class Channels(OneImage):
    """`OneImage` with grey alone, or with a fourth channel of its own."""

    def __init__(self, channels):
        super().__init__()
        fourth = np.full_like(self.image[..., :1], 40)
        self.image = np.concatenate([self.image, fourth], axis=-1)[..., :channels]


@pytest.mark.parametrize("channels", [1, 4])
def test_other_channels_train_and_detect(channels, tmp_path):
    config = config_of(channels, IMAGE_MIN_SCALE=1.5)
    model = MaskRCNN("training", config, network=Network(config))
    before = model.network.backbone.get_layer("conv1").kernel.numpy()
    assert before.shape == (7, 7, channels, 64)
    history = model.train(Channels(channels), None, learning_rate=0.01, epochs=1, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    assert (model.network.backbone.get_layer("conv1").kernel.numpy() != before).any(axis=(0, 1, 3)).all()

    padded = config_of(channels, IMAGE_RESIZE_MODE="pad64")
    inference = MaskRCNN("inference", padded, network=Network(padded))
    model.keras_model.save_weights(tmp_path / "channels.h5")
    assert not inference.load_weights(tmp_path / "channels.h5", by_name=True).missing
    inference.network.box_head.get_layer("mrcnn_class_logits").bias.assign([-2.0, 2.0])
    (found,) = inference.detect([Channels(channels).image])
    assert len(found["rois"]) and found["masks"].shape[:2] == (96, 96)
    image, meta, *_ = load_image_gt(Channels(channels), padded, 0)
    assert image.shape == (128, 128, channels) and meta[6] == channels
    (again,) = inference.detect_molded([image.astype("float32") - 120], meta[None])
    assert len(again["rois"])


def test_weights_for_rgb_load_without_the_first_layer(tmp_path):
    rgb, four = config_of(3), config_of(4)
    MaskRCNN("training", rgb, network=Network(rgb)).save_weights(tmp_path / "rgb.h5")
    model = MaskRCNN("inference", four, network=Network(four))
    with pytest.raises(InputError, match=r"layer conv1 has shapes \[\(7, 7, 3, 64\).*; exclude it"):
        model.load_weights(tmp_path / "rgb.h5", by_name=True)
    report = model.load_weights(tmp_path / "rgb.h5", by_name=True, exclude=["conv1"])
    assert report.excluded == ("conv1",) and not report.missing


def test_mean_pixel_of_another_length_is_refused():
    wrong = type("Wrong", (Config,), {"IMAGE_CHANNEL_COUNT": 4})
    with pytest.raises(InputError, match="^MEAN_PIXEL has 3 values and IMAGE_CHANNEL_COUNT = 4; give MEAN_PIXEL one"):
        wrong()
    with pytest.raises(InputError, match="MEAN_PIXEL has 1 values and IMAGE_CHANNEL_COUNT = 3"):
        type("Wrong", (Config,), {"MEAN_PIXEL": np.array([120.0])})()
    assert type("Scalar", (Config,), {"MEAN_PIXEL": 120.0})().IMAGE_SHAPE[2] == 3


def test_image_of_other_channels_is_refused_by_name():
    config = config_of(4, IMAGE_RESIZE_MODE="pad64")
    message = r"shape \(96, 96, 3\), and IMAGE_CHANNEL_COUNT = 4 needs \(height, width, 4\)"
    with pytest.raises(InputError, match=r"^disks\.png: " + message):
        load_image_gt(OneImage(), config, 0)
    model = MaskRCNN("inference", config, network=Network(config))
    with pytest.raises(InputError, match="^image 1: " + message):
        model.detect([Channels(4).image, OneImage().image])


def test_backbone_of_other_channels_is_refused():
    backbone = Network(config_of(3)).backbone
    with pytest.raises(InputError, match="the backbone takes 3 channels and IMAGE_CHANNEL_COUNT = 1; build"):
        Network(config_of(1), backbone)
