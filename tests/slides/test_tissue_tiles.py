"""Tiles of slides for a person to answer: tissue alone, at one resolution, cut once."""

import numpy as np
import pytest
from drawn_slides import draw_blobs, write_ome, write_svs

from cyclic import cli
from cyclic.datasets.tile_folder import parse_tile_name
from cyclic.errors import InputError
from cyclic.images import read_image
from cyclic.slides.tissue_tiles import cut_tissue_tiles


def on_glass():
    """Blobs in the left upper quarter of a slide."""
    slide = np.full((400, 480, 3), 244, np.uint8)
    slide[:200, :240] = draw_blobs(200, 240, per_pixel=1 / 200)
    return slide


@pytest.fixture
def slides(tmp_path):
    (tmp_path / "slides").mkdir()
    write_svs(tmp_path / "slides/a.svs", on_glass(), mpp=0.25, compression=None)
    write_ome(tmp_path / "slides/b.ome.tif", on_glass(), mpp=0.5, levels=1)
    return tmp_path / "slides"


def test_tiles_are_tissue_and_their_pixels_those_of_the_slide(slides, tmp_path):
    counts = cut_tissue_tiles(slides / "a.svs", tmp_path / "tiles", size=40)
    paths = list((tmp_path / "tiles/unsorted").glob("*.png"))
    assert counts.unsorted == len(paths) >= 28 and counts.positive == counts.negative == 0
    for path in paths:
        name, y, x = parse_tile_name(path.stem)
        assert name == "a" and y % 40 == x % 40 == 0 and y < 240 and x < 280
        np.testing.assert_array_equal(read_image(path), on_glass()[y : y + 40, x : x + 40])


def test_tiles_of_all_slides_have_one_resolution(slides, tmp_path):
    cut_tissue_tiles(slides, tmp_path / "tiles", size=40)
    places = {}
    for path in (tmp_path / "tiles/unsorted").glob("*.png"):
        name, y, x = parse_tile_name(path.stem)
        places.setdefault(name, []).append((y, x))
    # The second slide's pixels are twice as large: its tissue is twice as high and wide in pixels of the tiles.
    assert 3 < len(places["b"]) / len(places["a"]) < 5 and max(places["b"])[0] > 300


def test_a_second_call_cuts_nothing_and_other_settings_are_refused(slides, tmp_path):
    first = cut_tissue_tiles(slides, tmp_path / "tiles", 40, count=7, seed=1)
    (tmp_path / "tiles/positive").mkdir()
    one = next((tmp_path / "tiles/unsorted").iterdir())
    one.rename(tmp_path / "tiles/positive" / one.name)
    again = cut_tissue_tiles(slides, tmp_path / "tiles", 40, count=7, seed=1)
    assert first.unsorted == 7 and again.reused and (again.positive, again.unsorted) == (1, 6)
    with pytest.raises(InputError, match="tiles of other images or settings"):
        cut_tissue_tiles(slides, tmp_path / "tiles", 40, count=8, seed=1)


def test_the_command_says_how_many_and_what_it_lacks(slides, tmp_path, capsys):
    for arguments, code, words in (
        (["--slides", slides, "--out", tmp_path / "tiles", "--count", "9"], 0, "9 to sort in unsorted/"),
        (["--slides", slides], 2, "Missing option '--out'"),
        ([], 2, "Missing option '--images' or '--slides'"),
    ):
        with pytest.raises(SystemExit) as left:
            cli.main(["tiles", *map(str, arguments)])
        assert left.value.code == code
        captured = capsys.readouterr()
        assert words in captured.out + captured.err


def test_slides_without_tissue_or_smaller_than_a_tile_are_named(tmp_path):
    write_svs(tmp_path / "glass.svs", np.full((300, 300, 3), 244, np.uint8))
    with pytest.raises(InputError, match=r"glass\.svs: no tissue found"):
        cut_tissue_tiles(tmp_path / "glass.svs", tmp_path / "tiles", 48)
    with pytest.raises(InputError, match=r"glass\.svs: 300 x 300 pixels, smaller than a tile"):
        cut_tissue_tiles(tmp_path / "glass.svs", tmp_path / "tiles", 301)
