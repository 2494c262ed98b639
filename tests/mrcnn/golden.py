"""Files of Matterport's own runs, which lie beside the repository; tests that read them are skipped without them."""

from pathlib import Path

import numpy as np
import pytest

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
PARITY = SHARED / "parity"
needs_parity = pytest.mark.skipif(not PARITY.is_dir(), reason="shared data not present")


def golden_file(name):
    """Return `{name: array}` of the file `golden_<name>.npz`."""
    with np.load(PARITY / f"golden_{name}.npz") as file:
        return dict(file)
