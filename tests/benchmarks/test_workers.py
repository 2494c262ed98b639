"""Contenders run in processes of their own, in turn, and their errors reach the caller."""

import pathlib

import pytest

SCRIPTS = pathlib.Path(__file__).resolve().parents[2] / "scripts"

CONTENDERS = """
import os
import time


class Sleeper:
    def __init__(self, settings):
        self.seconds, self.facts = settings["seconds"], {"slept": settings["seconds"]}

    def __call__(self):
        time.sleep(self.seconds)


def broken(settings):
    raise ValueError("no such network")


def killed(settings):
    os._exit(9)
"""


@pytest.fixture
def workers(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(SCRIPTS)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "contenders.py").write_text(CONTENDERS)
    import benchmarks.workers

    return benchmarks.workers


def test_duel_tells_both_times_memory_and_facts(workers):
    contenders = [("contenders:Sleeper", {"seconds": seconds}) for seconds in (0.01, 0.04)]
    row = workers.duel("sleep", *contenders, "the longer sleep", repeats=3)
    assert row["case"] == "sleep" and row["peer"] == "the longer sleep"
    assert row["ours_s"] > 0 and row["ratio"] == row["ours_s"] / row["peer_s"]
    assert row["ours_facts"] == {"slept": 0.01} and row["peer_facts"] == {"slept": 0.04}
    assert row["ours_peak_mb"] > 1 and row["peer_peak_mb"] > 1


def test_local_contenders_one_without_a_peer(workers):
    ours = workers.Local("contenders:Sleeper", {"seconds": 0.01})
    row = workers.compare("sleep", ours, None, "nobody", repeats=2)
    assert row["ours_s"] >= 0.01 and row["ours_peak_mb"] > 1 and row["ours_facts"] == {"slept": 0.01}
    assert row["peer"] is row["peer_s"] is row["ratio"] is row["peer_peak_mb"] is row["peer_facts"] is None


def test_error_of_a_contender(workers):
    with pytest.raises(ValueError, match="no such network"):
        workers.Worker("contenders:broken", {})


def test_killed_contender(workers):
    with pytest.raises(RuntimeError, match="exit code 9"):
        workers.Worker("contenders:killed", {})
