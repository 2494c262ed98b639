"""What the tests of slides share."""

import pytest
from drawn_slides import fake_predictor

from cyclic.slides import folder


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """A weights file that the stand-in for the network is loaded from."""
    path = tmp_path / "best.weights.h5"
    path.write_bytes(b"weights")
    monkeypatch.setattr(folder.Predictor, "load", lambda *_: fake_predictor())
    return path
