"""What the script that installs into empty environments takes for the oldest packages; it runs outside of the tests."""

import re
from pathlib import Path

from test_docs import script

ROOT = Path(__file__).resolve().parents[1]
LINES = (ROOT / "requirements.txt").read_text().splitlines()


def test_every_requirement_has_a_lower_and_an_upper_bound():
    wanted = [line for line in LINES if line and not line.startswith("#")]
    assert wanted and [line for line in wanted if not re.fullmatch(r"[\w.-]+>=[\w.]+,<[\w.]+", line)] == []


def test_the_oldest_are_the_lower_bounds():
    pins = script(ROOT / "scripts/install_matrix.py").oldest(LINES)
    assert "numpy==2.0" in pins and len(pins) == sum(">=" in line and not line.startswith("#") for line in LINES)
