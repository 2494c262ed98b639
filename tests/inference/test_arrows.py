"""Imports point one way: training uses `cyclic.inference`, which itself only reads finished models."""

import ast
from pathlib import Path

import pytest

import cyclic.inference

MODULES = sorted(Path(cyclic.inference.__path__[0]).glob("*.py"))
# Predicting a folder reads a run's model and shows progress.
ALLOWED = {"folder": {"cyclic.networks", "cyclic.runs.progress"}}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_no_module_imports_the_stages_of_training(path):
    imports = {node.module for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)}
    found = {name for name in imports if name and name.startswith(("cyclic.cycle", "cyclic.semi", "cyclic.cli"))}
    assert found == ALLOWED.get(path.stem, set())
