"""Tables of scores in the terminal, as Markdown and as CSV."""

import csv
import io

import rich.console

from cyclic.evaluation.table import image_rows, markdown_table, results_table, write_csv

ROWS = [
    {"source": "no_label_baseline", "cycle": 0, "round": 0, "split": "val", "aji": 0.3957, "dice": 0.7, "note": "a|b"},
    {"source": "model", "cycle": 1, "round": 2, "split": "val", "aji": 0.51, "pq": float("nan")},
]


def rendered(table):
    stream = io.StringIO()
    rich.console.Console(file=stream, width=200).print(table)
    return stream.getvalue()


def test_markdown():
    lines = markdown_table(ROWS).splitlines()
    assert lines[0] == "| Source | Cycle | Round | Split | AJI | Dice | PQ | note |"
    assert lines[1] == "| --- | ---: | ---: | --- | ---: | ---: | ---: | ---: |"
    assert lines[2] == r"| no_label_baseline | 0 | 0 | val | 0.396 | 0.700 | – | a\|b |"
    assert lines[3] == "| model | 1 | 2 | val | 0.510 | – | – | – |"


def test_rich_table_shows_the_same_cells():
    text = rendered(results_table(ROWS, title="Results"))
    for expected in ("Results", "no_label_baseline", "0.396", "0.510", "AJI", "–"):
        assert expected in text


def test_bracketed_text_is_no_markup():
    assert "[bold]" in rendered(results_table([{"image": "[bold]a"}]))


def test_image_rows_end_with_the_mean():
    evaluation = {
        "images": {"a": {"aji": 0.2, "n_true": 3}, "b": {"aji": 0.4, "n_true": 4}},
        "mean": {"aji": 0.3, "n_true": 3.5},
    }
    rows = image_rows(evaluation)
    assert [row["image"] for row in rows] == ["a", "b", "mean"]
    assert rows[-1]["aji"] == 0.3


def test_no_rows():
    assert markdown_table([]) == ""
    assert results_table([]).row_count == 0


def test_rows_of_what_goes_with_the_mean():
    part = {"images": {}, "mean": {"aji": 0.7}}
    evaluation = {
        "images": {"a": {"aji": 0.2, "hausdorff": None}},
        "mean": {"aji": 0.3, "hausdorff": None},
        "interval": {"aji": [0.1, 0.4], "hausdorff": None},
        "pooled": {"coco_map": 0.5},
        "classes": {"2": part},
    }
    _, mean, low, high, pooled, of_class = image_rows(evaluation)
    assert (mean["aji"], low["aji"], high["aji"], low["hausdorff"]) == (0.3, 0.1, 0.4, None)
    assert pooled == {"image": "all images", "coco_map": 0.5} and of_class == {"image": "class 2", "aji": 0.7}


def test_small_p_is_not_zero():
    assert "| 2.4e-05 |" in markdown_table([{"p": 0.0000241}])


def test_csv_holds_full_precision_and_empty_cells(tmp_path):
    write_csv(tmp_path / "a.csv", [{"image": 'a,"b"', "aji": 1 / 3}, {"image": "c", "aji": None, "more": 2}])
    rows = list(csv.DictReader((tmp_path / "a.csv").open()))
    assert rows == [{"image": 'a,"b"', "aji": str(1 / 3), "more": ""}, {"image": "c", "aji": "", "more": "2"}]
