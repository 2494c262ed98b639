"""One tiny run of the real networks through the command line, killed in the middle (fixture `tiny_run`)."""

import json
import shutil

import h5py
import numpy as np

from cyclic.files import digest
from cyclic.images import read_image
from cyclic.label_maps import read_label_map
from cyclic.mrcnn.weights.h5 import read_attributes


def weights(path):
    """`{layer name: all its weights as one vector}` of a file."""
    with h5py.File(path) as file:
        names = {layer: file[layer].attrs["weight_names"] for layer in file}
        return {
            layer: np.concatenate([file[layer][name][()].ravel() for name in weight_names])
            for layer, weight_names in names.items()
            if len(weight_names)
        }


def distance(first, second):
    return np.sqrt(sum(((first[name] - second[name]) ** 2).sum() for name in first.keys() & second.keys()))


def test_kill_and_resume_ran_every_stage_to_its_end_once(tiny_run):
    assert tiny_run.killed[-1] == "cycle_1/pseudo_scores"
    events = [json.loads(line) for line in (tiny_run.run / "log.jsonl").read_text().splitlines()]
    ended = [event["stage"] for event in events if event["event"] == "stage_end"]
    assert ended == json.loads((tiny_run.run / "state.json").read_text())["finished"]
    assert len(ended) == len(set(ended)) and ended[: len(tiny_run.killed)] == tiny_run.killed
    assert ended[-1] == "finish" and "cycle_2/round_0/scores" in ended
    starts = [event["stage"] for event in events if event["event"] == "stage_start"]
    assert starts.count("cycle_1/round_0/train") == 2 and starts.count("cycle_1/classifier") == 1


def test_standard_error_holds_our_lines_alone(tiny_run):
    for line in tiny_run.stderr.splitlines():
        assert line.startswith(("cycle ", "tiles", "baseline", "finish")), line


def test_table_and_paths_are_printed(tiny_run):
    assert "no_label_baseline" in tiny_run.stdout and "pseudo_masks" in tiny_run.stdout
    assert str(tiny_run.run / "best.weights.h5") in tiny_run.stdout
    assert str(tiny_run.run / "overlays" / "val_000.png") in tiny_run.stdout


def test_backbone_continues_from_the_model_of_the_cycle_before(tiny_run):
    files = {
        (cycle, kind): weights(tiny_run.run / f"cycle_{cycle}" / f"{kind}.weights.h5")
        for cycle in (1, 2)
        for kind in ("classifier", "model")
    }
    shared = files[1, "classifier"].keys() & files[1, "model"].keys()
    assert len(shared) == 10 and {name for name in files[1, "classifier"] if name.startswith("head_")}
    backbone = {place: {name: found[name] for name in shared} for place, found in files.items()}
    # Each file moved a little from the one it started from, and not much more than from the one before that.
    steps = [(1, "classifier"), (1, "model"), (2, "classifier"), (2, "model")]
    for before, start, end in zip(steps, steps[1:], steps[2:], strict=False):
        assert 0 < distance(backbone[end], backbone[start]) < 1.1 * distance(backbone[end], backbone[before])
    # The heads go on from the cycle before, too.
    head = [name for name in files[1, "classifier"] if name.startswith("head_")]
    first, second = ({name: files[cycle, "classifier"][name] for name in head} for cycle in (1, 2))
    assert 0 < distance(first, second) < 0.2 * np.sqrt(sum((value**2).sum() for value in first.values()))


def test_maps_predictions_and_overlays_fit_their_images(tiny_run):
    shape = read_image(tiny_run.data / "images/val_000.png").shape[:2]
    for cycle in (1, 2):
        here = tiny_run.run / f"cycle_{cycle}"
        assert read_image(here / "maps/train_001.png").shape[:2] == shape
        assert read_label_map(here / "round_0/predictions/val_000.tif").shape == shape
    # Four panels, each enlarged for print.
    assert read_image(tiny_run.run / "overlays/val_000.png").shape[1] > 4 * 4 * shape[1]


def test_model_file_tells_its_configuration(tiny_run):
    stored = json.loads(read_attributes(tiny_run.run / "best.weights.h5")["run_config"])
    assert stored["mask_rcnn"]["width"] == [32, 32, 32, 32] and stored["detection"]["tile"] == 64


def test_report_finds_the_data_set_of_the_run(tiny_run, command, tmp_path):
    code, stdout, stderr = command("report", tiny_run.run, "--out", tmp_path / "report.html")
    assert code == 0 and stdout.strip() == str(tmp_path / "report.html"), stderr
    assert "val_000" in (tmp_path / "report.html").read_text()


def test_two_runs_of_one_seed_write_the_same_bytes(tiny_run, command, tmp_path):
    code, _, stderr = command("train", "--config", tiny_run.config, "--data", tiny_run.data, "--out", tmp_path / "run")
    assert code == 0, stderr

    def lasting(run):
        """Every file but those that tell times."""
        kinds = (".h5", ".tif", ".png", ".json", ".yaml")
        files = [
            path for path in run.rglob("*") if path.suffix in kinds and path.name not in ("state.json", "metrics.json")
        ]
        return {path.relative_to(run).as_posix(): digest(path) for path in files}

    assert lasting(tmp_path / "run") == lasting(tiny_run.run)
    rows = [json.loads((run / "metrics.json").read_text())["rows"] for run in (tmp_path / "run", tiny_run.run)]
    assert rows[0] == rows[1]


def test_a_damaged_run_is_mended_to_the_byte(tiny_run, command, tmp_path):
    run, names = tmp_path / "run", ("best.weights.h5", "cycle_2/model.weights.h5", "metrics.json")
    shutil.copytree(tiny_run.run, run)
    cut = run / "cycle_2/model.weights.h5"
    cut.write_bytes(cut.read_bytes()[:1000])
    (run / "cycle_1/round_0/predictions/val_000.tif").unlink()
    (run / "metrics.json").unlink()
    rows = json.loads((tiny_run.run / "metrics.json").read_text())["rows"]
    code, _, stderr = command("report", run)
    assert code == 2 and "metrics.json: missing" in stderr
    code, stdout, stderr = command("train", "--data", tiny_run.data, "--out", run, "--resume")
    assert code == 0 and "no_label_baseline" in stdout, stderr
    assert f"warning: {cut} was changed or damaged; cycle_2/round_0/train is made again" in stderr
    assert "val_000.tif is missing; cycle_1/round_0/detect is made again" in stderr
    assert "metrics.json: lacks scores of this run; written again" in stderr
    for name in names[:2]:
        assert (run / name).read_bytes() == (tiny_run.run / name).read_bytes()
    assert json.loads((run / "metrics.json").read_text())["rows"] == rows


def test_a_refused_resume_leaves_the_report_of_the_run_as_it_was(tiny_run, command, tmp_path):
    run, other = tmp_path / "run", tmp_path / "other"
    shutil.copytree(tiny_run.run, run)
    shutil.copytree(tiny_run.data, other)
    split = json.loads((other / "split.json").read_text())
    moved = {**split, "train": [*split["train"], *split["val"]], "val": []}
    (other / "split.json").write_text(json.dumps(moved))
    log = (run / "log.jsonl").read_text()
    code, _, stderr = command("train", "--data", other, "--out", run, "--resume")
    assert code == 2 and "image val_000 came to 'train' after the run began" in stderr
    assert (run / "log.jsonl").read_text() == log
    code, _, stderr = command("report", run)
    assert code == 0, stderr
