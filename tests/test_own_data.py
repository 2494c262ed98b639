"""docs/own_data.md, command by command, on tiny synthetic tissue."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from test_docs import ROOT, fenced_commands

from cyclic import cli
from cyclic.datasets.answers import NO, YES, read_answers
from cyclic.datasets.synthetic import draw_tissue
from cyclic.datasets.tile_folder import tile_name
from cyclic.files import read_json, write_image, write_json
from cyclic.label.server import create_app
from cyclic.stain import hematoxylin_map

TILES = ("--size", "32", "--stride", "32")
TINY = {
    "cycles": 1,
    "scale": 1,
    "classifier": {"steps": 2, "batch": 4},
    "mask_rcnn": {
        "width": [16, 16, 16, 16], "crop": 64, "batch": 1, "steps": 2, "rpn_anchors": 16, "rois": 4, "proposals": 16,
    },
    "detection": {"tile": 64, "overlap": 16, "proposals": 16, "max_instances": 8, "min_area": 1},
}  # fmt: skip
PAGE = ROOT / "docs/own_data.md"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with `images/` of tissue, and a home of its own; the tests run in it."""
    for number in range(2):
        write_image(tmp_path / "images" / f"slide_{number}.png", draw_tissue(np.random.default_rng(number), 128)[0])
    (tmp_path / "tiny.yaml").write_text(json.dumps(TINY))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def person(monkeypatch):
    """Answers on the page in place of a person: dark tiles are yes. `.count` tiles each time the command starts."""
    person = SimpleNamespace(count=14)

    def make_server(session, port):
        def serve_forever():
            client = create_app(session).test_client()
            for tile in client.get("/sheet").get_json()["tiles"][: person.count]:
                stain = hematoxylin_map(session.image(tile["image"]))
                dark = stain[tile["y"] : tile["y"] + 32, tile["x"] : tile["x"] + 32].mean() > np.median(stain)
                answer = {**tile, "size": 32, "answer": YES if dark else NO}
                assert client.post("/answer", json=answer).status_code == 200
            session.answers.close()

        return SimpleNamespace(host="127.0.0.1", port=port, serve_forever=serve_forever)

    monkeypatch.setattr("cyclic.label.server.make_server", make_server)
    return person


def run(arguments):
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    assert end.value.code == 0, arguments


def test_the_page_leads_from_a_folder_of_images_to_nuclei(folder, person, capsys, monkeypatch):
    commands, asked, curves = fenced_commands(PAGE), [], []
    # Three more trainings, tested elsewhere: which settings they get is enough.
    curve = [{"answers": 28, "tile_accuracy": 0.9, "error": 0.1, "alike": None}]
    monkeypatch.setattr("cyclic.cycle.learning_curve.learning_curve", lambda *given: curves.append(given) or curve)
    assert [command[0] for command in commands].count("label") == 6
    for command in commands:
        name = command[0]
        if "tiles.folder=tiles" in command:
            continue  # the test below
        if name == "tiles" and "tiles" in command[1:3]:
            for kind, path in zip(
                ("positive", "negative"), sorted((folder / "tiles/unsorted").iterdir()), strict=False
            ):
                (folder / "tiles" / kind).mkdir()
                path.rename(folder / "tiles" / kind / path.name)
        small = {"label": (*TILES, "--no-browser"), "train": ("--config", "tiny.yaml"), "tiles": TILES}
        more = () if "--merge" in command or ("--out" not in command) else small.get(name, ())
        if name == "predict":
            more = ("--format", "geojson")
        if "my-lab" in command and name == "predict":  # the same prediction again: which file it asks is enough
            monkeypatch.setattr("cyclic.inference.folder.predict_folder", lambda *given, **_: asked.append(given) or {})
        if "--again" in command:  # what two steps of training doubt is chance
            first = read_answers(folder / "answers.csv")[0]
            lines = [{"tile": tile_name(first.tile.image_id, first.tile.y, first.tile.x), "answer": first.answer}]
            write_json(folder / "run/doubted_answers.json", {"answers": 28, "doubted": lines})
        run([*command, *more])
    assert [(config.tiles.answers, config.tiles.size) for config, _ in curves] == [(["answers.csv"], 32)]
    assert [weights.name for _, weights, *_ in asked] == ["best.weights.h5"]
    answers = read_answers(folder / "answers.csv")
    assert len(answers) == 28 and {line.answer for line in answers} == {YES, NO}
    assert {line.who for line in read_answers(folder / "together.csv")} == {"anna+ben"}
    assert read_json(folder / "run/metrics.json")["rows"][-1]["source"] == "held_out_tiles"
    assert (folder / "run/report.html").is_file() and len(list((folder / "run/overlays").iterdir())) == 2
    assert {path.name for path in (folder / "results").glob("*.geojson")} == {"slide_0.geojson", "slide_1.geojson"}
    said = capsys.readouterr().out
    assert "my-lab" in said and "Cohen's kappa" in said and "1 positive and 1 negative tiles in tiles" in said


def test_sorted_tiles_of_the_page_are_those_that_train(folder, monkeypatch):
    ran = []
    monkeypatch.setattr("cyclic.cycle.loop.train", lambda config, *_, **__: ran.append(config) or [])
    (sort,) = [command for command in fenced_commands(PAGE) if "tiles.folder=tiles" in command]
    run(sort)
    assert ran[0].tiles.folder == "tiles"
