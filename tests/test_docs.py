"""The examples in `docs/` open as they should: whole, without network, executed without an error."""

import pathlib
import re

import nbformat
import pytest
from PIL import Image

DOCS = pathlib.Path(__file__).resolve().parents[1] / "docs"


def test_report_is_one_small_file_that_needs_no_network():
    text = (DOCS / "report.html").read_text()
    assert len(text) < 3_000_000 and "Finished" in text
    assert not re.search(r"(?:src|href)=\"(?!#|data:)|url\((?!data:)|@import", text)


@pytest.mark.parametrize("path", sorted((DOCS / "overlays").iterdir()), ids=lambda path: path.name)
def test_overlays_print_in_a_column(path):
    with Image.open(path) as picture:
        assert picture.info["dpi"] == (300, 300) and picture.width >= 4 * 1000


@pytest.mark.parametrize("kind", ["inspect_data", "inspect_pseudo_masks", "inspect_model"])
def test_notebooks_are_executed_and_hold_no_error(kind):
    notebook = nbformat.read(DOCS / "notebooks" / f"{kind}.ipynb", as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert all(output.output_type != "error" and output.get("name") != "stderr" for output in outputs)
    assert sum("image/jpeg" in output.get("data", {}) for output in outputs) >= 6
