"""What every test shares: a quiet default backend, a bounded hypothesis, and the folder of shared data."""

import os
from pathlib import Path

# Before any test module imports Keras, which reads these once.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import hypothesis
import pytest

SHARED = Path(__file__).resolve().parents[1].parent / "shared"

# No deadline: the first example of a test often pays for tracing or compiling a function.
hypothesis.settings.register_profile("local", deadline=None, max_examples=50)
hypothesis.settings.register_profile("ci", deadline=None, max_examples=50, derandomize=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "local")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder `shared` beside the repository, which holds real images; the test is skipped without it."""
    if not SHARED.is_dir():
        pytest.skip(f"no folder {SHARED}: it holds the real images this test reads")
    return SHARED
