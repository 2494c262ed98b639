"""Progress on a terminal and in a log file."""

import io

import keras
import numpy as np
import pytest
import rich.console

from cyclic.runs import progress as progress_module
from cyclic.runs.progress import Progress
from cyclic.runs.training_progress import TrainingProgress


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still unless a test moves it: `clock[0] += seconds`."""
    now = [1000.0]
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: now[0])
    return now


def console(terminal=False):
    return rich.console.Console(
        file=io.StringIO(), force_terminal=terminal, force_interactive=terminal, width=120, color_system=None
    )


def output(progress):
    return progress.console.file.getvalue()


def fit(progress, epochs=2, steps=3, stage="cycle_1/classifier"):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(optimizer="sgd", loss="mse", jit_compile=False)
    callback = TrainingProgress(progress, stage, epochs * steps)
    samples = np.ones((steps, 2), np.float32)
    model.fit(samples, samples[:, :1], batch_size=1, epochs=epochs, verbose=0, callbacks=[callback])


def test_plain_training_tells_start_end_and_losses():
    with Progress(console()) as progress:
        fit(progress)
    first, last = output(progress).splitlines()
    assert first == "cycle 1, classifier: 0/6"
    assert last.startswith("cycle 1, classifier: 6/6  in 0:0")
    assert "epoch 2/2  loss " in last


def test_plain_line_every_thirty_seconds(clock):
    with Progress(console()) as progress:
        for _ in progress.track(range(8), "cycle_2/maps"):
            clock[0] += 10
    lines = output(progress).splitlines()
    assert [line.split()[3] for line in lines] == ["0/8", "3/8", "6/8", "8/8"]
    assert lines[-1] == "cycle 2, maps: 8/8  in 1:20"


def test_plain_output_has_no_control_codes(clock):
    with Progress(console()) as progress:
        list(progress.track(range(3), "stage [1]"))
    assert output(progress) == "stage [1]: 0/3\nstage [1]: 3/3  in 0:00\n"


def test_live_display_on_a_terminal(clock):
    with Progress(console(terminal=True)) as progress:
        for item in progress.track("abcd", "cycle_1/maps"):
            if item == "c":
                progress.bars.refresh()
                assert "2/4" in output(progress)
    assert "\x1b[" in output(progress)
    assert "cycle 1, maps: 4/4  in 0:00\n" in output(progress)
    assert progress.bars.tasks == []


def test_live_display_shows_epoch_and_losses(clock):
    with Progress(console(terminal=True)) as progress:
        callback = TrainingProgress(progress, "cycle_1/round_0/train", 20)
        callback.set_params({"epochs": 4})
        callback.on_train_begin()
        callback.on_epoch_begin(2)
        clock[0] += 5
        callback.on_train_batch_end(4, {"loss": 0.51234, "mask_loss": np.float32(0.25)})
        progress.bars.refresh()
    assert "cycle 1, round 0, train" in output(progress)
    assert "5/20" in output(progress)
    assert "epoch 3/4  loss 0.512  mask_loss 0.25" in output(progress)


def test_losses_are_read_seldom(clock):
    class Loss:
        reads = 0

        def __float__(self):
            Loss.reads += 1
            return 1.0

    with Progress(console()) as progress:
        callback = TrainingProgress(progress, "train", 100)
        callback.set_params({"epochs": 1})
        callback.on_train_begin()
        callback.on_epoch_begin(0)
        for step in range(100):
            clock[0] += 0.1
            callback.on_train_batch_end(step, {"loss": Loss()})
        assert callback.stage.task.completed == 100
    assert 5 <= Loss.reads <= 11


def test_steps_add_up_over_epochs_in_any_order(clock):
    with Progress(console()) as progress:
        callback = TrainingProgress(progress, "train", 8)
        callback.set_params({"epochs": 2})
        callback.on_train_begin()
        for epoch in range(2):
            callback.on_epoch_begin(epoch)
            for step in (1, 0, 3, 2):
                callback.on_train_batch_end(step, {})
        callback.on_train_end({"loss": 1.0})
    assert output(progress).splitlines()[-1] == "train: 8/8  in 0:00  epoch 2/2  loss 1"


def test_track_counts_what_was_done_before_an_error(clock):
    progress = Progress(console())
    with pytest.raises(RuntimeError), progress:
        for item in progress.track(range(5), "maps"):
            if item == 2:
                raise RuntimeError
    assert output(progress).splitlines()[-1] == "maps: 2/5  in 0:00"


def test_what_an_error_left_running_is_told_before_the_error(clock):
    def halves(progress):
        return [1 / item for item in progress.track([2, 0], "maps")]  # the traceback keeps its loop

    progress = Progress(console())
    with pytest.raises(ZeroDivisionError) as error, progress:
        halves(progress)
    assert error.tb and output(progress).splitlines() == ["maps: 0/2", "maps: 1/2  in 0:00"]


def test_track_passes_items_on_with_a_given_total(clock):
    with Progress(console()) as progress:
        assert list(progress.track((item for item in "ab"), "maps", total=2)) == ["a", "b"]
    assert "maps: 2/2" in output(progress)


def test_track_of_nothing(clock):
    with Progress(console()) as progress:
        assert list(progress.track([], "maps")) == []
    assert output(progress).splitlines()[-1] == "maps: 0/0  in 0:00"


def test_long_stage_shows_hours(clock):
    with Progress(console()) as progress:
        for _ in progress.track(range(1), "maps"):
            clock[0] += 3723
    assert output(progress).splitlines()[-1].endswith("in 1:02:03")
