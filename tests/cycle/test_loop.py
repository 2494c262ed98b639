"""The stages of a run in order, what each reads, and that a kill anywhere loses nothing that was finished.

The networks are stood in for by three numbers, so that a whole run takes a fraction of a second; the real ones run in
`test_real_run.py`.
"""

import json
import pathlib
import shutil
import types
import warnings

import numpy as np
import pytest
import scipy.ndimage as ndi

from cyclic.classifier.doubt import FOLDS
from cyclic.classifier.training import ClassifierReport
from cyclic.config import load_config
from cyclic.cycle import checks, loop, tile_training
from cyclic.cycle import context as context_module
from cyclic.cycle.stages import answers as answers_stage
from cyclic.cycle.stages import classifier, detections, finish, maps, pseudo_masks
from cyclic.datasets.monusac import MonusacDataset
from cyclic.datasets.synthetic import write_tissue_set
from cyclic.datasets.tile_folder import load_tiles, negative_areas
from cyclic.errors import InputError
from cyclic.evaluation.auc import auc
from cyclic.evaluation.empty_tissue import false_per_mm2
from cyclic.files import atomic_path, read_json, write_image, write_json
from cyclic.images import read_image, read_map
from cyclic.label_maps import read_label_map
from cyclic.pseudo.candidates import find_candidates
from cyclic.pseudo.masks import load_pseudo_masks
from cyclic.pseudo.select import pseudo_masks_of_one_image
from cyclic.report.html import write_report
from cyclic.runs.directory import data_folders
from cyclic.runs.state import SCORING
from cyclic.stain import hematoxylin_map

SETTINGS = ("cycles=2", "rounds.students=1", "tiles.size=32", "tiles.stride=24", "classifier.batch=4")
STAGES = ["tiles", "baseline"]
for _cycle in (1, 2):
    STAGES += [f"cycle_{_cycle}/{name}" for name in ("classifier", "maps", "map_scores", "pseudo", "pseudo_scores")]
    STAGES += [f"cycle_{_cycle}/round_{r}/{name}" for r in (0, 1) for name in ("train", "detect", "scores")]
    STAGES.append(f"cycle_{_cycle}/agreement")
STAGES.append("finish")


class Killed(BaseException):
    """Stands for a kill: nothing in the code under test may catch it."""


class FakeModels:
    """Three numbers in place of the weights of backbone, classifier heads and Mask R-CNN heads."""

    def __init__(self, config):
        self.config = config
        self.values = {"backbone": 0.0, "classifier": 0.0, "mask_rcnn": 0.0}
        self.seed = 0
        self.classifier = self.detector = self

    def get_weights(self):
        return dict(self.values)

    def set_weights(self, values):
        self.values = dict(values)

    def load(self, *paths):
        for path in paths:
            values = json.loads(pathlib.Path(path).read_text())
            self.values.update(values.get("model", values))  # a finished file holds both networks

    def _save(self, path, *names):
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps({name: self.values[name] for name in names}))

    def save_classifier(self, path):
        self._save(path, "backbone", "classifier")

    def save_mask_rcnn(self, path):
        self._save(path, "backbone", "mask_rcnn")

    def load_own_classifier(self, path):
        self.values["classifier"] = json.loads(pathlib.Path(path).read_text())["classifier"]["classifier"]

    def load_judge(self, path):
        return FakeJudge(json.loads(pathlib.Path(path).read_text())["classifier"])

    def trainer(self, seed, steps_per_epoch):
        self.seed = seed
        return self

    def take_trained(self, trainer):
        assert trainer is self

    def train(self, dataset, val_dataset, learning_rate, epochs, augmentation, custom_callbacks, verbose):
        """Every number that may differ after a restart enters the weights."""
        masks = sum(int(dataset.load_label_map(i).astype(bool).sum()) for i in dataset.image_ids)
        ignored = sum(int(dataset.load_ignore(i).sum()) for i in dataset.image_ids)
        trace = masks / 1e6 + ignored / 1e7 + self.seed / 2**31 / 100
        self.values["backbone"] += 10 + trace
        self.values["mask_rcnn"] += 1
        return types.SimpleNamespace(history={"loss": [1.0]})


class FakeJudge:
    """Calls every tile empty where the classifier has been trained as often as `strict` says."""

    strict = None

    def __init__(self, trained):
        self.empty = trained == self.strict

    def predict_on_batch(self, tiles):
        return np.repeat([[9.0, -9.0] if self.empty else [-9.0, 9.0]], len(tiles), axis=0)


def fake_write_finished(path, model, classifier):
    files = {"model": model, "classifier": classifier}
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps({key: json.loads(file.read_text()) for key, file in files.items() if file}))


def fake_train_classifier(model, train_data, val_data, steps, *_, **__):
    model.values["backbone"] += 1 + float(train_data[0][0].mean()) / 1e6
    model.values["classifier"] += 1
    return ClassifierReport(1.0, 1.0, (0.5,), steps, agreeing(val_data))


def agreeing(data):
    """Return log-odds that agree with every answer."""
    return np.concatenate([data[index][1] for index in range(len(data))]) * 2.0 - 1


def fake_activation_map(classifier, image, *_, **__):
    if classifier.values["classifier"] == FakeJudge.strict:
        return np.zeros(image.shape[:2], np.float32)
    return hematoxylin_map(image) * np.float32(0.8 + 0.1 * np.sin(classifier.values["backbone"]))


def fake_detect(model, image, settings, scale):
    labels, count = ndi.label(hematoxylin_map(image) > 0.5 + 0.1 * np.sin(model.values["backbone"]))
    return labels.astype(np.int32), np.linspace(0.99, 0.2, count).astype(np.float32)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    write_tissue_set(root, 2, 1, size=160)
    return root


@pytest.fixture
def watch(monkeypatch):
    """Replace the networks; `watch.ran` lists the stages that ended, `watch.kill` names the one to kill and its write.

    `watch.reads` are the (stage, image id) of every reading of instance labels.
    """
    seen = types.SimpleNamespace(stage=None, writes=0, ran=[], reads=set(), kill=(None, 0))
    plan, label_map, replace = loop.plan, MonusacDataset.label_map, pathlib.Path.replace

    def watched_plan(context):
        for stage in plan(context):

            def watched(stage=stage):
                seen.stage, seen.writes = stage.key, 0
                stage.run()
                seen.ran.append(stage.key)

            yield stage._replace(run=watched)

    def watched_replace(path, target):
        """Every file of a run appears by a rename: kill in place of the n-th one."""
        stage, write = seen.kill
        if seen.stage is not None and seen.stage == stage:
            if seen.writes == write:
                raise Killed
            seen.writes += 1
        return replace(path, target)

    def watched_label_map(dataset, image_id):
        seen.reads.add((seen.stage, image_id))
        return label_map(dataset, image_id)

    monkeypatch.setattr(loop, "plan", watched_plan)
    monkeypatch.setattr(pathlib.Path, "replace", watched_replace)
    monkeypatch.setattr(MonusacDataset, "label_map", watched_label_map)
    monkeypatch.setattr(context_module, "Models", FakeModels)
    monkeypatch.setattr(tile_training, "train_classifier", fake_train_classifier)
    monkeypatch.setattr(maps, "activation_map", fake_activation_map)
    monkeypatch.setattr(detections, "detect", fake_detect)
    monkeypatch.setattr(finish, "write_finished", fake_write_finished)
    return seen


def settings(*more):
    return load_config((), (*SETTINGS, *more))


def values(run, *parts):
    return json.loads(run.joinpath(*parts).read_text())


def test_stages_in_order(data, tmp_path, watch):
    loop.train(settings(), data, tmp_path / "run")
    assert watch.ran == STAGES


def test_two_data_sets_train_one_model(data, tmp_path, watch):
    write_tissue_set(tmp_path / "more", 1, 1, size=160)
    sets = [data, tmp_path / "more"]
    loop.train(settings("cycles=1"), sets, tmp_path / "run")
    expected = {f"{folder.name}__{name}" for folder, n in zip(sets, (2, 1), strict=True) for name in _ids(n)}
    assert {path.stem for path in (tmp_path / "run/cycle_1/maps").iterdir()} == expected
    assert {name.partition("__")[0] for name in values(tmp_path / "run", "data.json")["val"]} == {data.name, "more"}
    assert data_folders(tmp_path / "run") == sets
    with pytest.raises(InputError, match=rf"more: image {data.name}__train_000 was in 'train' when the run began"):
        loop.train(settings("cycles=1"), sets[1:], tmp_path / "run", resume=True)


def _ids(n):
    return [*(f"train_{k:03}" for k in range(n)), "val_000"]


@pytest.fixture
def trained(data, tmp_path, watch, monkeypatch):
    """The finished weights of a run of one cycle."""
    monkeypatch.setattr(checks, "check_start", lambda path, config: None)
    loop.train(settings("cycles=1"), data, tmp_path / "before")
    watch.ran.clear()
    watch.reads.clear()
    return tmp_path / "before/best.weights.h5"


def test_a_run_goes_on_from_a_trained_model(data, trained, tmp_path, watch):
    rows = loop.train(settings("cycles=1", f"start={trained}"), data, tmp_path / "run")
    before = ["cycle_0/start", "cycle_0/maps", "cycle_0/round_1/detect", "cycle_0/map_scores", "cycle_0/round_1/scores"]
    assert watch.ran == ["baseline", *before, *[key for key in STAGES if key.startswith("cycle_1")], "finish"]
    first = [row for row in read_json(tmp_path / "before/metrics.json")["rows"] if row["source"] == "model"][-1]
    assert [row for row in rows if row["cycle"] == 0 and row["source"] == "model"] == [{**first, "cycle": 0}]
    # No answers, so the classifier stays and no instance label of a training image is read.
    run = tmp_path / "run"
    assert values(run, "cycle_1/classifier.weights.h5") == values(run, "cycle_0/classifier.weights.h5")
    assert {name for _, name in watch.reads} == {"val_000"}
    # The teacher goes on from the model, and learns from what it was sure of.
    assert values(run, "cycle_1/round_0/model.weights.h5")["mask_rcnn"] == values(trained)["model"]["mask_rcnn"] + 1
    assert not np.array_equal(
        load_pseudo_masks(run / "cycle_1/pseudo", "train_000").labels,
        load_pseudo_masks(tmp_path / "before/cycle_1/pseudo", "train_000").labels,
    )


def test_a_model_that_goes_on_learns_from_a_few_answers(data, trained, tmp_path, watch):
    answers = tmp_path / "before/tiles"
    loop.train(settings("cycles=1", f"start={trained}", f"tiles.folder={answers}"), data, tmp_path / "run")
    now, before = (values(tmp_path / "run", f"cycle_{c}/classifier.weights.h5")["classifier"] for c in (1, 0))
    assert watch.ran[0] == "tiles" and now == before + 1
    assert {name for _, name in watch.reads} == {"val_000"}


def test_a_doubted_answer_trains_nothing_and_marks_no_background(data, tmp_path, watch, monkeypatch):
    learnt, background = [], {}

    def judge(*given):
        """Contradicts the first no of each fold."""
        report = tile_training.learn(*given)
        report.log_odds[report.log_odds.argmin()] = 2
        return report

    def learn(model, config, training, *folders_and_more):
        learnt.extend(path.stem for folder in folders_and_more[:2] for path in folder.paths)
        return tile_training.learn(model, config, training, *folders_and_more)

    def find(image, activation, config, area=None):
        background[len(background)] = area
        return find_candidates(image, activation, config, area)

    monkeypatch.setattr(answers_stage, "learn", judge)
    monkeypatch.setattr(classifier, "learn", learn)
    monkeypatch.setattr(pseudo_masks, "find_candidates", find)
    loop.train(settings("cycles=1"), data, tmp_path / "run", until="pseudo-masks")
    written, tiles = read_json(tmp_path / "run/doubted_answers.json"), load_tiles(tmp_path / "run/tiles")
    doubted = {line["tile"] for line in written["doubted"] if line["answer"] == "no"}
    assert written["answers"] == len(tiles.paths) and len(written["doubted"]) == len(doubted) == FOLDS
    assert sorted([*learnt, *doubted]) == sorted(path.stem for path in tiles.paths)
    shapes = {name: (160, 160) for name in ("train_000", "train_001")}
    expected = negative_areas(tmp_path / "run/tiles", shapes, doubted)
    whole = negative_areas(tmp_path / "run/tiles", shapes)
    assert any((expected[name] != whole[name]).any() for name in shapes)
    for index, name in enumerate(shapes):
        np.testing.assert_array_equal(background[index], expected[name])


def test_rows_tell_baseline_pseudo_masks_and_every_round(data, tmp_path, watch):
    rows = loop.train(settings(), data, tmp_path / "run")
    of_cycle = [("map", None), ("pseudo_masks", 0), ("model", 0), ("model", 1), ("sizes", 0), ("sizes", 1)]
    assert [(row["source"], row["cycle"], row.get("round")) for row in rows] == [
        ("no_label_baseline", 0, 0),
        *[(source, cycle, round_) for cycle in (1, 2) for source, round_ in of_cycle],
    ]
    metrics = read_json(tmp_path / "run/metrics.json")
    assert metrics["rows"] == rows and metrics["seed"] == 0 and list(metrics["wall_s"]) == STAGES
    for row in rows:
        assert row["split"] == "val"
        metrics = {"aji", "aji_plus", "dice", "dice2", "dq", "sq", "pq", "f1", "foreground_iou"}
        assert {"map": {"auc"}, "sizes": {"size_ratio"}}.get(row["source"], metrics) <= row.keys()
        assert all(0 <= row[metric] <= 1 for metric in {"auc", *metrics} & row.keys())


def test_maps_are_scored_by_their_pixels_on_val(data, tmp_path, watch):
    rows = loop.train(settings(), data, tmp_path / "run")
    true = MonusacDataset(data, "val").label_map("val_000")
    areas = [auc(read_map(tmp_path / f"run/cycle_{cycle}/maps/val_000.png"), true > 0) for cycle in (1, 2)]
    expected = [{"source": "map", "cycle": c, "split": "val", "auc": area} for c, area in enumerate(areas, 1)]
    assert [row for row in rows if row["source"] == "map"] == expected and areas[0] > 0.5


def test_an_auc_that_no_val_image_has_is_null(data, tmp_path, watch, monkeypatch):
    empty = np.zeros((160, 160), np.int32)
    read = MonusacDataset.label_map
    monkeypatch.setattr(MonusacDataset, "label_map", lambda d, name: empty if name[:3] == "val" else read(d, name))
    rows = loop.train(settings("cycles=1"), data, tmp_path / "run")
    assert [row["auc"] for row in rows if row["source"] == "map"] == [None]


def without(run, stage, source):
    """Make of a finished run one of an earlier version, which had no such stages and no such rows."""
    state = read_json(run / "state.json")
    missing = [key for key in state["finished"] if key.endswith(stage)]
    for key in missing:
        del state["seconds"][key], state["files"][key]
    state["finished"] = [key for key in state["finished"] if key not in missing]
    state["rows"] = [row for row in state["rows"] if row["source"] != source]
    write_json(run / "state.json", state)
    write_json(run / "metrics.json", {"rows": state["rows"], "seed": 0, "wall_s": state["seconds"]})
    return state


@pytest.mark.parametrize(("stage", "source"), [("map_scores", "map"), ("agreement", "sizes")])
def test_an_earlier_finished_run_gets_new_scores_and_nothing_is_run_again(
    data, finished, watch, whole_run, stage, source
):
    without(finished, stage, source)
    rows = loop.train(settings(), data, finished, resume=True)
    assert watch.ran == [f"cycle_1/{stage}", f"cycle_2/{stage}"]
    assert sorted(rows, key=str) == sorted(whole_run.outcome["rows"], key=str)
    watch.ran.clear()
    assert loop.train(settings(), data, finished, resume=True) == rows and watch.ran == []


def test_maps_that_an_earlier_run_lost_are_not_scored(data, finished, watch):
    state = without(finished, "map_scores", "map")
    write_json(finished / "state.json", {key: state[key] for key in ("finished", "seconds", "rows")})
    (finished / "cycle_1/maps/val_000.png").unlink()
    with pytest.warns(UserWarning, match="val_000.png: missing, so the maps of cycle 1 are not scored"):
        rows = loop.train(settings(), data, finished, resume=True)
    assert [row["cycle"] for row in rows if row["source"] == "map"] == [2]


@pytest.mark.parametrize("mpp", [0.25, 0.5, None])
def test_rows_tell_what_is_found_where_no_nucleus_is(data, tmp_path, watch, mpp):
    rows = loop.train(settings("cycles=1", f"mpp={'null' if mpp is None else mpp}"), data, tmp_path / "run")
    true = MonusacDataset(data, "val").label_map("val_000")
    found = read_label_map(tmp_path / "run/cycle_1/round_1/predictions/val_000.tif")
    expected = {} if mpp is None else {"false_per_mm2": false_per_mm2(true, found, mpp)["false_per_mm2"]}
    last = [row for row in rows if row["source"] == "model"][-1]
    assert {key: last[key] for key in last if "mm2" in key} == expected


def test_files_of_the_run_directory(data, tmp_path, watch):
    run = tmp_path / "run"
    loop.train(settings(), data, run)
    names = ("train_000", "train_001", "val_000")
    for cycle in (1, 2):
        here = run / f"cycle_{cycle}"
        assert (here / "classifier.weights.h5").is_file() and (here / "model.weights.h5").is_file()
        for name in names:
            assert (here / f"maps/{name}.png").is_file() and (here / f"pseudo/labels/{name}.tif").is_file()
        assert (here / "round_1/predictions/val_000.tif").is_file()
    # The last round's detections serve nothing but the scores.
    assert not (run / "cycle_2/round_1/predictions/train_000.tif").exists()
    assert (run / "cycle_1/round_1/predictions/train_000.tif").is_file()
    best = {
        "model": values(run, "cycle_2/model.weights.h5"),
        "classifier": values(run, "cycle_2/classifier.weights.h5"),
    }
    assert values(run, "best.weights.h5") == best
    assert [path.name for path in (run / "overlays").iterdir()] == ["val_000.png"]
    assert not list(run.rglob(".tmp-*"))


@pytest.mark.parametrize("supervision", ["none", "instance"])
def test_without_answers_there_is_no_classifier_and_no_verdict(data, tmp_path, watch, supervision):
    loop.train(settings("cycles=1", f"supervision={supervision}"), data, tmp_path)
    assert values(tmp_path, "best.weights.h5").keys() == {"model"}


@pytest.mark.parametrize("share", [0.15, 1])
@pytest.mark.parametrize(("verdict", "left"), [("true", [True, False]), ("false", [True, True])])
def test_predictions_follow_the_verdict_of_their_own_cycle(data, tmp_path, watch, monkeypatch, verdict, left, share):
    """Detections stay as they were: what may join the pseudo masks is not the classifier's to say."""
    monkeypatch.setattr(FakeJudge, "strict", 2)
    options = f"detection.verdict={verdict}", f"classifier.share={share}", "pseudo.recipe=stain"
    loop.train(settings(*options, "rounds.students=0"), data, tmp_path)
    rounds = [tmp_path / f"cycle_{cycle}/round_0" for cycle in (1, 2)]

    def some_fit_into_a_tile(folder):
        boxes = ndi.find_objects(read_label_map(folder / "val_000.tif"))
        return any(max(side.stop - side.start for side in box) <= 32 for box in boxes)

    assert [some_fit_into_a_tile(each / "predictions") for each in rounds] == left
    assert [some_fit_into_a_tile(each / "detections") for each in rounds] == [True, True]


def test_backbone_goes_from_stage_to_stage_and_from_cycle_to_cycle(data, tmp_path, watch):
    run = tmp_path / "run"
    loop.train(settings(), data, run)
    files = [
        f"cycle_{c}/{name}"
        for c in (1, 2)
        for name in ("classifier.weights.h5", "round_0/model.weights.h5", "round_1/model.weights.h5")
    ]
    backbone = [int(values(run, name)["backbone"]) for name in files]
    assert backbone == [1, 11, 21, 22, 32, 42]
    assert values(run, "cycle_2/classifier.weights.h5")["classifier"] == 2
    assert values(run, "cycle_2/model.weights.h5")["mask_rcnn"] == 4
    assert values(run, "cycle_1/model.weights.h5") == values(run, "cycle_1/round_1/model.weights.h5")


@pytest.mark.parametrize("recipe", ["stain", "paper"])
def test_detections_join_the_pseudo_masks_of_round_and_cycle(data, tmp_path, watch, recipe):
    run = tmp_path / "run"
    config = settings(f"pseudo.recipe={recipe}", "pseudo.share=1.0")
    loop.train(config, data, run)
    shapes = {name: (160, 160) for name in ("train_000", "train_001")}
    background = negative_areas(run / "tiles", shapes) if recipe == "stain" else {}

    def bare(cycle, name):
        image, activation = read_image(data / f"images/{name}.png"), read_map(run / f"cycle_{cycle}/maps/{name}.png")
        return pseudo_masks_of_one_image(image, activation, config, background.get(name)).labels

    def written(folder, name):
        return load_pseudo_masks(run / folder, name).labels

    np.testing.assert_array_equal(written("cycle_1/pseudo", "train_000"), bare(1, "train_000"))
    assert (written("cycle_1/round_1/pseudo", "train_000") != bare(1, "train_000")).any()
    assert (written("cycle_2/pseudo", "train_000") != bare(2, "train_000")).any()
    # What is scored on val are the bare pseudo masks: no detection of val joins them.
    np.testing.assert_array_equal(written("cycle_2/pseudo", "val_000"), bare(2, "val_000"))
    # The paper's follow the map, which each cycle draws anew; those of the stain do not.
    same = (written("cycle_1/pseudo", "val_000") == written("cycle_2/pseudo", "val_000")).all()
    assert same == (recipe == "stain")


def test_the_share_is_of_the_candidates_of_all_training_images(data, tmp_path, watch):
    run, names = tmp_path / "run", ("train_000", "train_001")
    config = settings("supervision=none", "pseudo.share=0.4")
    loop.train(config, data, run, until="pseudo-masks")
    pseudo = [load_pseudo_masks(run / "cycle_1/pseudo", name) for name in (*names, "val_000")]
    images = [read_image(data / f"images/{name}.png") for name in names]
    total = sum(len(find_candidates(image, None, config).scores) for image in images)
    cut = read_json(run / "cycle_1/pseudo/cut.json")["min_confidence"]
    assert sum(len(masks.confidence) for masks in pseudo[:2]) == round(0.4 * total)
    assert min(masks.confidence.min() for masks in pseudo[:2]) == np.float32(cut) <= pseudo[2].confidence.min()


def test_instance_labels_are_read_for_tiles_and_scores_alone(data, tmp_path, watch):
    loop.train(settings(), data, tmp_path / "run")
    of_train = {stage for stage, name in watch.reads if name.startswith("train")}
    of_val = {stage.rsplit("/", 1)[-1] for stage, name in watch.reads if name.startswith("val")}
    assert of_train == {"tiles"}
    assert of_val == {"baseline", "map_scores", "pseudo_scores", "scores", "finish"}


def test_the_labels_of_a_val_image_are_read_once_a_stage(data, tmp_path, watch, monkeypatch):
    read, label_map = [], MonusacDataset.label_map

    def counted(dataset, name):
        shown = watch.stage in watch.ran  # pictures of a stage are drawn once it has ended
        read.append((watch.stage, name, shown))
        return label_map(dataset, name)

    monkeypatch.setattr(MonusacDataset, "label_map", counted)
    loop.train(settings(), data, tmp_path / "run")
    of_val = [each[:2] for each in read if each[1].startswith("val") and not each[2]]
    assert len(of_val) == len(set(of_val)) and ("baseline", "val_000") in of_val


def test_with_tiles_given_and_unlabelled_val_no_label_is_read(data, tmp_path, watch, monkeypatch):
    loop.train(settings(), data, tmp_path / "first", until="classifier")
    watch.reads.clear()
    monkeypatch.setattr(MonusacDataset, "has_labels", lambda *_: False)
    given = settings(f"tiles.folder={tmp_path / 'first/tiles'}")
    rows = loop.train(given, data, tmp_path / "run")
    assert {row["source"] for row in rows} == {"held_out_tiles", "map_stability", "agreement", "sizes"}
    assert watch.reads == set() and (tmp_path / "run/best.weights.h5").is_file()
    assert (tmp_path / "run/overlays/val_000.png").is_file()


@pytest.fixture
def answers(data, tmp_path):
    """A file with the answers for some tiles of the data set `data`."""
    lines = [("train_000", 0, 0, "yes"), ("train_000", 40, 8, "no"), ("train_001", 9, 90, "yes"),
             ("train_001", 120, 120, "no"), ("train_001", 0, 60, "skip"), ("val_000", 0, 0, "yes")]  # fmt: skip
    path = tmp_path / "answers.csv"
    text = "".join(f"{image},{y},{x},32,{word},2025-01-01,me\n" for image, y, x, word in lines)
    path.write_text("image,y,x,size,answer,time,who\n" + text)
    return path


def test_answers_train_a_plain_folder_of_images(data, tmp_path, watch, answers):
    images, run = tmp_path / "plain", tmp_path / "run"
    images.mkdir()
    for path in (data / "images").glob("train_*"):
        shutil.copy(path, images / path.name)
    given = settings(f"tiles.answers={answers}")
    with pytest.warns(UserWarning, match=r"1 answers are not for training images of .*: 1 images \(val_000\)"):
        rows = loop.train(given, images, run)
    assert watch.reads == set() and len(list((run / "tiles/positive").iterdir())) == 2
    assert {row["source"] for row in rows} == {"held_out_tiles", "map_stability", "agreement", "sizes"}
    # Without val images the last model is shown on those that it learnt from.
    assert {path.name for path in (run / "overlays").iterdir()} == {"train_000.png", "train_001.png"}
    assert (run / "cycle_2/round_1/predictions/train_001.tif").is_file()
    page = write_report(run, images).read_text()
    assert "no instance labels to score with" in page and "Cycle 2: prediction" in page


def test_a_run_goes_on_only_with_the_answers_that_it_began_with(data, tmp_path, watch, answers):
    given, run = settings(f"tiles.answers={answers}"), tmp_path / "run"
    with pytest.warns(UserWarning, match="1 answers are not for training images"):
        loop.train(given, data, run, until="classifier")
    with answers.open("a") as file:
        file.write("train_000,64,64,32,no,2025-01-01,me\n")
    with pytest.raises(InputError, match="file answers.csv is another one than when the run began"):
        loop.train(given, data, run, resume=True)
    answers.unlink()
    with pytest.raises(InputError, match="answers.csv: no such file"):
        loop.train(given, data, run, resume=True)


def test_answers_of_two_data_sets_train_one_model(data, tmp_path, watch, answers):
    other, run = tmp_path / "other", tmp_path / "run"
    other.mkdir()
    shutil.copy(data / "images/train_000.png", other)
    lines = answers.read_text().splitlines(keepends=True)
    files = [answers, other / "answers.csv"]
    files[0].write_text("".join(lines[:5]))
    files[1].write_text("".join(lines[:3]))
    given = settings(f"tiles.answers={json.dumps([str(file) for file in files])}")
    loop.train(given, [data, other], run, until="classifier")
    names = {path.name for path in (run / "tiles/negative").iterdir()}
    assert names == {f"{data.name}__train_000_40_8.png", f"{data.name}__train_001_120_120.png",
                     "other__train_000_40_8.png"}  # fmt: skip
    files[1].write_text("".join(lines[:4]))
    with pytest.raises(InputError, match="file other__answers.csv is another one than when the run began"):
        loop.train(given, [data, other], run, resume=True)


def test_labels_decide_nothing_but_tiles(data, tmp_path, watch, monkeypatch):
    """A run on tiles whose instance labels are wrong ends with the same weights."""
    loop.train(settings(), data, tmp_path / "tiles_only", until="classifier")
    given = settings(f"tiles.folder={tmp_path / 'tiles_only/tiles'}")
    loop.train(given, data, tmp_path / "right")
    wrong = np.zeros((160, 160), np.int32)
    monkeypatch.setattr(MonusacDataset, "label_map", lambda *_: wrong)
    loop.train(given, data, tmp_path / "wrong")
    assert (tmp_path / "right/best.weights.h5").read_bytes() == (tmp_path / "wrong/best.weights.h5").read_bytes()


def test_no_labels_and_no_tiles(data, tmp_path, watch, monkeypatch):
    monkeypatch.setattr(MonusacDataset, "has_labels", lambda *_: False)
    with pytest.raises(InputError, match="no labels to cut tiles from; set tiles.folder"):
        loop.train(settings(), data, tmp_path / "run")


def test_parts_stop_where_they_should(data, tmp_path, watch):
    run, ends = tmp_path / "run", []
    for number, part in enumerate(
        ("classifier", "pseudo-masks", "mask-rcnn", "pseudo-masks", "mask-rcnn", "classifier")
    ):
        loop.train(settings(), data, run, until=part, resume=number > 0)
        ends.append(watch.ran[-1])
    assert ends == [
        "cycle_1/classifier",
        "cycle_1/pseudo_scores",
        "cycle_1/agreement",
        "cycle_2/pseudo_scores",
        "finish",
        "finish",
    ]
    assert watch.ran == STAGES


@pytest.fixture(scope="module")
def uninterrupted():
    """Filled by the first test that needs it: `{"rows": .., "weights": .., "pseudo": ..}`."""
    return {}


def outcome(run):
    return {
        "rows": read_json(run / "metrics.json")["rows"],
        "weights": (run / "best.weights.h5").read_text(),
        "pseudo": (run / "cycle_2/round_1/pseudo/labels/train_000.tif").read_bytes(),
    }


@pytest.mark.parametrize(
    ("stage", "write"),
    [*((stage, 0) for stage in STAGES), ("cycle_1/maps", 2), ("cycle_2/round_0/detect", 2), ("finish", 2)],
)
def test_kill_in_any_stage_and_resume(data, tmp_path, watch, uninterrupted, stage, write):
    """Killed in place of its first or third file, state.json among them: after the resume all is as if never killed."""
    if not uninterrupted:
        loop.train(settings(), data, tmp_path / "whole")
        uninterrupted.update(outcome(tmp_path / "whole"))
        watch.ran.clear()
    run = tmp_path / "run"
    watch.kill = (stage, write)
    with pytest.raises(Killed):
        loop.train(settings(), data, run)
    watch.kill, watch.ran = (None, 0), []
    loop.train(settings(), data, run, resume=True)
    assert watch.ran == STAGES[STAGES.index(stage) :]
    assert outcome(run) == uninterrupted
    events = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [event["stage"] for event in events if event["event"] == "stage_end"] == STAGES


def test_an_image_that_vanishes_is_named_and_the_run_goes_on_once_it_is_back(data, tmp_path, watch, monkeypatch):
    shutil.copytree(data, tmp_path / "data")
    image = tmp_path / "data/images/val_000.png"
    with monkeypatch.context() as patch:
        patch.setattr(loop, "warn_of_resolution", lambda _: image.unlink())
        with pytest.raises(InputError, match="val_000.png: no such file"):
            loop.train(settings(), tmp_path / "data", tmp_path / "run")
    assert watch.ran == ["tiles"]
    shutil.copy(data / "images/val_000.png", image)
    loop.train(settings(), tmp_path / "data", tmp_path / "run", resume=True)
    assert watch.ran == STAGES


# What happens to a file, and whether it is then there.
def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGE = {
    "gone": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "flipped": flip,
}
LEFT = {
    "tiles": "tiles/positive/*.png",
    "cycle_1/classifier": "cycle_1/classifier.weights.h5",
    "cycle_1/maps": "cycle_1/maps/train_001.png",
    "cycle_1/pseudo": "cycle_1/pseudo/labels/train_000.tif",
    "cycle_1/round_0/train": "cycle_1/round_0/model.weights.h5",
    "cycle_1/round_0/detect": "cycle_1/round_1/pseudo/scores/train_000.json",
    "cycle_1/round_1/detect": "cycle_1/round_1/predictions/val_000.tif",
    "cycle_2/round_1/train": "cycle_2/model.weights.h5",
    "finish": "best.weights.h5",
}


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    """Filled by the first test that needs it: a finished run and its outcome, to be copied."""
    return types.SimpleNamespace(path=tmp_path_factory.mktemp("whole") / "run", outcome=None)


@pytest.fixture
def finished(data, tmp_path, watch, whole_run):
    """A copy of a finished run."""
    if whole_run.outcome is None:
        loop.train(settings(), data, whole_run.path)
        whole_run.outcome = outcome(whole_run.path)
        watch.ran.clear()
    shutil.copytree(whole_run.path, tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("stage", LEFT)
def test_a_damaged_file_is_named_and_its_stage_made_again(data, finished, watch, whole_run, stage, how):
    """What comes out again is the same to the byte, so what was made of it stays."""
    path = sorted(finished.glob(LEFT[stage]))[0]
    DAMAGE[how](path)
    state = "missing" if how == "gone" else "changed or damaged"
    with pytest.warns(UserWarning, match=f"{path} (is|was) {state}; {stage} is made again"):
        loop.train(settings(), data, finished, resume=True)
    assert watch.ran == [stage] and outcome(finished) == whole_run.outcome
    watch.ran.clear()
    loop.train(settings(), data, finished, resume=True)
    assert watch.ran == []


def test_what_follows_from_a_stage_that_comes_out_otherwise_is_made_again(data, finished, watch, monkeypatch):
    def other_training(model, *rest, **options):
        report = fake_train_classifier(model, *rest, **options)
        model.values["backbone"] += 1e-3
        return report

    monkeypatch.setattr(tile_training, "train_classifier", other_training)
    (finished / "cycle_2/classifier.weights.h5").unlink()
    with pytest.warns(UserWarning, match="cycle_2/classifier is made again"):
        loop.train(settings(), data, finished, resume=True)
    assert watch.ran == STAGES[STAGES.index("cycle_2/classifier") :]
    assert values(finished, "best.weights.h5")["model"] == values(finished, "cycle_2/model.weights.h5")


@pytest.mark.parametrize("write", [0, 1])
def test_a_kill_while_a_stage_is_made_again_loses_nothing(data, finished, watch, whole_run, write):
    (finished / "cycle_1/round_0/model.weights.h5").write_bytes(b"")
    watch.kill = ("cycle_1/round_0/train", write)
    with pytest.warns(UserWarning, match="made again"), pytest.raises(Killed):
        loop.train(settings(), data, finished, resume=True)
    watch.kill, watch.ran = (None, 0), []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loop.train(settings(), data, finished, resume=True)
    # Killed after its first file, the stage has only to be found as it was.
    assert watch.ran == (["cycle_1/round_0/train"] if write == 0 else []) and len(caught) == len(watch.ran)
    assert outcome(finished) == whole_run.outcome


def test_many_damaged_files_are_counted(data, finished, watch):
    for path in (finished / "tiles/negative").iterdir():
        path.unlink()
    with pytest.warns(UserWarning, match=r"missing, .* missing and \d+ more; tiles is made again"):
        loop.train(settings(), data, finished, resume=True)
    assert watch.ran == ["tiles"]


def test_a_tile_that_the_run_did_not_cut_is_named(data, finished, watch):
    shutil.copyfile(data / "images/train_000.png", finished / "tiles/positive/more.png")
    with pytest.raises(InputError, match="more.png: not a tile that this run cut; move it elsewhere"):
        loop.train(settings(), data, finished, resume=True)


@pytest.mark.parametrize("content", [None, '{"rows": [], "seed": 0, "wall_s": {}}'])
def test_lost_scores_come_back(data, finished, watch, whole_run, content):
    path, before = finished / "metrics.json", (finished / "metrics.json").read_text()
    path.unlink() if content is None else path.write_text(content)
    with pytest.warns(UserWarning, match="metrics.json: lacks scores of this run; written again"):
        rows = loop.train(settings(), data, finished, resume=True)
    assert watch.ran == [] and rows == whole_run.outcome["rows"] and path.read_text() == before


def test_lost_scores_of_an_earlier_version_are_made_again(data, finished, watch, whole_run):
    state = read_json(finished / "state.json")
    write_json(finished / "state.json", {"finished": state["finished"], "seconds": state["seconds"]})
    (finished / "metrics.json").unlink()
    with pytest.warns(UserWarning, match="metrics.json: lacks scores"):
        rows = loop.train(settings(), data, finished, resume=True)
    assert watch.ran == [stage for stage in STAGES if stage.endswith(SCORING)]
    assert rows == whole_run.outcome["rows"]


def test_broken_weights_of_an_earlier_version_never_become_the_best(data, finished, watch):
    state = read_json(finished / "state.json")
    write_json(finished / "state.json", {"finished": state["finished"][:-1], "seconds": state["seconds"]})
    (finished / "best.weights.h5").unlink()
    (finished / "cycle_2/model.weights.h5").write_bytes(b"")
    with pytest.raises(ValueError):
        loop.train(settings(), data, finished, resume=True)
    assert not (finished / "best.weights.h5").exists()


def test_every_file_that_a_stage_leaves_is_remembered(finished):
    """So none can be damaged unseen."""
    known = {name for files in read_json(finished / "state.json")["files"].values() for name in files}
    own = {"config.yaml", "data.json", "log.jsonl", "state.json", "metrics.json", ".lock"}
    found = {path.relative_to(finished).as_posix() for path in finished.rglob("*") if path.is_file()}
    assert {name for name in found if not name.startswith("tensorboard/")} == known | own


@pytest.mark.parametrize("lost", [("state.json",), ("state.json", "log.jsonl")])
def test_a_run_without_its_state_is_not_started_over(data, finished, watch, lost):
    for name in lost:
        (finished / name).unlink()
    with pytest.raises(InputError, match="state.json: missing, though this folder holds a run; restore it, or start"):
        loop.train(settings(), data, finished, resume=True)
    assert watch.ran == []


def test_a_resume_that_is_refused_writes_nothing(data, finished, watch, tmp_path):
    write_tissue_set(tmp_path / "other", 2, 1, size=160, seed=5)
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match="image train_000 is another one than when the run began"):
        loop.train(settings(), tmp_path / "other", finished, resume=True)
    assert before == {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}


def test_tiles_of_val_and_test_images_do_not_train(data, tmp_path, watch):
    loop.train(settings(), data, tmp_path / "first", until="classifier")
    tiles = tmp_path / "tiles"
    shutil.copytree(tmp_path / "first/tiles", tiles)
    for name, kind in (("val_000_0_0", "positive"), ("val_000_8_0", "negative")):
        write_image(tiles / kind / f"{name}.png", np.full((32, 32, 3), 7, np.uint8))
    given = settings(f"tiles.folder={tiles}")
    with pytest.warns(UserWarning, match=r"tiles: 2 tiles are of val or test and do not train: 1 images \(val_000\)"):
        loop.train(given, data, tmp_path / "run", until="classifier")
    first, run = ((tmp_path / name / "cycle_1/classifier.weights.h5").read_bytes() for name in ("first", "run"))
    assert first == run


@pytest.mark.parametrize(
    ("folder", "size", "message"),
    [
        ("wrong", 32, r"tiles.folder = .*wrong: .*negative: no such folder"),
        ("tiles", 48, r"a tile of 32 x 32 pixels, but tiles.size is 48; set tiles.size"),
    ],
)
def test_tiles_that_do_not_fit_are_named_before_the_run_has_a_folder(data, tmp_path, watch, folder, size, message):
    loop.train(settings(), data, tmp_path / "first", until="classifier")
    (tmp_path / "first/tiles").rename(tmp_path / "tiles")
    given = settings(f"tiles.folder={tmp_path / folder}", f"tiles.size={size}")
    with pytest.raises(InputError, match=message):
        loop.train(given, data, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("tiles.size=200", "train_000.png: 160 x 160 pixels, smaller than a tile; lower tiles.size"),
        ("backbone.weights=/nowhere.h5", "nowhere.h5: no such weights file"),
    ],
)
def test_what_would_stop_the_first_stages_is_named_before_the_run_has_a_folder(data, tmp_path, watch, setting, message):
    with pytest.raises(InputError, match=message):
        loop.train(settings(setting), data, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_tile_that_changed_since_the_start_is_named(data, tmp_path, watch):
    loop.train(settings(), data, tmp_path / "first", until="classifier")
    (tmp_path / "first/tiles").rename(tmp_path / "tiles")
    given = settings(f"tiles.folder={tmp_path / 'tiles'}")
    loop.train(given, data, tmp_path / "run", until="classifier")
    changed = next((tmp_path / "tiles/positive").iterdir())
    write_image(changed, np.full((32, 32, 3), 7, np.uint8))
    with pytest.raises(InputError, match=f"tile positive/{changed.name} is another one than when the run began"):
        loop.train(given, data, tmp_path / "run", resume=True)


def test_other_seed_other_result(data, tmp_path, watch):
    loop.train(settings(), data, tmp_path / "a")
    loop.train(settings("seed=1"), data, tmp_path / "b")
    assert outcome(tmp_path / "a")["weights"] != outcome(tmp_path / "b")["weights"]


def test_finished_run_runs_nothing_again(data, tmp_path, watch):
    rows = loop.train(settings(), data, tmp_path / "run")
    watch.ran.clear()
    assert loop.train(settings(), data, tmp_path / "run", resume=True) == rows
    assert watch.ran == []


def cycle_files(run, cycle):
    here = run / f"cycle_{cycle}"
    return {path.relative_to(here): (path.read_bytes(), path.stat().st_mtime_ns) for path in here.rglob("*.*")}


@pytest.mark.parametrize("recipe", ["stain", "paper"])
@pytest.mark.parametrize("students", [0, 1])
def test_more_cycles_go_on_with_a_finished_run(data, tmp_path, watch, recipe, students):
    """It ends as a run that was given all cycles at once, and touches nothing of the first ones."""
    more = (f"pseudo.recipe={recipe}", f"rounds.students={students}")
    loop.train(settings(*more, "cycles=3"), data, tmp_path / "whole")
    whole, run = watch.ran.copy(), tmp_path / "run"
    loop.train(settings(*more), data, run)
    before = {cycle: cycle_files(run, cycle) for cycle in (1, 2)}
    watch.ran.clear()
    rows = loop.train(settings(*more, "cycles=3"), data, run, resume=True)
    assert watch.ran == [stage for stage in whole if stage.startswith(("cycle_3", "finish"))]
    for cycle, files in before.items():
        assert files.items() <= cycle_files(run, cycle).items()
    assert rows == read_json(run / "metrics.json")["rows"] == read_json(tmp_path / "whole/metrics.json")["rows"]
    for name in ("best.weights.h5", "cycle_3/pseudo/labels/train_000.tif", "overlays/val_000.png"):
        assert (run / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert read_json(run / "state.json")["finished"] == whole


def test_a_kill_among_the_new_cycles_loses_nothing(data, tmp_path, watch):
    loop.train(settings("cycles=3"), data, tmp_path / "whole")
    run = tmp_path / "run"
    loop.train(settings(), data, run)
    watch.kill = ("cycle_3/pseudo", 2)
    with pytest.raises(Killed):
        loop.train(settings("cycles=3"), data, run, resume=True)
    watch.kill = (None, 0)
    loop.train(settings("cycles=3"), data, run, resume=True)
    assert (run / "best.weights.h5").read_bytes() == (tmp_path / "whole/best.weights.h5").read_bytes()


def test_fewer_cycles_end_a_run_early_but_not_before_what_has_begun(data, tmp_path, watch):
    run = tmp_path / "run"
    watch.kill = ("cycle_2/classifier", 0)
    with pytest.raises(Killed):
        loop.train(settings("cycles=3"), data, run)
    watch.kill = (None, 0)
    loop.train(settings("cycles=2"), data, run, resume=True)
    assert values(run, "best.weights.h5")["model"] == values(run, "cycle_2/model.weights.h5")
    with pytest.raises(InputError, match="cycle 2 has begun, so cycles cannot be 1; give 2 or more"):
        loop.train(settings("cycles=1"), data, run, resume=True)


def test_empty_pseudo_masks_stop_the_run_with_the_cure(data, tmp_path, watch):
    with pytest.raises(InputError, match="no pseudo mask in any image; raise pseudo.share"):
        loop.train(settings("pseudo.share=0"), data, tmp_path / "run")


NO_LABELS = ("supervision=none",)


def test_without_labels_there_is_no_classifier(data, tmp_path, watch, monkeypatch):
    monkeypatch.setattr(MonusacDataset, "has_labels", lambda *_: False)
    loop.train(settings(*NO_LABELS), data, tmp_path / "run")
    assert watch.ran == [
        stage for stage in STAGES if not stage.endswith(("tiles", "classifier", "maps", "scores", "baseline"))
    ]
    assert watch.reads == set() and values(tmp_path / "run", "cycle_2/model.weights.h5")["mask_rcnn"] == 4


def test_the_upper_bound_trains_on_the_instance_labels(data, tmp_path, watch):
    run = tmp_path / "run"
    rows = loop.train(settings("supervision=instance", "cycles=1", "rounds.students=0"), data, run)
    assert {stage for stage, name in watch.reads if name.startswith("train")} == {"cycle_1/pseudo"}
    for name in ("train_000", "train_001"):
        found, true = load_pseudo_masks(run / "cycle_1/pseudo", name), MonusacDataset(data).label_map(name)
        np.testing.assert_array_equal(found.labels > 0, true > 0)
        assert len(found.confidence) == len(np.unique(true)) - 1 and not found.ignore.any()
    assert [row["source"] for row in rows] == ["no_label_baseline", "model"]
