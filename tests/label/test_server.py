"""The page's server: what it asks, what it keeps, and what it refuses."""

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from cyclic.config import load_config
from cyclic.datasets.answers import read_answers, training_answers
from cyclic.datasets.doubted_answers import write_doubted
from cyclic.datasets.layouts import open_splits
from cyclic.datasets.tile_folder import TileFolder, tile_name
from cyclic.datasets.tile_writing import Tile
from cyclic.errors import InputError
from cyclic.images import read_image
from cyclic.label.server import HOST, SHEET, create_app, make_server
from cyclic.label.session import open_session
from cyclic.runs.paths import RunPaths


@pytest.fixture
def session(tissue, tmp_path):
    return open_session(tissue, tmp_path / "answers.csv", "anna", size=32, stride=32)


@pytest.fixture
def client(session):
    return create_app(session).test_client()


def sheet(client):
    return client.get("/sheet").get_json()


def test_a_sheet_shows_tiles_without_an_answer(client, session):
    first = sheet(client)
    assert len(first["tiles"]) == SHEET and (first["size"], first["total"]) == (32, len(session.tiles))
    for tile in first["tiles"]:
        assert client.post("/answer", json={**tile, "size": 32, "answer": "skip"}).status_code == 200
    second = sheet(client)
    assert second["skip"] == SHEET and not any(tile in first["tiles"] for tile in second["tiles"])


def test_an_answer_is_on_disk_before_the_page_hears_of_it(client, session, tissue, tmp_path):
    tiles = sheet(client)["tiles"]
    for tile, word in zip(tiles, ("yes", "no", "skip"), strict=False):
        said = client.post("/answer", json={**tile, "size": 32, "answer": word}).get_json()
        assert read_answers(tmp_path / "answers.csv")[-1].answer == word
    assert (said["yes"], said["no"], said["skip"]) == (1, 1, 1) and "estimate" in said["advice"]
    undone = client.post("/undo", json={}).get_json()
    assert undone["undone"] == tiles[2] and undone["skip"] == 0 and sheet(client)["tiles"][0] == tiles[2]
    # A restarted server goes on with the same tiles.
    session.answers.close()
    again = create_app(open_session(tissue, tmp_path / "answers.csv", "anna", size=32, stride=32)).test_client()
    assert sheet(again)["tiles"][0] == tiles[2] and sheet(again)["yes"] == 1


def doubting_run(run, tissue, tiles, size=32, sets=(), time="2000-01-01T00:00:00+00:00"):
    """The files of a run that doubts these tiles."""
    paths = RunPaths(run)
    files = [Path(f"tiles/positive/{tile_name(tile.image_id, tile.y, tile.x)}.png") for tile in tiles]
    write_doubted(paths.doubted, TileFolder(files, np.ones(len(files), int)), 9)
    paths.config.write_text(yaml.safe_dump(load_config((), [f"tiles.size={size}"]).model_dump(mode="json")))
    events = [{"event": "data", "folders": [str(each) for each in sets or [tissue]]}]
    events.append({"event": "doubted_answers", "time": time})
    paths.log.write_text("".join(json.dumps(event) + "\n" for event in events))
    return run


def test_doubted_answers_are_asked_again_and_no_others(session, tissue, tmp_path):
    doubted, right = session.tiles[:3], session.tiles[3:9]
    for tile in [*doubted, *right]:
        session.answers.add(tile, "yes")
    session.answers.close()
    elsewhere = Tile("elsewhere", 0, 0)
    run = doubting_run(tmp_path / "run", tissue, [*doubted, elsewhere], time="9999-01-01T00:00:00+00:00")

    def again(size=48):  # the size is the run's
        return open_session(tissue, tmp_path / "answers.csv", "anna", size=size, stride=32, again=run)

    page = again()
    client = create_app(page).test_client()
    assert set(page.tiles) == set(page.sheet()) == set(doubted) and len(page.tiles) == 3
    said = sheet(client)
    assert (said["size"], said["total"], said["yes"], said["curve"], said["advice"]) == (32, 3, 0, [], "")
    # The earlier answers are not this page's to take back.
    assert client.post("/undo", json={}).get_json()["undone"] is None
    assert len(read_answers(tmp_path / "answers.csv")) == 9
    page.answers.close()
    # After a restart, what has been answered since is not asked again.
    doubting_run(run, tissue, [*doubted, elsewhere])
    page = again()
    client = create_app(page).test_client()
    assert page.sheet() == [] and sheet(client)["yes"] == 3
    undone = client.post("/undo", json={}).get_json()["undone"]
    assert Tile(undone["image"], undone["y"], undone["x"]) == page.sheet()[0] == doubted[2]
    page.answers.close()


@pytest.mark.parametrize("again", [False, True])
def test_answers_for_larger_images_are_named(session, tissue, tmp_path, again):
    session.answers.add(Tile("slide_1", 160, 0), "yes")
    session.answers.close()
    run = doubting_run(tmp_path / "run", tissue, session.tiles[:1]) if again else None
    message = "answers.csv: the tile at y=160, x=0 lies outside .*slide_1.png; give the images that were answered"
    for _ in range(2):  # the file was given free
        with pytest.raises(InputError, match=message):
            open_session(tissue, tmp_path / "answers.csv", "anna", size=32, stride=32, again=run)


def test_one_of_several_data_sets_is_asked_again_by_its_own_names(tissue, tmp_path):
    named = Tile(f"{tissue.name}__slide_1", 32, 64)
    run = doubting_run(tmp_path / "run", tissue, [named], sets=[tissue, tmp_path])
    page = open_session(tissue, tmp_path / "answers.csv", "anna", size=32, stride=32, again=run)
    assert page.tiles == [Tile("slide_1", 32, 64)]
    page.answers.close()


@pytest.mark.parametrize(
    ("tiles", "message"),
    [
        ([], "doubted_answers.json: no doubted answer for a tile of these images; leave out --again"),
        ([Tile("elsewhere", 0, 0)], "doubted_answers.json: no doubted answer for a tile of these images"),
        ([Tile("slide_0", 140, 0)], r"slide_0.png: the tile at y=140, x=0 lies outside; give the run's own images"),
        (None, "run: no run here; give the folder that cyclic train wrote to"),
    ],
)
def test_what_cannot_be_asked_again(tissue, tmp_path, tiles, message):
    run = tmp_path / "run" if tiles is None else doubting_run(tmp_path / "run", tissue, tiles)
    with pytest.raises(InputError, match=message):
        open_session(tissue, tmp_path / "answers.csv", "anna", size=32, stride=32, again=run)
    assert not (tmp_path / "answers.csv").exists()


def test_undo_without_an_answer_says_so(client):
    assert client.post("/undo", json={}).get_json()["undone"] is None


def test_a_tile_is_shown_in_its_surroundings(client, session, tissue):
    corner = next(tile for tile in session.tiles if (tile.y, tile.x) == (0, 0))
    asked = {"image": corner.image_id, "y": 0, "x": 0, "size": 32}
    shown = np.asarray(Image.open(io.BytesIO(client.get("/tile.png", query_string=asked).data)))
    image = read_image(tissue / f"{corner.image_id}.png")
    assert shown.shape == (64, 64, 3) and (shown[:16] == 255).all() and (shown[:, :16] == 255).all()
    np.testing.assert_array_equal(shown[16:, 16:], image[:48, :48])


def test_an_estimate_follows_from_enough_answers(client, session):
    for tile in session.tiles[:50]:
        light = session.image(tile.image_id)[tile.y : tile.y + 32, tile.x : tile.x + 32].mean()
        given = {"image": tile.image_id, "y": tile.y, "x": tile.x, "size": 32}
        word = "yes" if light < np.median(session.image(tile.image_id)) else "no"
        said = client.post("/answer", json={**given, "answer": word}).get_json()
    assert [point["answers"] for point in said["curve"]] == [12, 25, 50] and 0 < said["curve"][0]["alike"] <= 1
    assert "of the 50 answers" in said["advice"] and "Go on to 50 of each" in said["advice"]


@pytest.mark.parametrize(
    ("change", "status"),
    [({"answer": "maybe"}, 400), ({"y": "x"}, 400), ({"image": None}, 409), ({"y": 1}, 409), ({"size": 64}, 409)],
)
def test_an_answer_for_no_tile_of_this_session_is_refused(client, tmp_path, change, status):
    good = {**sheet(client)["tiles"][0], "size": 32, "answer": "yes"}
    assert client.post("/answer", json={**good, **change}).status_code == status
    assert client.post("/answer", json=["yes"]).status_code == 400
    assert read_answers(tmp_path / "answers.csv") == []


def test_other_sites_are_kept_out(client, tmp_path):
    tile = {**sheet(client)["tiles"][0], "size": 32, "answer": "yes"}
    # A form of another site sends no JSON; a name that leads here is not this host.
    assert client.post("/answer", data=tile).status_code == 415
    assert client.post("/undo", data={}).status_code == 415
    assert client.get("/sheet", headers={"Host": "evil.example"}).status_code == 400
    assert client.get("/sheet", headers={"Host": f"{HOST}:8765"}).status_code == 200
    assert read_answers(tmp_path / "answers.csv") == []
    assert "default-src 'none'" in client.get("/").headers["Content-Security-Policy"]


def test_what_cannot_be_written_is_told_to_the_page(client, session, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(session.answers, "add", full)
    answer = client.post("/answer", json={**sheet(client)["tiles"][0], "size": 32, "answer": "yes"})
    assert answer.status_code == 500 and "No space left on device" in answer.get_json()["error"]


def test_the_server_listens_on_this_machine_alone(session):
    server = make_server(session, 0)
    try:
        assert server.host == HOST == "127.0.0.1" and server.socket.getsockname()[0] == HOST
        with pytest.raises(InputError, match=f"port {server.port}: cannot be used"):
            make_server(session, server.port)
    finally:
        server.server_close()


def test_images_of_several_folders_are_named_with_their_folder(tissue, tmp_path):
    labs = [tmp_path / "near", tmp_path / "far"]
    for lab in labs:
        lab.mkdir()
        shutil.copy(tissue / "slide_0.png", lab)
    path = tmp_path / "answers.csv"
    client = create_app(open_session(labs, path, "anna", size=32, stride=32)).test_client()
    for number, tile in enumerate(sheet(client)["tiles"]):
        client.post("/answer", json={**tile, "size": 32, "answer": ("yes", "no")[number % 2]})
    # They train as they are, since training names images of several folders in the same way.
    found = training_answers([path], open_splits(labs)[0], 32)
    assert len(found) == SHEET and {line.tile.image_id for line in found} == {"near__slide_0", "far__slide_0"}
