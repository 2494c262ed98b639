import io

import rich.console

from cyclic.evaluation.table import image_rows, markdown_table, results_table

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
