"""`cyclic doctor`: what is there is told, and what is missing comes with the command that installs it."""

import importlib.metadata
import os
import subprocess
import sys

import keras
import pytest

from cyclic import cli, doctor


def found(what):
    return next(finding for finding in doctor.examine() if finding.what.startswith(what))


def test_versions_devices_memory_and_number_format_are_told():
    assert keras.__version__ in found("backend").found and keras.backend.backend() in found("backend").found
    assert f"{os.cpu_count()} cores" in found("devices").found
    assert found("precision auto").found.split(":")[0] in ("float32", "mixed_bfloat16")
    assert "GiB free" in found("memory").found and "GiB free" in found("disk").found
    assert found("numpy").found == importlib.metadata.version("numpy")


def test_this_installation_lacks_nothing_it_needs():
    assert [finding for finding in doctor.examine() if finding.needed and finding.cure] == []


@pytest.mark.parametrize(
    ("package", "version", "cure"),
    [
        ("scipy", None, 'pip install "scipy'),
        ("h5py", "2.9", 'pip install "h5py'),
        ("keras", "4.0", 'pip install "keras'),
    ],
)
def test_a_needed_package_that_is_missing_or_of_another_version(monkeypatch, capsys, package, version, cure):
    installed = importlib.metadata.version

    def changed(name):
        if name == package and version is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return version if name == package else installed(name)

    monkeypatch.setattr("importlib.metadata.version", changed)
    finding = found(package)
    assert finding.needed and finding.cure.startswith(cure) and finding.found == (version or "not installed")
    with pytest.raises(SystemExit) as end:
        cli.main(["doctor"])
    out, err = capsys.readouterr()
    assert end.value.code == 2 and cure in out and err.startswith("error: 1 needed parts") and err.count("\n") == 1


def test_optional_packages_are_named_with_their_extra(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.version", missing)
    assert found("jax").cure == 'pip install "jax<1,>=0.5"' and not found("jax").needed
    assert found("imgaug").cure == "pip install --no-deps imgaug==0.4.0"


@pytest.mark.parametrize(
    ("backend", "cause", "cure"), [("jax", "import of jax", "pip install jax"), ("jaxx", "jaxx", "unset KERAS")]
)
def test_a_backend_that_is_missing_is_named(backend, cause, cure):
    script = "import sys; sys.modules['jax'] = None; from cyclic import cli; cli.main(sys.argv[1:])"
    environment = os.environ | {"KERAS_BACKEND": backend}

    def run(*arguments):
        call = [sys.executable, "-c", script, *arguments]
        done = subprocess.run(call, capture_output=True, text=True, env=environment)
        assert done.returncode == 2 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
        return done.stdout, done.stderr

    told, error = run("doctor")
    assert f"{backend} cannot be imported" in told and cure in error
    assert cause in run("predict", ".", "--out", "out")[1]
    assert cause in run("adapt", ".", "--weights", "he-nuclei", "--out", "out")[1]


def test_little_memory_has_a_cure(monkeypatch):
    monkeypatch.setattr(doctor, "_memory_gib", lambda: (8.0, 0.5))
    assert found("memory") == ("memory", "0.5 of 8.0 GiB free", found("memory").cure, False)
    assert "mask_rcnn.batch" in found("memory").cure
