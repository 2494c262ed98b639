"""TensorBoard events, read back with TensorBoard itself."""

import errno
import io
import json
import subprocess
import sys

import keras
import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from cyclic.runs.board import SIDE, Board


def read(folder):
    """All events of a folder."""
    found = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0})
    found.Reload()
    return found


def curve(folder, name):
    return [(event.step, event.value) for event in read(folder).Scalars(name)]


def decoded(event):
    return np.asarray(Image.open(io.BytesIO(event.encoded_image_string)))


def fit(board, epochs=3, stop_after=None):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(optimizer="sgd", loss="mse", jit_compile=False)
    stop = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: stopped(epoch + 1 == stop_after))
    samples = np.ones((4, 2), np.float32)
    callbacks = [board.losses("cycle_1/classifier", "classifier"), stop]
    return model.fit(samples, samples[:, :1], epochs=epochs, verbose=0, callbacks=callbacks).history["loss"]


def stopped(now):
    if now:
        raise KeyboardInterrupt


def test_losses_of_each_epoch(tmp_path):
    with Board(tmp_path / "tensorboard") as board:
        losses = fit(board)
    found = curve(tmp_path / "tensorboard/cycle_1/classifier", "classifier/loss")
    assert [step for step, _ in found] == [1, 2, 3]
    assert [value for _, value in found] == pytest.approx(losses)


def test_losses_of_a_killed_training_are_taken_back(tmp_path):
    with Board(tmp_path / "tensorboard") as board, pytest.raises(KeyboardInterrupt):
        fit(board, stop_after=2)
    with Board(tmp_path / "tensorboard") as board:
        losses = fit(board)
    found = curve(tmp_path / "tensorboard/cycle_1/classifier", "classifier/loss")
    assert found == [(step, pytest.approx(loss)) for step, loss in enumerate(losses, 1)]


def test_undefined_values_are_left_out(tmp_path):
    with Board(tmp_path / "tensorboard") as board:
        board.scalars("model", {"val/aji": 0.5, "val/hausdorff": None}, 3)
    assert read(tmp_path / "tensorboard/model").Tags()["scalars"] == ["val/aji"]
    assert curve(tmp_path / "tensorboard/model", "val/aji") == [(3, 0.5)]


def test_pictures_of_an_image(tmp_path):
    picture = np.random.default_rng(0).integers(0, 255, (20, 30, 3), np.uint8)
    with Board(tmp_path / "tensorboard", ["a"]) as board:
        board.picture("a", "map", 2, picture)
    events = read(tmp_path / "tensorboard/pictures")
    assert events.Tags()["images"] == ["a/map"]
    (event,) = events.Images("a/map")
    np.testing.assert_array_equal(decoded(event), picture)
    assert event.step == 2


def test_large_pictures_are_made_smaller(tmp_path):
    with Board(tmp_path / "tensorboard", ["a"]) as board:
        board.picture("a", "map", 0, np.zeros((2 * SIDE, SIDE, 3), np.uint8))
    (event,) = read(tmp_path / "tensorboard/pictures").Images("a/map")
    assert (event.height, event.width) == (SIDE, SIDE // 2)


def test_flushed_events_are_on_disk_and_writing_goes_on(tmp_path):
    board = Board(tmp_path / "tensorboard", ["a"])
    for step in range(3):
        board.scalars("model", {"val/aji": step / 2}, step)
        board.picture("a", "map", step, np.zeros((8, 8, 3), np.uint8))
        board.flush()
        # Read while the board is open: a kill may follow at once.
        assert curve(tmp_path / "tensorboard/model", "val/aji") == [(k, k / 2) for k in range(step + 1)]
    assert [event.step for event in read(tmp_path / "tensorboard/pictures").Images("a/map")] == [0, 1, 2]


@pytest.mark.parametrize("broken", ["write_event", "flush", "close"])
def test_a_full_disk_costs_events_and_not_the_run(tmp_path, monkeypatch, broken):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with Board(tmp_path / "tensorboard", ["a"]) as board:
        board.scalars("model", {"val/aji": 0.5}, 0)
        monkeypatch.setattr(f"cyclic.runs.board.EventsWriter.{broken}", full)
        with pytest.warns(UserWarning, match="cannot be written .No space left on device.*the run goes on") as caught:
            for step in range(1, 30):
                board.scalars("model", {"val/aji": 0.5}, step)
                board.picture("a", "map", step, np.zeros((8, 8, 3), np.uint8))
            board.flush()
        fit(board, epochs=1)
    assert sum("the run goes on" in str(warning.message) for warning in caught) == 1
    assert curve(tmp_path / "tensorboard/model", "val/aji")[0] == (0, 0.5)


def test_a_folder_that_cannot_be_made_costs_events_and_not_the_run(tmp_path):
    (tmp_path / "tensorboard").write_text("a file")
    with Board(tmp_path / "tensorboard") as board, pytest.warns(UserWarning, match="the run goes on"):
        fit(board, epochs=1)


def test_nothing_is_written_without_events(tmp_path):
    with Board(tmp_path / "tensorboard"):
        pass
    assert not list(tmp_path.iterdir())


def test_writing_needs_no_tensorflow(tmp_path):
    script = (
        "import sys; sys.modules.update(tensorflow=None, tensorboard=None, torch=None)\n"
        "from tensorboardX import summary\n"
        "from tensorboardX.event_file_writer import EventsWriter\n"
        "from tensorboardX.proto.event_pb2 import Event\n"
        f"writer = EventsWriter({str(tmp_path / 'events')!r})\n"
        "writer.write_event(Event(step=0, summary=summary.scalar('a', 1.0)))\n"
        "writer.close()"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    assert curve(tmp_path, "a") == [(0, 1.0)]


def test_a_real_run(tiny_run):
    """The run's own curves: what `metrics.json` and `log.jsonl` say."""
    root = tiny_run.run / "tensorboard"
    rows = json.loads((tiny_run.run / "metrics.json").read_text())["rows"]
    for source, steps in (("model", [1, 2]), ("pseudo_masks", [0, 1]), ("no_label_baseline", [0, 1, 2])):
        expected = [row["aji"] for row in rows if row["source"] == source]
        found = curve(root / source, "val/aji")
        assert [step for step, _ in found] == steps
        assert [value for _, value in found] == pytest.approx(expected * (3 if len(expected) == 1 else 1))
    areas = [row["auc"] for row in rows if row["source"] == "map"]
    assert curve(root / "map", "val/auc") == [(0, pytest.approx(areas[0])), (1, pytest.approx(areas[1]))]
    events = [json.loads(line) for line in (tiny_run.run / "log.jsonl").read_text().splitlines()]
    for event in (event for event in events if event["event"] == "mask_rcnn"):
        folder = root / f"cycle_{event['cycle']}" / f"round_{event['round']}"
        assert set(read(folder).Tags()["scalars"]) == {f"mask_rcnn/{name}" for name in event["losses"]}
        for name, losses in event["losses"].items():
            assert [value for _, value in curve(folder, f"mask_rcnn/{name}")] == pytest.approx(losses)
    precision = curve(root / "cycle_1/pseudo", "pseudo_masks/precision_of_best_k")
    assert precision and all(0 <= value <= 1 for _, value in precision)
    pictures = read(root / "pictures")
    kinds = {tag.rsplit("/", 1)[1] for tag in pictures.Tags()["images"]}
    assert kinds == {"activation_map", "pseudo_masks", "prediction", "errors"}
    assert [event.step for event in pictures.Images("val_000/prediction")] == [1, 2]
    assert pictures.Images("val_000/errors")[0].width == pictures.Images("train_000/pseudo_masks")[0].width == 128
