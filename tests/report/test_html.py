"""The report page: what it shows of finished, unfinished and broken runs."""

import json
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
import yaml

from cyclic.cli import app
from cyclic.config import RunConfig
from cyclic.datasets.doubted_answers import write_doubted
from cyclic.datasets.monusac import MonusacDataset
from cyclic.datasets.synthetic import write_tissue_set
from cyclic.datasets.tile_folder import TileFolder
from cyclic.errors import InputError
from cyclic.evaluation.metrics import evaluate_pair
from cyclic.files import read_json, write_image, write_json
from cyclic.label_maps import read_label_map, write_label_map
from cyclic.report import doubts
from cyclic.report.html import _best_scores, score_images, write_report
from cyclic.report.layers import image_layers
from cyclic.runs.paths import RunPaths
from cyclic.runs.state import digests

VOID = {"meta", "link", "br", "input"}


class Outline(HTMLParser):
    """Keeps every start tag with its attributes, and what is open at the end."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def having(self, css):
        return [attrs for _, attrs in self.tags if css in (attrs.get("class") or "").split()]


@pytest.fixture(scope="module")
def text(fake_run, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    assert write_report(fake_run.run, fake_run.data, path) == path
    return path.read_text(encoding="utf-8")


@pytest.fixture
def run_copy(fake_run, tmp_path):
    shutil.copytree(fake_run.run, tmp_path / "run")
    return tmp_path / "run"


def captions(run, name, true):
    data = MonusacDataset(run.data)
    return [layer.name for layer in image_layers(RunPaths(run.run), name, data.image(name), true)]


def test_the_page_is_well_formed_with_unique_ids_and_living_links(text):
    page = Outline(text)
    assert page.open == []
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    links = [attrs["href"] for _, attrs in page.tags if attrs.get("href", "").startswith("#")]
    assert links and {link[1:] for link in links} <= set(ids)


def test_the_page_needs_no_network(text):
    page = Outline(text)
    sources = [attrs[key] for _, attrs in page.tags for key in ("href", "src", "srcset") if key in attrs]
    assert all(source.startswith(("#", "data:")) for source in sources)
    assert not re.search(r"https?://|url\(|@import", re.sub(r'"data:[^"]*"', "", text))
    assert len(text) < 2_000_000


def test_every_row_of_the_metrics_is_in_the_table(text, fake_run):
    body = re.search(r"<tbody>(.*?)</tbody>", text, re.S).group(1)
    rows = [re.findall(r"<t[hd].*?>(.*?)</t[hd]>", row, re.S) for row in re.findall(r"<tr.*?</tr>", body, re.S)]
    expected = read_json(fake_run.run / "metrics.json")["rows"]
    assert len(rows) == len(expected) == 9
    names = ["No-label baseline", "Activation map", "Pseudo masks", "Mask R-CNN, teacher"]
    assert [row[0] for row in rows][:4] == names
    for row, metrics in zip(rows, expected, strict=True):
        cells = [f"{metrics[name]:.3f}" if name in metrics else "–" for name in ("auc", "aji", "foreground_iou")]
        assert all(cell in shown for cell, shown in zip(cells, (row[3], row[4], row[-1]), strict=True))
    best = max(row["aji"] for row in expected if row["source"] == "model")
    assert f"<b>{best:.3f}</b>" in body


def test_the_headline_is_the_last_model_against_the_baseline(text, fake_run):
    rows = read_json(fake_run.run / "metrics.json")["rows"]
    gain = rows[-1]["aji"] - rows[0]["aji"]
    assert f'<span class="number">{rows[-1]["aji"]:.3f}</span>' in text and f"{gain:+.3f} vs. baseline" in text


def test_the_slider_goes_from_the_image_over_each_cycle_to_the_ground_truth(fake_run):
    cycles = [f"Cycle {c}: {part}" for c in (1, 2) for part in ("activation map", "pseudo masks", "prediction")]
    true = MonusacDataset(fake_run.data).label_map("val_000")
    assert captions(fake_run, "val_000", true) == ["Image", *cycles, "Errors", "Ground truth"]
    assert captions(fake_run, "train_000", None) == ["Image", *cycles]


def test_the_last_cycle_shows_the_last_round_that_saw_the_image(fake_run):
    image = MonusacDataset(fake_run.data).image
    notes = {
        name: image_layers(RunPaths(fake_run.run), name, image(name), None)[-1].note
        for name in ("val_000", "train_000")
    }
    assert "student 1" in notes["val_000"] and "teacher" in notes["train_000"]
    found = read_label_map(RunPaths(fake_run.run).cycle(2).round(1).prediction("val_000"))
    assert notes["val_000"].startswith(f"{len(np.unique(found)) - 1} nuclei")


def test_labels_of_training_images_are_never_read(fake_run, tmp_path, monkeypatch):
    read = []
    original = MonusacDataset.label_map
    monkeypatch.setattr(MonusacDataset, "label_map", lambda self, name: read.append(name) or original(self, name))
    write_report(fake_run.run, fake_run.data, tmp_path / "a.html")
    assert sorted(read) == ["val_000", "val_001", "val_002"]


def test_a_val_without_labels_shows_predictions_alone(fake_run, run_copy, tmp_path, monkeypatch):
    monkeypatch.setattr(MonusacDataset, "label_map", lambda *_: pytest.fail("labels read"))
    monkeypatch.setattr(MonusacDataset, "has_labels", lambda *_: False)
    page = write_report(run_copy, fake_run.data, tmp_path / "a.html").read_text()
    assert "Ground truth" not in page and 'id="ranking"' not in page and "Cycle 2: prediction" in page


def test_images_are_ranked_by_aji(text, fake_run):
    truths = {f"val_00{k}": MonusacDataset(fake_run.data).label_map(f"val_00{k}") for k in range(3)}
    scores = score_images(RunPaths(fake_run.run), truths)
    found = read_label_map(RunPaths(fake_run.run).cycle(2).round(1).prediction("val_001"))
    assert scores["val_001"] == evaluate_pair(truths["val_001"], found)
    shown = re.findall(r'<span class="id">(.*?)</span>', text)
    assert shown == sorted(scores, key=lambda name: -scores[name]["aji"])


def test_the_fewest_false_nuclei_are_the_best():
    model = {"source": "model", "cycle": 1, "round": 0}
    rows = [model | {"aji": aji, "false_per_mm2": false} for aji, false in ((0.4, 90.0), (0.5, 300.0))]
    best = _best_scores(rows)
    assert (best["aji"], best["false_per_mm2"]) == (0.5, 90.0)
    # Without empty tissue there is no figure, and old runs have none.
    assert _best_scores([model | {"aji": 0.4, "false_per_mm2": None}, *rows[:1]])["false_per_mm2"] == 90.0
    assert "false_per_mm2" not in _best_scores([model | {"aji": 0.4}])


def test_with_many_val_images_ten_best_and_ten_worst(tmp_path, run_copy, monkeypatch):
    monkeypatch.setattr("cyclic.report.html.RANKED", 1)
    write_tissue_set(tmp_path / "data", 2, 3, size=192)
    page = write_report(run_copy, tmp_path / "data", tmp_path / "a.html").read_text()
    aji = [float(value) for value in re.findall(r"AJI <b>(.*?)</b>, ", page)]
    every = sorted(float(value) for value in re.findall(r"AJI <b>(.*?)</b> ·", page))
    assert aji == [every[-1], every[0]] and 'start="3"' in page


def test_too_many_images_are_left_out_and_counted(fake_run, tmp_path, monkeypatch):
    monkeypatch.setattr("cyclic.report.html.MAX_VAL", 2)
    monkeypatch.setattr("cyclic.report.html.RANKED", 1)
    monkeypatch.setattr("cyclic.report.html.MAX_TRAIN", 1)
    page = write_report(fake_run.run, fake_run.data, tmp_path / "a.html").read_text()
    assert len(Outline(page).having("viewer")) == 3
    assert "Shown are 2 of 3 images, the best and the worst." in page and "Shown are the first 1 of 2." in page


def test_a_run_that_has_just_begun(fake_run, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text(yaml.safe_dump(RunConfig().model_dump(mode="json")))
    (run / "log.jsonl").write_text('{"time": "2025-01-02T03:04:05", "event": "start", "finished": 0}\n{"time": "20')
    page = write_report(run, fake_run.data).read_text()
    assert (run / "report.html").is_file()
    for words in ("Unfinished", "No Mask R-CNN has been scored yet", "No network has been trained yet", "val_002"):
        assert words in page
    assert '<g class="layer on" data-layer="0"' in page, "tissue first, not the ground truth"
    assert Outline(page).open == [] and len(Outline(page).having("viewer")) == 5


def test_a_run_stopped_in_its_second_cycle(fake_run, run_copy):
    for round_ in (0, 1):
        shutil.rmtree(RunPaths(run_copy).cycle(2).round(round_).root)
    finished = read_json(run_copy / "state.json")["finished"]
    write_json(run_copy / "state.json", {"finished": finished[: finished.index("cycle_2/round_0/train")]})
    with (run_copy / "log.jsonl").open("a") as log:
        log.write('{"time": "2025-01-02T04:00:00", "event": "stage_start", "stage": "cycle_2/round_0/train"}\n')
    page = write_report(run_copy, fake_run.data).read_text()
    assert "Running or stopped in: Cycle 2, teacher: training" in page and "Unfinished" in page
    assert "Cycle 2: pseudo masks" in page and "Cycle 2: prediction" not in page
    assert 'id="ranking"' in page, "cycle 1 has predicted every val image"


def test_a_run_without_its_scores_is_no_empty_table(fake_run, run_copy):
    (run_copy / "metrics.json").unlink()
    with pytest.raises(InputError, match=r"metrics\.json: missing, .*; cyclic train --resume makes it again"):
        write_report(run_copy, fake_run.data)
    write_json(run_copy / "metrics.json", {"rows": [], "seed": 3, "wall_s": {}})
    with pytest.raises(InputError, match=r"metrics\.json: .*lacks scores of finished stages"):
        write_report(run_copy, fake_run.data)


@pytest.mark.parametrize("content", [None, "[]", '{"finished": 3}', '{"stages": []}', "no"])
def test_a_run_without_its_state_is_named(fake_run, run_copy, content):
    (run_copy / "state.json").unlink() if content is None else (run_copy / "state.json").write_text(content)
    with pytest.raises(InputError, match=r"state\.json: (missing|not the state of a run).*; restore it"):
        write_report(run_copy, fake_run.data)


def test_what_is_missing_of_a_stage_is_named(fake_run, run_copy):
    """Pictures are; of weights, which the page does not show, it only warns."""
    state = read_json(run_copy / "state.json")
    cycle, weights = RunPaths(run_copy).cycle(1), RunPaths(run_copy).cycle(1).classifier
    weights.write_bytes(b"weights")
    state["files"] = {
        "cycle_1/classifier": digests(run_copy, [weights.relative_to(run_copy)]),
        "cycle_1/maps": digests(run_copy, [cycle.maps.relative_to(run_copy)]),
    }
    write_json(run_copy / "state.json", state)
    write_report(run_copy, fake_run.data)
    weights.unlink()
    with pytest.warns(UserWarning, match=r"classifier\.weights\.h5 is missing; cyclic train --resume makes it again"):
        write_report(run_copy, fake_run.data)
    cycle.map("train_001").unlink()
    with pytest.raises(InputError, match=r"maps/train_001\.png is missing; cyclic train --resume makes it again"):
        write_report(run_copy, fake_run.data)


def test_a_data_set_without_split_has_training_images_only(fake_run, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(fake_run.data, data)
    (data / "split.json").unlink()
    page = write_report(fake_run.run, data, tmp_path / "a.html").read_text()
    assert 'id="val"' not in page and "Ground truth" not in page and "Show 5 training images" in page


def test_the_data_set_is_where_the_run_read_it(fake_run, run_copy, tmp_path):
    with pytest.raises(InputError, match=r"not named in log\.jsonl; give its folder \(--data\)"):
        write_report(run_copy)
    for folder in ("moved away", fake_run.data):
        with (run_copy / "log.jsonl").open("a") as log:
            log.write(json.dumps({"time": "2025", "event": "data", "folder": str(folder)}) + "\n")
        if folder == "moved away":
            with pytest.raises(InputError, match="was at moved away; give its folder"):
                write_report(run_copy)
    expected = write_report(run_copy, fake_run.data, tmp_path / "a.html").read_text()
    assert write_report(run_copy).read_text() == expected


@pytest.mark.parametrize("most", [60, 1])
def test_doubted_answers_are_shown(fake_run, run_copy, monkeypatch, most):
    monkeypatch.setattr(doubts, "MOST", most)
    tiles = [run_copy / f"tiles/{kind}/train_000_{y}_8.png" for kind, y in (("positive", 0), ("negative", 16))]
    for path in tiles:
        write_image(path, np.zeros((16, 16, 3), np.uint8))
    gone = run_copy / "tiles/negative/train_000_99_8.png"
    write_doubted(RunPaths(run_copy).doubted, TileFolder([*tiles, gone], np.array([1, 0, 0])), 40)
    page = write_report(run_copy, fake_run.data).read_text()
    assert "contradict 3 answers" in page and f"Shown are {min(most, 2)} of 3." in page
    shown = re.findall(r'<li><img src="data:image/webp[^"]+" alt="Tile (\w+)"><b>(\w+)</b>', page)
    assert shown == [("train_000_16_8", "no"), ("train_000_0_8", "yes")][:most]


def test_a_run_that_doubts_nothing_says_nothing_of_it(text):
    assert 'id="doubts"' not in text


def test_losses_and_wall_times_are_drawn(text, fake_run):
    charts = re.findall(r'<svg viewBox="0 0 360 230" role="img" aria-label="(.*?)"', text)
    assert [chart.split(":")[0] for chart in charts[:3]] == ["AJI", "Dice", "PQ"]
    assert "cycle 2, student 1 from 1.000 to 0.500" in next(c for c in charts if c.startswith("Mask R-CNN"))
    assert any(chart.startswith("Classifier, cross-entropy: cycle 1 from 0.600 to 0.300") for chart in charts)
    total = sum(read_json(fake_run.run / "metrics.json")["wall_s"].values())
    assert f"{int(total // 60)} min {int(total % 60):02} s" in text and "Cycle 2, student 1: detection" in text


def test_losses_of_older_runs_have_another_name(text, run_copy, fake_run):
    log = (run_copy / "log.jsonl").read_text()
    assert '"event": "mask_rcnn"' in log
    (run_copy / "log.jsonl").write_text(log.replace('"event": "mask_rcnn"', '"event": "segmenter"'))
    assert charts_of(write_report(run_copy, fake_run.data).read_text()) == charts_of(text)


def charts_of(text):
    return re.findall(r'<svg viewBox="0 0 360 230".*?</svg>', text, re.S)


@pytest.mark.parametrize(
    ("areas", "shown"),
    [([0.875, 0.75], "activation map from 0.875 to 0.750; chance 0.500"), ([None, 0.5], "activation map 0.500")],
)
def test_maps_are_drawn_over_the_cycles(fake_run, run_copy, areas, shown):
    metrics = read_json(run_copy / "metrics.json")
    rows = [row for row in metrics["rows"] if row["source"] != "map"]
    rows += [{"source": "map", "cycle": cycle, "split": "val", "auc": area} for cycle, area in enumerate(areas, 1)]
    write_json(run_copy / "metrics.json", metrics | {"rows": rows})
    page = write_report(run_copy, fake_run.data).read_text()
    assert f"AUC of the activation map: {shown}" in page and "Is the map higher on nuclei" in page


def test_a_run_of_an_earlier_version_has_no_scores_of_maps(fake_run, run_copy):
    metrics = read_json(run_copy / "metrics.json")
    rows = [row for row in metrics["rows"] if row["source"] != "map"]
    write_json(run_copy / "metrics.json", metrics | {"rows": rows})
    page = write_report(run_copy, fake_run.data).read_text()
    assert "Is the map higher on nuclei" not in page and ">AUC</th>" not in page


def test_the_size_of_outlines_is_told_with_labels_too(text, fake_run, run_copy):
    metrics = read_json(run_copy / "metrics.json")
    sizes = {"source": "sizes", "cycle": 2, "round": 1, "split": "val", "size_ratio": 1.125}
    write_json(run_copy / "metrics.json", metrics | {"rows": [*metrics["rows"], sizes]})
    page = write_report(run_copy, fake_run.data).read_text()
    row = re.search(r'<tr class="sizes">.*?</tr>', page, re.S).group()
    assert "Outlines against the first pseudo masks, student 1" in row and "1.125" in row
    assert "raise <code>detection.mask_threshold</code>" in page and "no instance labels" not in page
    assert "Size ratio" not in text  # a run of an earlier version has none


def test_a_stage_that_ran_twice_shows_its_last_losses(fake_run, run_copy):
    event = {
        "time": "2025",
        "event": "classifier",
        "cycle": 1,
        "accuracy": 0.75,
        "f1": 0.5,
        "losses": [0.5, None, 0.25],
    }
    with (run_copy / "log.jsonl").open("a") as log:
        log.write(json.dumps(event) + "\n")
    page = write_report(run_copy, fake_run.data).read_text()
    assert "cycle 1 from 0.500 to 0.250" in page
    assert "cycle 1 accuracy 0.750, F1 0.500; cycle 2 accuracy 0.900" in page


def test_changed_settings_are_bold(text):
    assert re.search(r"<dt>seed</dt><dd><b>3</b></dd>", text)
    assert re.search(r"<dt>later_steps</dt><dd>600</dd>", text)


def test_strange_names_are_escaped(fake_run, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(fake_run.data, data)
    strange = "a \"<b>&' 1"
    for folder in ("images", "labels"):
        (data / folder / "train_001.png").rename(data / folder / f"{strange}.png")
    split = read_json(data / "split.json")
    write_json(data / "split.json", {**split, "train": ["train_000", strange]})
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text("{}")
    page = Outline(write_report(run, data).read_text())
    assert page.open == [] and strange in [attrs.get("aria-label") for _, attrs in page.tags]


def test_no_run(fake_run, tmp_path):
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(InputError, match="no run here"):
            write_report(folder, fake_run.data)


def test_the_data_set_of_another_run(fake_run, tmp_path):
    write_tissue_set(tmp_path / "few", 1, 1, size=96)
    with pytest.raises(InputError, match="no image train_001.*give this run's data set"):
        write_report(fake_run.run, tmp_path / "few")
    write_tissue_set(tmp_path / "small", 2, 3, size=96)
    with pytest.raises(InputError, match=r"train_000|val_000"):
        write_report(fake_run.run, tmp_path / "small", tmp_path / "a.html")


def test_a_broken_log(fake_run, run_copy):
    (run_copy / "log.jsonl").write_text("no json\n")
    with pytest.raises(InputError, match="log.jsonl"):
        write_report(run_copy, fake_run.data)


def test_command(fake_run, tmp_path, capsys):
    out = tmp_path / "sub" / "page.html"
    app(["report", str(fake_run.run), "--data", str(fake_run.data), "--out", str(out)], standalone_mode=False)
    assert capsys.readouterr().out.strip() == str(out) and out.is_file()


def test_outlines_follow_the_nuclei(fake_run, tmp_path):
    labels = np.zeros((192, 192), np.int32)
    labels[10:20, 30:60], labels[100, 100] = 1, 7
    write_label_map(RunPaths(tmp_path).cycle(1).round(0).prediction("x"), labels)
    layers = image_layers(RunPaths(tmp_path), "x", np.zeros((192, 192, 3), np.uint8), None)
    assert "M30 10l0 9 29 0 0-9z" in layers[1].drawing and "M100 100z" in layers[1].drawing
    assert layers[1].note == "2 nuclei found (teacher)."
