"""The folder of a run: whose checkpoint brings its epoch along."""

import pytest

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


def test_other_files_start_anew(tmp_path):
    folder = RunFolder(tmp_path, "Tiny")
    for path in (None, tmp_path / "tiny20200101T000000" / "mask_rcnn_coco.h5"):
        assert folder.adopt(path) == 0
