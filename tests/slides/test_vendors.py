"""Slides of every scanner that OpenSlide knows and a test can write: pixels, size, resolution and origin."""

import re

import numpy as np
import openslide
import pytest
from drawn_slides import draw_blobs, shrink, write_svs
from vendor_slides import (
    CT,
    WHOLE_SLIDE,
    write_bif,
    write_dicom,
    write_mrxs,
    write_ndpi,
    write_philips,
    write_scn,
    write_trestle,
    write_vms,
    write_vmu,
)  # fmt: skip

from cyclic.errors import InputError
from cyclic.slides.finding import find_slides, holds_slides, is_slide
from cyclic.slides.folder import predict_slides
from cyclic.slides.opening import open_source
from cyclic.slides.predict import SlideOptions

IMAGE = draw_blobs(768, 1024)
IMAGE[256:384, 384:512] = 255  # as where nothing was scanned

# File: writer, vendor, step of the second level, how much a JPEG may change a value.
VENDORS = {
    "a.scn": (write_scn, "leica", 2, 0),
    "a.tiff": (write_philips, "philips", 2, 0),
    "a.tif": (write_trestle, "trestle", 2, 0),
    "a.bif": (write_bif, "ventana", 2, 0),
    "a.ndpi": (write_ndpi, "hamamatsu", 2, 4),
    "a.vms": (write_vms, "hamamatsu", 2, 4),
    "a.vmu": (write_vmu, "hamamatsu", 4, 0),
    "a.mrxs": (write_mrxs, "mirax", 2, 0),
    "dicom": (write_dicom, "dicom", 2, 0),
}


@pytest.mark.parametrize("name", VENDORS)
def test_the_scanned_part_of_every_vendors_slide_is_read(tmp_path, name):
    write, vendor, step, change = VENDORS[name]
    path = tmp_path / name
    write(path, IMAGE)
    assert openslide.OpenSlide.detect_format(path if path.is_file() else path / "0.dcm") == vendor
    assert is_slide(path) and [*find_slides(tmp_path).values()] == [path]
    slide = open_source(path)
    assert slide.levels[:2] == [(768, 1024), (768 // step, 1024 // step)]
    assert slide.steps[1] == (step, step) and slide.resolution.mpp == pytest.approx(0.25)
    np.testing.assert_allclose(slide.read(0, 100, 250, 400, 880), IMAGE[100:400, 250:880].astype(int), atol=change)
    coarse = shrink(IMAGE, step)[10:60, 20:130].astype(int)
    np.testing.assert_allclose(slide.read(1, 10, 20, 60, 130), coarse, atol=change)


def predict(slides, weights):
    options = SlideOptions(region=(0, 0, 300, 280), tissue="none")
    return predict_slides(slides, weights, weights.parent / "out", ("csv",), options)


def test_a_folder_of_dicom_files_is_one_slide_with_the_nuclei_of_the_same_pixels_elsewhere(tmp_path, weights):
    write_dicom(tmp_path / "case", IMAGE)
    (tmp_path / "case/._0.dcm").write_bytes(b"what macOS leaves")
    write_svs(tmp_path / "a.svs", IMAGE, compression=None)
    counts = predict(tmp_path / "case", weights)
    assert list(counts) == ["case"] and counts["case"] > 10
    predict(tmp_path / "a.svs", weights)
    assert (tmp_path / "out/case.csv").read_bytes() == (tmp_path / "out/a.csv").read_bytes()


def test_several_dicom_slides_lie_in_folders_of_their_own_or_in_one(tmp_path, weights):
    for name in ("b", "a"):
        write_dicom(tmp_path / "apart" / name, IMAGE, series=f"1.2.{ord(name)}")
        write_dicom(tmp_path / "together", IMAGE, series=f"1.2.{ord(name)}", prefix=name)
    write_svs(tmp_path / "together/c.svs", IMAGE)
    assert list(predict(tmp_path / "apart", weights)) == ["a", "b"]
    assert list(predict(tmp_path / "together", weights)) == ["a0", "b0", "c"]
    with pytest.raises(InputError, match=r"together: 2 DICOM slides in one folder \(a0\.dcm, b0\.dcm\)"):
        open_source(tmp_path / "together")


def test_a_dicom_file_that_changed_is_predicted_again(tmp_path, weights):
    write_dicom(tmp_path / "case", IMAGE)
    predict(tmp_path / "case", weights)
    write_dicom(tmp_path / "case", draw_blobs(768, 1024, seed=1))
    with pytest.warns(UserWarning, match="replaced by the new prediction"):
        predict(tmp_path / "case", weights)


@pytest.mark.parametrize("left", [0, 200])
def test_a_file_cut_within_its_header_does_not_make_the_slide_coarser_in_silence(tmp_path, left):
    write_dicom(tmp_path, IMAGE)
    finest = (tmp_path / "0.dcm").rename(tmp_path / "finest.dcm")
    finest.write_bytes(finest.read_bytes()[:left])
    with pytest.raises(InputError, match=r"finest\.dcm: OpenSlide cannot open it .*copy it again"):
        find_slides(tmp_path)


def test_what_is_wrong_with_a_dicom_slide_is_one_line_that_names_it(tmp_path, weights):
    for name in ("cut", "ct", "good"):
        write_dicom(tmp_path / "slides" / name, IMAGE, kind=CT if name == "ct" else WHOLE_SLIDE)
    cut = tmp_path / "slides/cut/0.dcm"
    cut.write_bytes(cut.read_bytes()[:30_000])
    assert holds_slides(tmp_path / "slides")
    with pytest.raises(InputError, match=r"^2 of 3 slides not predicted: ") as caught:
        predict(tmp_path / "slides", weights)
    for words in (
        r"ct/0\.dcm: OpenSlide cannot open it .*take it out of the folder",
        r"cut: cannot be read \(libdicom",
    ):
        assert re.search(words, str(caught.value)) and "\n" not in str(caught.value)
    assert (tmp_path / "out/good.csv").exists()
