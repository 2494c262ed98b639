"""TensorBoard events only where TensorBoard is installed."""

from cyclic.mrcnn.train import callbacks


def test_missing_tensorboard_costs_the_events_alone(monkeypatch, caplog, tmp_path):
    monkeypatch.setattr(callbacks.importlib.util, "find_spec", lambda name: None)
    assert callbacks.tensorboard(tmp_path) == [] and "TensorBoard is not installed" in caplog.text
