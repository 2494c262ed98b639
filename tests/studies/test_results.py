"""The files in `results/` and the pages that quote them belong together."""

import csv
import json
import pathlib
import re

import collect
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
RESULTS = ROOT / "results"
TABLES = ["monuseg", "consep"]
PAGES = [ROOT / "docs" / name for name in ("results.md", "speed.md")]
# Names of files; an asterisk stands for seeds.
NAME = re.compile(r"[\w*./]+\.(?:json|csv)\b")


def places(page):
    """Return `{name: files}` of the names in a page; most are told without their folder."""
    folders = [ROOT, RESULTS, *(RESULTS / name for name in (*TABLES, "benchmarks")), page.parent]
    names = NAME.findall(page.read_text())
    return {name: {path.resolve() for folder in folders for path in folder.glob(name)} for name in names}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_a_page_names_exists(page):
    assert [name for name, files in places(page).items() if not files] == []


def test_every_json_is_quoted_and_all_are_small():
    quoted = {path for page in PAGES for files in places(page).values() for path in files}
    kept = [path for folder in (*TABLES, "labs") for path in (RESULTS / folder).glob("*.json")]
    assert [path.name for path in kept if path not in quoted] == []
    assert sum(path.stat().st_size for path in RESULTS.rglob("*.*") if path.is_file()) < 1_000_000


@pytest.mark.parametrize("table", TABLES)
def test_a_table_has_the_columns_that_collect_writes_and_each_run_once(table):
    with (RESULTS / f"{table}.csv").open(newline="") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    assert tuple(reader.fieldnames) == collect.COLUMNS
    assert len({(row["name"], row["seed"]) for row in rows}) == len(rows)
    for row in rows:
        assert row["committed_in"] and row["aji_by_cycle"].split()[-1:] == [row["aji"]][: bool(row["aji"])]


@pytest.mark.parametrize("table", TABLES)
def test_splits_share_no_image(table):
    split = json.loads((ROOT / "configs" / "splits" / f"{table}.json").read_text())
    assert set(split) == {"train", "val"} and not set(split["train"]) & set(split["val"])
