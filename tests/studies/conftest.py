"""The scripts in `studies/` are no package: the tests import them by their file names."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "studies"))
