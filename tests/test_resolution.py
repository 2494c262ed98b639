"""The size of a pixel, as each kind of file says it, and what no microscope makes."""

import re

import numpy as np
import pytest
import tifffile
from PIL import Image

from cyclic.errors import InputError
from cyclic.label_maps import write_label_map
from cyclic.resolution import Resolution, check_mpp, enlargement, read_resolution, same

PIXELS = np.zeros((6, 8, 3), np.uint8)


def tiff(path, density=None, unit=None, **options):
    if density is not None:
        options |= {"resolution": (density, density) if np.isscalar(density) else density, "resolutionunit": unit}
    tifffile.imwrite(path, PIXELS, photometric="rgb", **options)
    return read_resolution(path)


@pytest.mark.parametrize(
    ("density", "unit", "mpp"),
    [
        (40_000, "CENTIMETER", 0.25),
        (101_600, "INCH", 0.25),
        (20_000, "CENTIMETER", 0.5),
        (4_000, "MILLIMETER", 0.25),
        ((40_000, 40_800), "CENTIMETER", 0.2476),  # 2 percent apart
        (1_000_000 / 252, "MILLIMETER", 0.252),
    ],
)
def test_resolution_tags_with_their_unit(tmp_path, density, unit, mpp):
    found = tiff(tmp_path / "a.tif", density, unit)
    assert found.mpp == pytest.approx(mpp, rel=1e-3) and found.ignored == ""


@pytest.mark.parametrize("side", [0.25, 0.5, 0.2274, 0.1])
def test_a_label_map_says_its_resolution(tmp_path, side):
    write_label_map(tmp_path / "a.tif", np.ones((4, 4), int), side)
    assert read_resolution(tmp_path / "a.tif").mpp == pytest.approx(side, rel=1e-6)
    write_label_map(tmp_path / "b.tif", np.ones((4, 4), int))
    assert read_resolution(tmp_path / "b.tif") == Resolution(None)


@pytest.mark.parametrize(
    ("density", "unit", "reason"),
    [
        (72, "INCH", "352.8 µm per pixel .72 dpi., which no microscope makes"),
        (96, "INCH", "96 dpi"),
        (300, "INCH", "300 dpi"),
        (118, "CENTIMETER", "300 dpi"),
        (300_000, "CENTIMETER", "0.03333 µm"),
        ((40_000, 20_000), "CENTIMETER", "0.25 x 0.5 µm per pixel, which is not square"),
    ],
)
def test_what_no_microscope_makes_is_ignored_with_a_word(tmp_path, density, unit, reason):
    found = tiff(tmp_path / "a.tif", density, unit)
    assert found.mpp is None
    assert re.search(reason, found.ignored)


@pytest.mark.parametrize(
    ("density", "unit"), [(None, None), ((1, 1), "NONE"), (40_000, "NONE"), ((0, 1), "CENTIMETER")]
)
def test_a_tiff_without_a_unit_or_a_density_says_nothing(tmp_path, density, unit):
    assert tiff(tmp_path / "a.tif", density, unit) == Resolution(None)


@pytest.mark.parametrize(
    ("description", "mpp"),
    [
        ("Aperio Image Library v10\r\n1000x1000 (256x256)|AppMag = 40|MPP = 0.2520|Left = 3", 0.252),
        ("Aperio Image Library v11.2.1\r\n46000x32914|AppMag = 20|MPP=0.4990", 0.499),
        ("Aperio Image Library v10|AppMag = 40", None),
        ("Aperio Image Library v10|MPP = unknown", None),
        ("made by hand, MPP = 0.25", None),
    ],
)
def test_the_description_of_aperio(tmp_path, description, mpp):
    assert tiff(tmp_path / "a.tif", description=description, metadata=None) == Resolution(mpp)


def test_aperio_says_it_better_than_the_tags(tmp_path):
    description = "Aperio Image Library v10|AppMag = 40|MPP = 0.2520"
    assert tiff(tmp_path / "a.tif", 72, "INCH", description=description, metadata=None).mpp == 0.252


@pytest.mark.parametrize(
    ("value", "unit", "mpp"),
    [(0.25, "µm", 0.25), (0.25, None, 0.25), (250, "nm", 0.25), (0.0005, "mm", 0.5), (2.5e-5, "cm", 0.25)],
)
def test_ome_with_its_unit(tmp_path, value, unit, mpp):
    sizes = {"PhysicalSizeX": value, "PhysicalSizeY": value}
    units = {} if unit is None else {"PhysicalSizeXUnit": unit, "PhysicalSizeYUnit": unit}
    metadata = {"axes": "YXS", **sizes, **units}
    assert tiff(tmp_path / "a.ome.tif", metadata=metadata).mpp == pytest.approx(mpp)


def test_ome_in_pixels_leaves_it_to_the_tags(tmp_path):
    metadata = {"axes": "YXS", "PhysicalSizeX": 1, "PhysicalSizeXUnit": "pixel", "PhysicalSizeY": 1}
    assert tiff(tmp_path / "a.ome.tif", metadata=metadata | {"PhysicalSizeYUnit": "pixel"}).mpp is None
    found = tiff(tmp_path / "b.ome.tif", 40_000, "CENTIMETER", metadata=metadata | {"PhysicalSizeYUnit": "pixel"})
    assert found.mpp == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("unit", "density", "mpp"),
    [("micron", 4, 0.25), ("um", 2, 0.5), ("\\u00B5m", 4, 0.25), ("mm", 4_000, 0.25), ("pixel", 4, None)],
)
def test_imagej_says_the_unit_in_its_description(tmp_path, unit, density, mpp):
    tifffile.imwrite(
        tmp_path / "a.tif", PIXELS, imagej=True, resolution=(density, density), metadata={"unit": unit, "axes": "YXS"}
    )
    assert read_resolution(tmp_path / "a.tif").mpp == (None if mpp is None else pytest.approx(mpp))


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp"])
def test_the_density_of_other_files_counts_where_it_is_plausible(tmp_path, suffix):
    for dpi, mpp in ((25_400 / 0.5, 0.5), (300, None), (96, None)):
        Image.fromarray(PIXELS).save(tmp_path / f"a.{suffix}", dpi=(dpi, dpi))
        found = read_resolution(tmp_path / f"a.{suffix}")
        assert found.mpp == (None if mpp is None else pytest.approx(mpp, rel=1e-3))
        assert bool(found.ignored) == (mpp is None)
    if suffix != "bmp":  # which always has one
        Image.fromarray(PIXELS).save(tmp_path / f"b.{suffix}")
        assert read_resolution(tmp_path / f"b.{suffix}") == Resolution(None)


def test_what_is_no_image_is_named(tmp_path):
    for name in ("a.tif", "a.png"):
        (tmp_path / name).write_bytes(b"nothing of the kind")
        with pytest.raises(InputError, match=f"{name}: not a readable image"):
            read_resolution(tmp_path / name)
    with pytest.raises(InputError, match="no such file"):
        read_resolution(tmp_path / "b.tif")


@pytest.mark.parametrize("mpp", [0, -0.25, float("nan"), float("inf")])
def test_a_stated_resolution_is_a_size(mpp):
    with pytest.raises(InputError, match="mpp .*: give the micrometres per pixel, over 0"):
        check_mpp(mpp, "mpp")
    with pytest.raises(InputError, match="give the micrometres per pixel"):
        enlargement(mpp, 0.25)


@pytest.mark.parametrize(
    ("mpp", "factor"), [(0.25, 1), (0.26, 1), (0.24, 1), (0.5, 2), (0.125, 0.5), (2.0, 8), (0.3, 1.2)]
)
def test_an_image_is_brought_to_the_models_resolution(mpp, factor):
    assert enlargement(mpp, 0.25) == pytest.approx(factor)
    assert same(mpp, 0.25) == (factor == 1)


@pytest.mark.parametrize("mpp", [2.01, 4.0, 0.031, 0.01])
def test_more_than_eight_times_is_refused(mpp):
    with pytest.raises(InputError, match=f"mpp {mpp:g}: more than 8 times from the model's 0.25.*--mpp"):
        enlargement(mpp, 0.25)
