"""What any image becomes before the networks see it."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from cyclic.errors import InputError
from cyclic.images import as_rgb, read_image

GREY = np.array([[0, 51], [102, 255]], np.uint8)
COLOUR = np.stack([GREY, GREY[::-1], GREY.T], axis=-1)


@pytest.mark.parametrize("image", [GREY, GREY[..., None]])
def test_grey_is_repeated(image):
    np.testing.assert_array_equal(as_rgb(image), np.stack([GREY] * 3, axis=-1))


def test_colour_stays():
    assert as_rgb(COLOUR).dtype == np.uint8
    np.testing.assert_array_equal(as_rgb(COLOUR), COLOUR)


@pytest.mark.parametrize(
    "image",
    [COLOUR.astype(np.uint16) * 257, COLOUR / 255, (COLOUR / 255).astype(np.float32)],
    ids=["uint16", "float64", "float32"],
)
def test_every_depth_means_the_same_picture(image):
    np.testing.assert_array_equal(as_rgb(image), COLOUR)


def test_bool_is_black_and_white():
    np.testing.assert_array_equal(as_rgb(GREY > 100)[..., 0], [[0, 0], [255, 255]])


@pytest.mark.parametrize("base", [GREY[..., None], COLOUR], ids=["grey", "colour"])
def test_the_white_page_shows_through(base):
    alpha = np.array([[0, 255], [51, 0]], np.uint8)[..., None]
    seen = as_rgb(np.concatenate([base, alpha], axis=-1))
    assert (seen[0, 0] == 255).all() and (seen[1, 1] == 255).all()
    np.testing.assert_array_equal(seen[0, 1], np.broadcast_to(base[0, 1], 3))
    np.testing.assert_array_equal(seen[1, 0], np.round(0.2 * base[1, 0] + 0.8 * 255) * np.ones(3))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((3, 4, 5), np.uint8), r"shape \(3, 4, 5\)"),
        (np.zeros((2, 3, 4, 3), np.uint8), "shape"),
        (np.zeros((0, 4, 3), np.uint8), "shape"),
        (np.zeros(5, np.uint8), "shape"),
        (np.zeros((4, 4), np.int32), "int32 pixels"),
        (np.zeros((4, 4), complex), "complex128 pixels"),
        (np.full((4, 4), 1.5), "values from 1.5 to 1.5"),
        (np.full((4, 4), -0.1), "values from -0.1"),
        (np.full((4, 4), np.nan), "values from nan"),
    ],
)
def test_anything_else_is_refused_by_name(image, message):
    with pytest.raises(InputError, match=f"^slide.png: {message}"):
        as_rgb(image, "slide.png")


# --- files ---


def write_tiff(path, pixels, **options):
    tifffile.imwrite(path, pixels, **options)
    return path


def write_picture(path, pixels, mode=None, **options):
    picture = Image.fromarray(pixels)
    (picture.convert(mode) if mode else picture).save(path, **options)
    return path


PHOTO = np.random.default_rng(0).integers(0, 255, (12, 10, 3), np.uint8)


@pytest.mark.parametrize(
    "options",
    [
        {"photometric": "rgb"},
        {"photometric": "rgb", "compression": "lzw"},
        {"photometric": "rgb", "compression": "zstd"},
        {"photometric": "rgb", "compression": "deflate", "tile": (16, 16)},
        {"photometric": "rgb", "metadata": {"axes": "YXS"}, "ome": True},
    ],
)
def test_tiffs_of_every_kind_hold_the_same_picture(tmp_path, options):
    np.testing.assert_array_equal(read_image(write_tiff(tmp_path / "a.tif", PHOTO, **options)), PHOTO)


@pytest.mark.parametrize(
    ("pixels", "options"),
    [
        (np.moveaxis(PHOTO, -1, 0), {"photometric": "rgb", "planarconfig": "separate"}),
        (np.moveaxis(PHOTO, -1, 0), {"ome": True, "metadata": {"axes": "CYX"}}),
        (np.moveaxis(PHOTO, -1, 0)[None], {"ome": True, "metadata": {"axes": "ZCYX"}}),
        (PHOTO[None], {"photometric": "rgb"}),
        (PHOTO.astype(np.uint16) * 257, {"photometric": "rgb"}),
        (np.dstack([PHOTO, np.full_like(PHOTO[..., 0], 255)]), {"photometric": "rgb", "extrasamples": ["unassalpha"]}),
        (np.dstack([PHOTO, np.zeros_like(PHOTO[..., 0])]), {"photometric": "rgb", "extrasamples": ["unspecified"]}),
    ],
    ids=["planar", "channel first", "one plane", "one page", "16 bits", "opaque", "a fourth channel that is no alpha"],
)
def test_the_order_of_axes_and_depth_do_not_matter(tmp_path, pixels, options):
    path = write_tiff(tmp_path / "a.tif", np.ascontiguousarray(pixels), **options)
    np.testing.assert_array_equal(read_image(path), PHOTO)


def test_jpeg_in_a_tiff(tmp_path):
    path = write_picture(tmp_path / "a.tif", np.full((32, 32, 3), (90, 55, 140), np.uint8), compression="jpeg")
    assert np.abs(read_image(path).astype(int) - (90, 55, 140)).max() <= 3


@pytest.mark.parametrize("kind", ["assocalpha", "unassalpha"])
def test_transparent_tiff_shows_the_white_page(tmp_path, kind):
    alpha = np.zeros((12, 10), np.uint8)
    alpha[:6] = 255
    colour = np.where(alpha[..., None] > 0, PHOTO, 0)
    path = write_tiff(tmp_path / "a.tif", np.dstack([colour, alpha]), photometric="rgb", extrasamples=[kind])
    image = read_image(path)
    np.testing.assert_array_equal(image[:6], PHOTO[:6])
    assert (image[6:] == 255).all()


def test_half_transparent_with_colours_already_multiplied(tmp_path):
    """Of 50 % black on white nothing is lost by the way that the file stores it."""
    pixels = np.zeros((4, 4, 4), np.uint8)
    pixels[..., :3], pixels[..., 3] = (51, 0, 26), 128
    associated = write_tiff(tmp_path / "a.tif", pixels, photometric="rgb", extrasamples=["assocalpha"])
    np.testing.assert_allclose(read_image(associated)[0, 0], np.array([51, 0, 26]) + 127, atol=1)


def test_white_is_zero_in_a_tiff(tmp_path):
    path = write_tiff(tmp_path / "a.tif", PHOTO[..., 0], photometric="miniswhite")
    np.testing.assert_array_equal(read_image(path)[..., 1], 255 - PHOTO[..., 0])


def test_palettes(tmp_path):
    indices = np.array([[0, 1], [2, 1]], np.uint8)
    table = np.zeros((3, 256), np.uint16)
    table[:, :3] = np.array([[255, 0, 10], [0, 255, 20], [0, 0, 30]]) * 257
    expected = np.array([[[255, 0, 0], [0, 255, 0]], [[10, 20, 30], [0, 255, 0]]])
    path = write_tiff(tmp_path / "a.tif", indices, photometric="palette", colormap=table)
    np.testing.assert_array_equal(read_image(path), expected)
    picture = Image.fromarray(indices).convert("P")
    picture.putpalette([255, 0, 0, 0, 255, 0, 10, 20, 30])
    picture.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), expected)
    picture.save(tmp_path / "b.png", transparency=1)
    assert (read_image(tmp_path / "b.png")[0, 1] == 255).all()


def test_pictures_of_every_mode(tmp_path):
    grey = PHOTO[..., 0]
    for name, mode in (("grey", None), ("LA", "LA")):
        path = write_picture(tmp_path / f"{name}.png", grey, mode)
        np.testing.assert_array_equal(read_image(path), np.stack([grey] * 3, axis=-1))
    path = write_picture(tmp_path / "one.png", grey > 100, None)
    np.testing.assert_array_equal(read_image(path)[..., 0], np.where(grey > 100, 255, 0))
    clear = np.dstack([np.zeros_like(PHOTO), np.zeros_like(grey)])
    assert (read_image(write_picture(tmp_path / "clear.png", clear)) == 255).all()


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_of_grey_are_not_white(tmp_path, suffix):
    ramp = np.linspace(0, 65535, 120).round().astype(np.uint16).reshape(12, 10)
    if suffix == "png":
        write_picture(tmp_path / "a.png", ramp)
    else:
        write_tiff(tmp_path / "a.tif", ramp)
    np.testing.assert_array_equal(read_image(tmp_path / f"a.{suffix}")[..., 2], np.round(ramp / 257))


def test_a_photo_is_turned_as_its_tag_asks(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    write_picture(tmp_path / "a.png", PHOTO, exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.rot90(PHOTO, -1))


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("a.tif", lambda path: write_tiff(path, np.stack([PHOTO] * 2)), "axes .* export one page"),
        ("a.tif", lambda path: write_tiff(path, np.zeros((5, 12, 10), np.uint8)), "export one page"),
        ("a.tif", lambda path: write_tiff(path, PHOTO.astype(np.int32), photometric="rgb"), "int32 pixels"),
        ("a.tif", lambda path: write_tiff(path, PHOTO.astype(np.float32), photometric="rgb"), "values from 0 to 2"),
        ("a.tif", lambda path: write_tiff(path, np.full((4, 4), np.nan, np.float32)), "values from nan"),
        (
            "a.tif",
            lambda path: write_tiff(path, np.dstack([PHOTO, PHOTO[..., 0]]), photometric="separated"),
            "CMYK colours",
        ),
        (
            "a.png",
            lambda path: Image.fromarray(PHOTO).save(path, save_all=True, append_images=[Image.fromarray(255 - PHOTO)]),
            "2 frames",
        ),
        ("a.png", lambda path: path.write_bytes(b"\x89PNG\r\n"), "not a readable image"),
        ("a.tif", lambda path: path.write_bytes(b""), "not a readable image"),
        ("none.png", lambda path: None, "no such file"),
    ],
)
def test_a_file_that_shows_no_single_picture_is_refused_by_name(tmp_path, name, write, message):
    write(tmp_path / name)
    with pytest.raises(InputError, match=message) as error:
        read_image(tmp_path / name)
    assert str(error.value).startswith(str(tmp_path / name)) and "\n" not in str(error.value).strip()


def test_the_official_monuseg_image_is_read(shared):
    (path,) = (shared / "data/monuseg_official/Tissue Images").glob("*.tif")
    image = read_image(path)
    assert image.shape == (1000, 1000, 3) and 100 < image.mean() < 240
