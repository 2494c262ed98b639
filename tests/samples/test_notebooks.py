"""The notebooks, run from top to bottom in one kernel on a tiny run."""

import json
import pathlib
import sys

import nbformat
import pytest
import scipy.io
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient

from cyclic.datasets.layouts import open_splits
from cyclic.datasets.synthetic import write_tissue_set
from cyclic.files import write_image, write_json

NOTEBOOKS = pathlib.Path(__file__).resolve().parents[2] / "samples" / "notebooks"
KINDS = ("inspect_data", "inspect_pseudo_masks", "inspect_model")
# The smallest run that has everything the notebooks look at. Tracing networks is what takes time: there is one cycle, a
# tile of detection is as large as a crop of training, and all maps take one window.
RUN = {
    "cycles": 1,
    "tiles": {"size": 32, "stride": 24},
    "classifier": {"steps": 2, "batch": 4},
    "mask_rcnn": {
        "width": [32, 32, 32, 32], "crop": 64, "batch": 1, "steps": 2, "rpn_anchors": 32, "rois": 8, "proposals": 32,
    },
    "rounds": {"students": 0},
    "detection": {"tile": 32, "overlap": 8, "proposals": 32, "max_instances": 16, "score": 0.3},
}  # fmt: skip
HANGS_AFTER = 900  # seconds
# Pictures that a notebook shows at least.
PICTURES = {"inspect_data": 6, "inspect_pseudo_masks": 8, "inspect_model": 8}
LAYOUTS = ("monusac", "ccrcc", "consep")


def as_layout(data, root, name):
    """Write the images of the project's layout anew in that of another data set."""
    key = {"ccrcc": "instance_map", "consep": "inst_map"}[name]
    folders = {"ccrcc": ("Train", "Valid"), "consep": ("Train", "Train")}[name]
    for folder, dataset in zip(folders, open_splits(data), strict=True):
        for image_id in dataset.ids:
            write_image(root / folder / "Images" / f"{image_id}.png", dataset.image(image_id))
            (root / folder / "Labels").mkdir(exist_ok=True)
            labels = dataset.label_map(image_id)
            content = {key: labels, "class_map": 1 + labels % 2}
            scipy.io.savemat(root / folder / "Labels" / f"{image_id}.mat", content)
    if name == "consep":
        write_json(root / "split.json", json.loads((data / "split.json").read_text()))


@pytest.fixture(scope="module")
def kernel():
    """One kernel for the run and all notebooks, so TensorFlow starts once: `execute(notebook)`."""
    manager = KernelManager(kernel_name="python3")
    manager.kernel_spec.argv[0] = sys.executable
    yield lambda notebook: NotebookClient(notebook, km=manager, timeout=HANGS_AFTER).execute()
    if manager.has_kernel:
        manager.shutdown_kernel(now=True)


@pytest.fixture(scope="module")
def start(kernel):
    """What is printed when the helpers of the notebooks are imported, and TensorFlow with them."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("import cyclic.inspect")])
    kernel(notebook)
    return notebook.cells[0].outputs


@pytest.fixture(scope="module")
def folders(kernel, start, tmp_path_factory):
    """`{"run": a run of one cycle, layout: its images in this layout}`."""
    root = tmp_path_factory.mktemp("notebooks")
    folders = {name: root / name for name in (*LAYOUTS, "run")}
    write_tissue_set(folders["monusac"], 2, 1, size=96)
    for name in ("ccrcc", "consep"):
        as_layout(folders["monusac"], folders[name], name)
    training = [
        "from cyclic import config",
        "from cyclic.cycle import loop",
        f"loop.train(config.validate({RUN!r}, 'test'), {str(folders['monusac'])!r}, {str(folders['run'])!r})",
    ]
    kernel(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("\n".join(training))]))
    return folders


def read(kind):
    return nbformat.read(NOTEBOOKS / f"{kind}.ipynb", as_version=4)


def path_cell(notebook):
    """The first cell of code, which holds the paths and nothing else."""
    return next(cell for cell in notebook.cells if cell.cell_type == "code")


def execute(kernel, kind, **paths):
    """Run a notebook with other paths; return its outputs."""
    notebook = read(kind)
    lines = ["%reset -f", "import matplotlib", "matplotlib.rcParams['figure.dpi'] = 40"]  # nobody looks at the pictures
    path_cell(notebook).source = "\n".join([*lines, *(f"{name} = {str(path)!r}" for name, path in paths.items())])
    kernel(notebook)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= PICTURES[kind]
    assert any("<table>" in output.get("data", {}).get("text/html", "") for output in outputs)
    assert not any(output.get("name") == "stderr" for output in outputs)
    return outputs


def test_tensorflow_starts_without_a_word(start):
    assert start == []


@pytest.mark.parametrize("layout", LAYOUTS)
def test_data_of_each_layout(layout, folders, kernel):
    outputs = execute(kernel, "inspect_data", DATA=folders[layout])
    text = "".join(output.get("text", "") for output in outputs)
    assert f"{layout.capitalize()}Dataset: 2 training" in text


@pytest.mark.parametrize("kind", ["inspect_pseudo_masks", "inspect_model"])
def test_a_run(kind, folders, kernel):
    execute(kernel, kind, RUN=folders["run"], DATA=folders["monusac"])


@pytest.mark.parametrize("kind", KINDS)
def test_committed_notebooks_begin_with_their_paths_and_hold_no_output(kind):
    notebook = read(kind)
    lines = path_cell(notebook).source.splitlines()
    assert lines and all(line.startswith(("DATA = ", "RUN = ")) for line in lines)
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells)
