"""A few kills of each command that writes, and a few predictions and epochs; `scripts/soak.py` counts many.

`cycle/test_real_run.py` and `cycle/test_loop.py` kill training.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
KILLED = ("predict", "prepare", "tiles", "label")


def soak(*arguments):
    """Run the script in a process of its own: it forks, which a process that computes with TensorFlow must not."""
    paths = os.pathsep.join([str(ROOT), *sys.path])
    call = [sys.executable, ROOT / "scripts/soak.py", *arguments]
    return subprocess.run(list(map(str, call)), env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True)


def test_killed_commands_end_with_the_files_of_ones_that_were_not(tmp_path):
    (tmp_path / "soak.json").write_text('{"results": {"earlier": {"kills": 9}}}')
    done = soak("--command-kills", 2, "--json", tmp_path / "soak.json")
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads((tmp_path / "soak.json").read_text())["results"]
    assert {name: results[f"kills of {name}"]["kills"] for name in KILLED} == dict.fromkeys(KILLED, 2)
    assert results["earlier"] == {"kills": 9} and results["kills of label"]["went wrong"] == ""


def test_memory_and_open_files_stay_flat(tmp_path):
    done = soak("--predictions", 8, "--epochs", 8, "--json", tmp_path / "soak.json")
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads((tmp_path / "soak.json").read_text())["results"]
    assert results["predictions"]["predictions"] == results["epochs"]["epochs"] == 8
    assert results["epochs"]["resident_mb"][0] > 100
