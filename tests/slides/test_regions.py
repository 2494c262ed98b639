"""Regions of slides are images to answer and to train on: tissue, at one resolution, cut once."""

from types import SimpleNamespace

import numpy as np
import pytest
from drawn_slides import draw_blobs, write_ome, write_svs

from cyclic import cli
from cyclic.datasets.answers import training_answers
from cyclic.datasets.layouts import open_splits
from cyclic.datasets.tile_answers import cut_answered
from cyclic.errors import InputError
from cyclic.files import read_json
from cyclic.images import read_image
from cyclic.label.server import create_app
from cyclic.slides.regions import cut_regions


def on_glass(height=420, width=500):
    """Blobs in the left half of a slide."""
    slide = np.full((height, width, 3), 244, np.uint8)
    slide[:, : width // 2] = draw_blobs(height, width // 2, per_pixel=1 / 200)
    return slide


@pytest.fixture
def slides(tmp_path):
    (tmp_path / "slides").mkdir()
    write_svs(tmp_path / "slides/a.svs", on_glass(), mpp=0.25, compression=None)
    write_ome(tmp_path / "slides/b.ome.tif", on_glass(), mpp=0.5, levels=1)
    return tmp_path / "slides"


def test_regions_are_full_of_tissue_and_their_slides_take_turns(slides, tmp_path):
    out = tmp_path / "regions"
    assert cut_regions(slides, out, count=8, side=100) == 8
    places = read_json(out / "tiles.json")["regions"]
    assert {path.stem for path in (out / "images").iterdir()} == set(places)
    assert sorted(place["slide"] for place in places.values()) == ["a.svs"] * 4 + ["b.ome.tif"] * 4
    for name, place in places.items():
        region, side = read_image(out / f"images/{name}.png"), 100 if place["slide"] == "a.svs" else 50
        assert region.shape == (100, 100, 3) and (place["height"], place["width"]) == (side, side)
        part = on_glass()[place["y"] : place["y"] + side, place["x"] : place["x"] + side]
        assert abs(region.mean() - part.mean()) < 2 and place["x"] < 250
    a = next(place | {"name": name} for name, place in places.items() if place["slide"] == "a.svs")
    pixels = on_glass()[a["y"] : a["y"] + 100, a["x"] : a["x"] + 100]
    np.testing.assert_array_equal(read_image(out / f"images/{a['name']}.png"), pixels)


def test_glass_is_left_out_but_a_little_tissue_is_better_than_none(slides, tmp_path):
    # Columns of 100 px: two of tissue, one half of tissue, and glass.
    assert cut_regions(slides / "a.svs", tmp_path / "all", count=99, side=100) == 12
    assert {place["x"] for place in read_json(tmp_path / "all/tiles.json")["regions"].values()} == {0, 100, 200}
    spot = np.full((420, 500, 3), 244, np.uint8)
    spot[230:255, 330:355] = draw_blobs(25, 25, per_pixel=1 / 50)
    write_svs(tmp_path / "spot.svs", spot, compression=None)
    assert cut_regions(tmp_path / "spot.svs", tmp_path / "few", count=99, side=100) == 1
    assert (tmp_path / "few/images/spot_200_300.png").is_file()


def test_a_second_call_cuts_nothing_and_other_settings_are_refused(slides, tmp_path):
    cut_regions(slides, tmp_path / "regions", count=2, side=100)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "regions/images").iterdir()}
    assert cut_regions(slides, tmp_path / "regions", count=2, side=100) == 2
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "regions/images").iterdir()}
    with pytest.raises(InputError, match="tiles of other images or settings"):
        cut_regions(slides, tmp_path / "regions", count=3, side=100)


def test_slides_without_tissue_or_smaller_than_a_region_are_named(tmp_path):
    write_svs(tmp_path / "glass.svs", np.full((300, 300, 3), 244, np.uint8))
    with pytest.raises(InputError, match=r"glass\.svs: no tissue found"):
        cut_regions(tmp_path / "glass.svs", tmp_path / "regions", side=100)
    with pytest.raises(InputError, match=r"glass\.svs: 300 x 300 pixels of 0.25 µm, smaller than a region of 1024"):
        cut_regions(tmp_path / "glass.svs", tmp_path / "regions")


def test_answers_for_a_slide_train_on_its_regions(slides, tmp_path, monkeypatch, capsys):
    def answer_all(session, port):
        def serve_forever():
            client = create_app(session).test_client()
            for number, tile in enumerate(client.get("/sheet").get_json()["tiles"]):
                client.post("/answer", json={**tile, "size": 32, "answer": ("yes", "no")[number % 2]})

        return SimpleNamespace(host="127.0.0.1", port=port, serve_forever=serve_forever)

    monkeypatch.setattr("cyclic.label.server.make_server", answer_all)
    monkeypatch.setattr("cyclic.label.session.cut_regions", lambda *given: cut_regions(*given, side=100))
    out = tmp_path / "answers.csv"
    with pytest.raises(SystemExit) as left:
        cli.main(["label", str(slides), "--out", str(out), "--size", "32", "--regions", "3", "--no-browser"])
    assert left.value.code == 0
    said = capsys.readouterr().out
    data = tmp_path / "answers_regions"
    assert f"regions of tissue are in {data}; train with --data {data}" in said and "20 answers" in said
    train, _ = open_splits(data)
    answers = training_answers([out], train, 32)
    counts = cut_answered(train, answers, tmp_path / "tiles")
    assert (counts.positive, counts.negative) == (10, 10)
    # An answered tile shows what its place in the slide does.
    places, slide = read_json(data / "tiles.json")["regions"], on_glass()
    tile = next(line.tile for line in answers if places[line.tile.image_id]["slide"] == "a.svs")
    y, x = places[tile.image_id]["y"] + tile.y, places[tile.image_id]["x"] + tile.x
    (path,) = (tmp_path / "tiles").rglob(f"{tile.image_id}_{tile.y}_{tile.x}.png")
    np.testing.assert_array_equal(read_image(path), slide[y : y + 32, x : x + 32])


def test_what_makes_no_sense_for_slides_is_refused(slides, tmp_path, capsys):
    (tmp_path / "plain").mkdir()
    for arguments, words in (
        ([slides, tmp_path / "plain"], "slides; give one slide, or one folder of slides, at a time"),
        ([tmp_path / "plain", "--regions", "3"], "no slides, and --regions and --mpp are for slides; leave them out"),
    ):
        with pytest.raises(SystemExit) as left:
            cli.main(["label", *map(str, arguments), "--out", str(tmp_path / "answers.csv")])
        assert left.value.code == 2 and words in capsys.readouterr().err
