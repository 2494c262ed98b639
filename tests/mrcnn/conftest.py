"""Puts this folder on the path, so that tests of its sub-folders import `tiny_model`, `golden` and `painted`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
