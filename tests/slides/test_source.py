"""Opening slides of every layout: the same pixels and resolution from each, and one line for what cannot be read."""

import re

import numpy as np
import pytest
import tifffile
from drawn_slides import draw_blobs, shrink, write_ome, write_pyramid, write_svs

from cyclic.errors import InputError
from cyclic.files import write_image
from cyclic.label_maps import write_label_map
from cyclic.slides import openslide_source, source
from cyclic.slides.opening import open_source

IMAGE = draw_blobs(600, 900)
LOSSLESS = {"compression": "zlib"}


def write_strips(path, image, mpp=0.25, **options):
    density = {"resolution": (1e4 / mpp, 1e4 / mpp), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(path, image, photometric="rgb", rowsperstrip=7, **density, **options)


WRITERS = {
    "a.svs": (write_svs, {"compression": None}),
    "b.tif": (write_pyramid, LOSSLESS),
    "c.ome.tif": (write_ome, LOSSLESS),
    "d.tif": (write_strips, LOSSLESS),
    "e.tif": (write_pyramid, {"compression": "zstd"}),  # OpenSlide knows no zstd
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_layout_gives_the_pixels_and_the_resolution(tmp_path, name):
    write, options = WRITERS[name]
    write(tmp_path / name, IMAGE, **options)
    slide = open_source(tmp_path / name)
    assert slide.levels[0] == (600, 900) and slide.resolution.mpp == pytest.approx(0.25)
    np.testing.assert_array_equal(slide.read(0, 100, 250, 400, 880), IMAGE[100:400, 250:880])


@pytest.mark.parametrize(("name", "step"), [("a.svs", 4), ("b.tif", 2), ("c.ome.tif", 2)])
def test_coarser_levels_are_read_in_their_own_pixels(tmp_path, name, step):
    write, options = WRITERS[name]
    write(tmp_path / name, IMAGE, **options)
    slide = open_source(tmp_path / name)
    assert slide.levels[1] == (600 // step, 900 // step)
    expected = shrink(IMAGE, step)[10:60, 20:130]
    np.testing.assert_array_equal(slide.read(1, 10, 20, 60, 130), expected)


def test_a_plain_picture_is_read_as_well(tmp_path):
    write_image(tmp_path / "a.png", IMAGE)
    slide = open_source(tmp_path / "a.png")
    assert slide.levels == [(600, 900)] and slide.resolution.mpp is None
    np.testing.assert_array_equal(slide.read(0, 5, 6, 50, 60), IMAGE[5:50, 6:60])


def test_the_origin_is_the_corner_of_the_scanned_part_as_in_qupath(tmp_path, monkeypatch):
    write_svs(tmp_path / "a.svs", IMAGE, compression=None)

    class Framed(openslide_source.openslide.OpenSlide):
        """The slide as MIRAX has it: its tissue lies somewhere within an empty frame."""

        @property
        def properties(self):
            bounds = {"bounds-x": "120", "bounds-y": "80", "bounds-width": "640", "bounds-height": "400"}
            return dict(super().properties) | {f"openslide.{key}": value for key, value in bounds.items()}

    monkeypatch.setattr(openslide_source.openslide, "OpenSlide", Framed)
    slide = openslide_source.OpenSlideSource(tmp_path / "a.svs")
    assert slide.levels[:2] == [(400, 640), (100, 160)]
    np.testing.assert_array_equal(slide.read(0, 0, 0, 400, 640), IMAGE[80:480, 120:760])
    np.testing.assert_array_equal(slide.read(1, 10, 20, 90, 150), shrink(IMAGE, 4)[30:110, 50:180])


@pytest.mark.parametrize("mpp", [0.0001, 350.0])
def test_a_resolution_that_no_microscope_makes_is_ignored_with_a_word(tmp_path, mpp):
    write_svs(tmp_path / "a.svs", IMAGE, mpp=mpp)
    found = open_source(tmp_path / "a.svs").resolution
    assert found.mpp is None and "which no microscope makes" in found.ignored


@pytest.mark.parametrize("name", ["a.svs", "b.tif", "c.ome.tif"])
def test_a_slide_without_resolution_says_none(tmp_path, name):
    WRITERS[name][0](tmp_path / name, IMAGE, mpp=None)
    assert open_source(tmp_path / name).resolution == (None, "")


def cut_off(path):
    """Leave the first 60 percent of a file."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 6 // 10])


@pytest.mark.parametrize("name", WRITERS)
def test_a_truncated_file_is_named_in_one_line(tmp_path, name):
    write, options = WRITERS[name]
    noise = np.random.default_rng(0).integers(0, 255, (2100, 2100, 3), dtype=np.uint8)
    write(tmp_path / name, noise, **options)
    cut_off(tmp_path / name)
    with pytest.raises(InputError, match=re.escape(str(tmp_path / name))) as caught:
        slide = open_source(tmp_path / name)
        for level, (height, width) in enumerate(slide.levels):
            slide.read(level, 0, 0, height, width)
    assert "\n" not in str(caught.value)


def test_a_level_that_the_file_points_to_but_lacks_is_named(tmp_path):
    path = tmp_path / "a.ome.tif"
    write_ome(path, IMAGE, compression="zlib")
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tiff.pages.first.pages[1].tags["TileOffsets"].overwrite([10**9] * len(tiff.pages.first.pages[1].dataoffsets))
    with pytest.raises(InputError, match=r"a\.ome\.tif: cannot be read"):
        open_source(path).read(2, 0, 0, 150, 225)


def test_an_unsupported_compression_is_named(tmp_path):
    write_pyramid(tmp_path / "a.tif", IMAGE, levels=1, **LOSSLESS)
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as tiff:
        tiff.pages.first.tags["Compression"].overwrite(34999)
    with pytest.raises(InputError, match=r"a\.tif: cannot be read .*34999"):
        open_source(tmp_path / "a.tif").read(0, 0, 0, 10, 10)


def test_what_is_no_slide_is_named_with_the_cure(tmp_path):
    write_label_map(tmp_path / "labels.tif", np.ones((50, 50), int))
    (tmp_path / "a.txt").write_text("no slide")
    (tmp_path / "b.svs").write_text("no slide")
    (tmp_path / "c.tif").write_text("no slide")
    (tmp_path / "dicom").mkdir()
    for name, cure in {
        "labels.tif": "give the image itself",
        "a.txt": "not a slide or image",
        "b.svs": "OpenSlide cannot open it",
        "c.tif": "not a readable TIFF",
        "dicom": "no .dcm files",
        "missing.svs": "no such file",
    }.items():
        with pytest.raises(InputError, match=re.escape(cure)):
            open_source(tmp_path / name)


def test_without_openslide_the_message_says_how_to_get_it(tmp_path, monkeypatch):
    write_svs(tmp_path / "a.svs", IMAGE)

    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(source.importlib, "import_module", missing)
    with pytest.raises(InputError, match=r"a\.svs: needs openslide, .* pip install 'cyclic\[slides\]'"):
        open_source(tmp_path / "a.svs")
