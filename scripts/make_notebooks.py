"""Write the notebooks of all data sets, `samples/<data set>/inspect_*.ipynb`, from the scripts in `samples/templates`.

Example:
    python scripts/make_notebooks.py

The notebooks of a kind differ in name and path alone. A template is a script in cells: `# %%` begins code, `# %%
[markdown]` text.
"""

import string
from pathlib import Path

import nbformat

SAMPLES = Path(__file__).resolve().parents[1] / "samples"
DATA_SETS = {
    "monusac": ("MoNuSAC / MoNuSeg", "`images/` and `labels/`, or Matterport's `stage1_train/`."),
    "ccrcc": ("ccRCC", "The published layout: `{Train,Valid,Test}/{Images,Labels}`."),
    "consep": ("CoNSeP", "The published layout: `{Train,Test}/{Images,Labels}`; `split.json` may name val images."),
}


def main() -> None:
    for name in DATA_SETS:
        for template in sorted((SAMPLES / "templates").glob("*.py")):
            nbformat.write(notebook(template, name), SAMPLES / name / f"{template.stem}.ipynb")


def notebook(template: Path, name: str) -> nbformat.NotebookNode:
    """Return the notebook of a template for the data set `name`."""
    title, layout = DATA_SETS[name]
    values = {"title": title, "layout": layout, "data": f"../../data/{name}", "run": f"../../runs/{name}"}
    text = string.Template(template.read_text()).substitute(values)
    cells = [_cell(part) for part in text.split("# %%")[1:]]
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return nbformat.v4.new_notebook(cells=cells, metadata=kernel)


def _cell(part: str) -> nbformat.NotebookNode:
    kind, _, body = part.partition("\n")
    if kind.strip() == "[markdown]":
        lines = [line.removeprefix("#").removeprefix(" ") for line in body.strip().splitlines()]
        return nbformat.v4.new_markdown_cell("\n".join(lines))
    return nbformat.v4.new_code_cell(body.strip())


if __name__ == "__main__":
    main()
