"""Fill `docs/` from a finished `cyclic demo`: report page, overlays and one executed notebook of each kind.

Example, in the folder that holds the demo:
    cyclic demo
    python scripts/make_docs.py cyclic-demo
"""

import argparse
import base64
import io
import shutil
from pathlib import Path

import nbclient
import nbformat
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
DOCS, NOTEBOOKS = ROOT / "docs", ROOT / "samples" / "notebooks"
JPEG = {"quality": 85, "dpi": (300, 300)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("demo", type=Path, help="folder of the demo, best relative: the notebooks show it")
    demo = parser.parse_args().demo
    shutil.copyfile(demo / "run" / "report.html", DOCS / "report.html")
    for path in sorted((demo / "run" / "overlays").glob("*.png")):
        Image.open(path).convert("RGB").save(DOCS / "overlays" / f"{path.stem}.jpg", **JPEG)
    paths = f"DATA, RUN = {str(demo / 'data')!r}, {str(demo / 'run')!r}"
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        next(cell for cell in notebook.cells if cell.cell_type == "code").source = paths
        nbclient.NotebookClient(notebook, timeout=1200, resources={"metadata": {"path": "."}}).execute()
        for cell in notebook.cells:
            cell.metadata.pop("execution", None)  # wall-clock times
            for output in cell.get("outputs", []):
                _shrink(output.get("data", {}))
        nbformat.write(notebook, DOCS / "notebooks" / path.name)


def _shrink(data: dict) -> None:
    """Turn the PNG picture of an output, if it has one, into a JPEG."""
    if "image/png" in data:
        picture = Image.open(io.BytesIO(base64.b64decode(data.pop("image/png")))).convert("RGB")
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", **JPEG)
        data["image/jpeg"] = base64.b64encode(buffer.getvalue()).decode()


if __name__ == "__main__":
    main()
