"""Damaged files for every reader, a few of each kind; `scripts/soak.py` tries thousands. What once broke one stays."""

import importlib.util
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

TESTS = Path(__file__).parent


def load_readers():
    spec = importlib.util.spec_from_file_location("soaking_readers", TESTS.parent / "scripts/soaking/readers.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


readers = load_readers()
NAMES = (
    "png", "jpeg", "bmp", "tiff", "labels tiff", "labels png", "labels npy", "labels mat", "mask", "aperio xml", "coco",
    "geojson", "split", "configuration", "run config", "state", "metrics", "log", "data of a run", "answers",
    "classes mat", "pannuke", "tiles record", "model card", "tissue", "list of sums", "earlier coco", "earlier results",
    "slide work", "slide settings", "slide chunk",
)  # fmt: skip
CORPUS = sorted((TESTS / "corpus").iterdir())


@pytest.fixture(scope="module")
def every(tmp_path_factory):
    return readers.make_readers(tmp_path_factory.mktemp("fuzz"))


def test_every_reader_is_tried_and_reads_whole_files(every):
    assert tuple(every) == NAMES
    for reader in every.values():
        assert [readers.try_reader(reader, content) for content in reader.whole] == ["read"] * len(reader.whole)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=15)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_damaged_file_is_read_or_refused(every, name, seed):
    for outcome, defect in readers.fuzz(every[name], len(every[name].whole), seed):
        assert outcome in ("read", "refused"), defect


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name)
def test_what_once_broke_a_reader_no_longer_does(every, path):
    outcome = readers.try_reader(every[path.name.split(".")[0].replace("_", " ")], path.read_bytes())
    assert outcome in ("read", "refused")


def test_a_defect_is_told(every):
    def broken(path):
        raise KeyError(path.name)

    outcomes = list(readers.fuzz(every["log"]._replace(read=broken), 3, 0))
    assert [outcome for outcome, _ in outcomes] == ["defect"] * 3
    assert all("KeyError: 'log.jsonl'" in defect.error for _, defect in outcomes)
