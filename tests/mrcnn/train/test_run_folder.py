"""The folder of a run: whose checkpoint brings its epoch along."""

import pytest
from tiny_model import OneImage, TinyConfig, small_network

from cyclic.mrcnn.model import MaskRCNN
from cyclic.mrcnn.train.run_folder import RunFolder


@pytest.mark.parametrize("stamp", ["20200101T000000", "20200101T0000"])
def test_a_checkpoint_in_a_run_folder_goes_on(tmp_path, stamp):
    folder = RunFolder(tmp_path, "Tiny")
    path = tmp_path / f"tiny{stamp}" / "mask_rcnn_tiny_0040.h5"
    assert folder.adopt(path) == 40 and folder.log_dir == path.parent


@pytest.mark.parametrize("place", ["weights", "tiny", "tiny2020", "other20200101T000000", "."])
def test_a_copy_elsewhere_is_only_weights_to_start_from(tmp_path, place):
    folder = RunFolder(tmp_path / "logs", "Tiny")
    assert folder.adopt(tmp_path / place / "mask_rcnn_tiny_0040.h5") == 0
    assert folder.log_dir.parent == tmp_path / "logs"


def test_training_on_a_copy_elsewhere_begins_at_epoch_0(tmp_path):
    config = TinyConfig()
    model = MaskRCNN("training", config, str(tmp_path / "logs"), network=small_network(config))
    (tmp_path / "weights").mkdir()
    model.save_weights(tmp_path / "weights/mask_rcnn_tiny_0040.h5")
    model.load_weights(tmp_path / "weights/mask_rcnn_tiny_0040.h5")
    assert model.epoch == 0
    history = model.train(OneImage(), None, 1e-3, epochs=1, verbose=0)
    assert len(history.history["loss"]) == model.epoch == 1 and model.log_dir.parent == tmp_path / "logs"


def test_other_files_start_anew(tmp_path):
    folder = RunFolder(tmp_path, "Tiny")
    for path in (None, tmp_path / "tiny20200101T000000" / "mask_rcnn_coco.h5"):
        assert folder.adopt(path) == 0
