"""What the script that installs into empty environments checks by itself; it runs outside of the tests."""

import re
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from test_docs import script

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "cyclic"


@pytest.fixture
def matrix(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    return script(ROOT / "scripts/install_matrix.py")


def test_every_requirement_has_a_lower_and_an_upper_bound(matrix):
    wanted = matrix.requirements()
    assert {"numpy>=2.1,<3", "flask>=3.1,<4"} < {*wanted}
    assert [line for line in wanted if not re.fullmatch(r"[\w.-]+>=[\w.]+,<[\w.]+", line)] == []


def test_the_oldest_are_the_lower_bounds_one_for_each_package(matrix):
    pins = matrix.oldest(matrix.requirements())
    assert "numpy==2.1" in pins
    assert len(pins) == len({pin.partition("==")[0].lower() for pin in pins})


def test_every_file_of_the_package_that_is_no_code_is_package_data():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]["cyclic"]
    data = {path for pattern in patterns for path in PACKAGE.glob(pattern)}
    files = {path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert PACKAGE / "label/page.html" in data
    assert [path for path in files - data if path.suffix != ".py"] == []


@pytest.mark.parametrize("name", ["cyclic-1.whl", "cyclic-1.tar.gz"])
def test_a_file_that_an_archive_lacks_is_named(matrix, tmp_path, name):
    page = tmp_path / "page.html"
    page.write_text("page")
    if name.endswith(".whl"):
        with zipfile.ZipFile(tmp_path / name, "w") as wheel:
            wheel.write(page, "cyclic/page.html")
    else:
        with tarfile.open(tmp_path / name, "w:gz") as sdist:
            sdist.add(page, "cyclic-1/cyclic/page.html")
    wanted = ["cyclic/page.html", "cyclic/models/x.h5"]
    assert matrix.missing(tmp_path / name, wanted) == ["cyclic/models/x.h5"]
